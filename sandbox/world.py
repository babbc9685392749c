"""What every simulator shares."""

from dataclasses import dataclass

from sandbox.clock import Clock
from sandbox.faults import Faults
from sandbox.ids import Mint
from sandbox.personas import Personas
from sandbox.phones import Phones
from sandbox.settings import SandboxSettings
from sandbox.traffic import Traffic
from sandbox.webhooks import Webhooks


@dataclass(frozen=True)
class World:
    """Time, people, phones and faults of one sandbox."""

    settings: SandboxSettings
    clock: Clock
    mint: Mint
    personas: Personas
    phones: Phones
    faults: Faults
    traffic: Traffic
    webhooks: Webhooks

    @classmethod
    def of(cls, settings: SandboxSettings) -> "World":
        """Make an empty world."""
        clock, faults, personas = Clock(settings.clock, settings.now), Faults(), Personas(settings.personas)
        return cls(
            settings=settings,
            clock=clock,
            mint=Mint(settings.seed),
            personas=personas,
            phones=Phones(),
            faults=faults,
            traffic=Traffic(),
            webhooks=Webhooks(clock, faults, personas, settings.webhook_timeout),
        )

    def clear(self) -> None:
        """Forget everything but the settings and the time."""
        self.clock.clear()
        self.personas.clear()
        self.phones.clear()
        self.faults.clear()
        self.traffic.forget_calls()
        self.traffic.forget_refusals()
        self.webhooks.clear()
