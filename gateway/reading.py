"""Reads stored deliveries into events and gives each event its place. What cannot be read is kept aside, visible."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from domain.errors import StoreUnavailable
from domain.events import ParsedDelivery
from domain.ports import WebhookReader
from gateway.correlation import concerns_nobody, may_tie_weakly
from gateway.metrics import GatewayMetrics
from gateway.placement import AccountLines, place
from store.correlations import Correlations, Findings, Sighting
from store.inbox import Inbox, Kept, PlacedEvent, ReadDelivery, StoredDelivery
from store.inbox_tables import EventState
from store.keys import KeyRing

log = structlog.get_logger()

AT_ONCE = 50
"""Deliveries that are read and stored together."""
SAFETY_NET = 2.0
"""Seconds after which the reader looks by itself: for what another gateway left behind, or a missed wake-up."""


@dataclass(frozen=True)
class Receiving:
    """An account that this gateway receives for, with its lines and the reader of its deliveries."""

    provider: str
    account: str
    lines: tuple[str, ...]
    reader: WebhookReader
    senders: Mapping[str, str] = field(default_factory=dict)
    """The lines by the provider's own ids of them, where it has such."""

    @property
    def its_lines(self) -> AccountLines:
        """The lines as placement asks for them."""
        return AccountLines(self.lines, self.senders)


class Reading:
    """Turns deliveries into placed events. ``on_kept`` hears what became of every event, after the commit."""

    def __init__(
        self,
        inbox: Inbox,
        correlations: Correlations,
        keys: KeyRing,
        receiving: Mapping[str, Receiving],
        *,
        metrics: GatewayMetrics,
        on_kept: Callable[[Sequence[Kept]], None],
    ) -> None:
        self._inbox = inbox
        self._correlations = correlations
        self._keys = keys
        self._receiving = receiving
        self._metrics = metrics
        self._on_kept = on_kept
        self._in_hand: tuple[StoredDelivery, ...] = ()

    async def round(self) -> float:
        """Read what is there; returns the seconds until it is worth looking again without a wake-up.

        Raises ``StoreUnavailable``; what was in hand then is read first in the next round.
        """
        if not self._in_hand:
            self._in_hand = await self._inbox.claim(self._receiving.keys(), AT_ONCE)
        if not self._in_hand:
            return SAFETY_NET
        claimed = self._in_hand
        try:
            await self._read(claimed)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one delivery that breaks us must not hold up the others
            self._tell("deliveries_broke", claimed[0], error)
            for one in claimed:
                await self._read_alone(one)
        self._in_hand = ()
        return 0.0

    async def _read(self, claimed: Sequence[StoredDelivery]) -> None:
        parsed = await asyncio.to_thread(self._parse, claimed)
        read = await self._placed(parsed)
        kept = await self._inbox.keep_events(read)
        for one in kept:
            self._metrics.events.labels(one.provider, one.kind, one.result).inc()
        self._on_kept(kept)

    async def _read_alone(self, stored: StoredDelivery) -> None:
        try:
            await self._read((stored,))
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - kept aside with its raw bytes, to be read again after a repair
            self._tell("delivery_broke", stored, error)
            reason = f"could not be processed: {type(error).__name__}"
            self._on_kept(await self._inbox.keep_events((ReadDelivery(stored, quarantine=reason),)))

    def _parse(self, claimed: Sequence[StoredDelivery]) -> list[tuple[StoredDelivery, ParsedDelivery]]:
        return [(one, self._receiving[one.delivery.account].reader.parse(one.delivery.body)) for one in claimed]

    async def _placed(self, parsed: Sequence[tuple[StoredDelivery, ParsedDelivery]]) -> list[ReadDelivery]:
        sightings = {
            (stored.id, n): Sighting.of(event, self._keys, thread_may_tie=may_tie_weakly(event))
            for stored, delivery in parsed
            for n, event in enumerate(delivery.events)
        }
        found = await self._find(parsed, sightings)
        return [
            ReadDelivery(
                stored,
                tuple(
                    PlacedEvent(
                        event,
                        sightings[stored.id, n],
                        place(
                            event,
                            sightings[stored.id, n],
                            found.get(stored.delivery.account, Findings()),
                            self._receiving[stored.delivery.account].its_lines,
                        ),
                    )
                    for n, event in enumerate(delivery.events)
                ),
                delivery.quarantine,
            )
            for stored, delivery in parsed
        ]

    async def _find(
        self, parsed: Sequence[tuple[StoredDelivery, ParsedDelivery]], sightings: Mapping[tuple[int, int], Sighting]
    ) -> dict[str, Findings]:
        sought: dict[str, list[Sighting]] = defaultdict(list)
        for stored, delivery in parsed:
            for n, event in enumerate(delivery.events):
                if not concerns_nobody(event):
                    sought[stored.delivery.account].append(sightings[stored.id, n])
        return {account: await self._correlations.find(account, some) for account, some in sought.items()}

    def _tell(self, what: str, stored: StoredDelivery, error: Exception) -> None:
        """Report a defect without its traceback, which could show a delivery."""
        log.error(what, account=stored.delivery.account, delivery=stored.id, error=type(error).__name__)


def counts_of(kept: Sequence[Kept], state: EventState) -> int:
    """How many of the events just stored stand in ``state``."""
    return sum(one.result == state.value for one in kept)
