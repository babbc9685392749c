"""What tenants' systems tell us: kept at the door before it is answered, then carried out, at least once.

One engagement hears by its own command, whose id is that of the delivery, so a repeat does nothing. A requisition that
closes is told to every open engagement of the job, page by page; where that stops, it goes on.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from domain.ats import AtsDeliveryState, AtsStatus, AtsTelling, AtsUnread
from domain.calls import CommandResult
from domain.errors import BadInput, EngineUnavailable, NotAllowed, NotFound, StoreUnavailable
from gateway.metrics import GatewayMetrics
from gateway.wakeup import Loop
from store.ats_inbox import AtsInbox, AtsTaken
from store.inbox import Delivery

log = structlog.get_logger()

DOOR = "ats"
"""Stands where a provider's name stands in the address of a delivery: ``/webhooks/ats/{tenant}``."""
AT_ONCE = 16
"""Deliveries in hand at the same time."""
PAGE = 100
"""Engagements of a job that hear before the place is noted."""
COMMANDS_AT_ONCE = 8
SAFETY_NET = 2.0
"""Seconds after which the work looks by itself."""
LONGEST_PAUSE = timedelta(minutes=5)


class Reader(Protocol):
    """Verifies and reads the deliveries of one tenant's system; ``providers.ats.inbound.AtsReader`` is the one."""

    def handshake(self, query: Mapping[str, str]) -> str | None:
        """The text to answer to a subscription handshake; None where there is none."""
        ...

    def verify(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Raise ``WebhookRefused`` unless the raw bytes are authentic."""
        ...

    def read(self, body: bytes) -> AtsTelling | AtsUnread:
        """What a verified delivery tells. Never raises."""
        ...


class Applications(Protocol):
    """The engagements that hear; ``starter.service.EngagementService`` says what each raises."""

    async def ats_status(self, tenant: str, reference: str, command: AtsStatus) -> CommandResult:
        """Tell one engagement."""
        ...

    async def open_of_job(self, tenant: str, job: str, *, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """References and workflow ids of a job's open engagements, oldest first, those after one workflow id."""
        ...


@dataclass(frozen=True)
class AtsParts:
    """What a gateway needs for tenants' systems: a reader for each that may tell us something."""

    readers: Mapping[str, Reader]
    applications: Applications


class AtsKeeper:
    """Keeps deliveries; they are answered once they are durable."""

    def __init__(self, told: AtsInbox, on_kept: Callable[[], None]) -> None:
        self._told, self._on_kept = told, on_kept

    async def keep(self, delivery: Delivery) -> None:
        """Return once it is durable. Raises ``StoreUnavailable``."""
        await self._told.keep(delivery.account, delivery.key, delivery.body, delivery.received_at)
        self._on_kept()


class AtsWork:
    """Carries out what was kept, for as long as it runs."""

    def __init__(
        self,
        parts: AtsParts,
        told: AtsInbox,
        *,
        metrics: GatewayMetrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._parts, self._told, self._clock = parts, told, clock
        self.loop = Loop("ats", self.round, metrics)
        self.keeper = AtsKeeper(told, self.loop.wakeup.set)

    async def round(self) -> float:
        """Carry out what is due; returns the seconds until it is worth looking again without a wake-up."""
        due_at, now = await self._told.next_due(), self._clock()
        if due_at is not None and due_at <= now:
            taken = await self._told.take(now, AT_ONCE)
            await asyncio.gather(*(self._carry_out(one) for one in taken))
            return 0.0 if taken else SAFETY_NET
        return SAFETY_NET if due_at is None else min(SAFETY_NET, (due_at - now).total_seconds())

    async def _carry_out(self, one: AtsTaken) -> None:
        try:
            await self._try(one)
        except (EngineUnavailable, StoreUnavailable) as error:
            pause = min(timedelta(seconds=2 ** min(one.failures, 12)), LONGEST_PAUSE)
            log.warning("ats_delivery_postponed", number=one.number, error=type(error).__name__)
            await self._told.postpone(one.number, self._clock() + pause, one.failures + 1, type(error).__name__)
        except Exception as error:  # noqa: BLE001 - one delivery that breaks us must not stop the others
            log.error("ats_delivery_broke", number=one.number, error=type(error).__name__)  # noqa: TRY400 - it may show theirs
            later = self._clock() + LONGEST_PAUSE
            await self._told.postpone(one.number, later, one.failures + 1, f"defect: {type(error).__name__}")

    async def _try(self, one: AtsTaken) -> None:
        telling = one.telling or self._read(one)
        if isinstance(telling, AtsUnread):
            await self._told.settle(one.number, telling.state, telling.why)
            return
        await self._told.understood(one.number, telling)
        if telling.reference:
            state, reason = await self._tell(one, telling, telling.reference)
            await self._told.settle(one.number, state, reason, reached=int(state is AtsDeliveryState.DONE))
        else:
            await self._tell_job(one, telling)

    def _read(self, one: AtsTaken) -> AtsTelling | AtsUnread:
        reader = self._parts.readers.get(one.tenant)
        if reader is None:
            why = "the tenant has no ats_webhook_secrets any more, so nobody can read what its system sent"
            return AtsUnread(state=AtsDeliveryState.UNREADABLE, why=why)
        return reader.read(one.body)

    async def _tell(self, one: AtsTaken, telling: AtsTelling, reference: str) -> tuple[AtsDeliveryState, str]:
        command = AtsStatus(
            command_id=one.key, actor=telling.actor, reason=telling.reason, status=telling.status, job=telling.job
        )
        try:
            await self._parts.applications.ats_status(one.tenant, reference, command)
        except (NotFound, BadInput) as error:
            return AtsDeliveryState.UNMATCHED, str(error)
        except NotAllowed as error:
            return AtsDeliveryState.LATE, str(error)
        return AtsDeliveryState.DONE, ""

    async def _tell_job(self, one: AtsTaken, telling: AtsTelling) -> None:
        cursor, reached = one.cursor, one.reached
        gate = asyncio.Semaphore(COMMANDS_AT_ONCE)

        async def tell(reference: str) -> bool:
            async with gate:
                state, _ = await self._tell(one, telling, reference)
            return state is AtsDeliveryState.DONE

        while True:
            page = await self._parts.applications.open_of_job(one.tenant, telling.job, after=cursor, limit=PAGE)
            if not page:
                break
            heard = await asyncio.gather(*(tell(reference) for reference, _ in page))
            cursor, reached = page[-1][1], reached + sum(heard)
            await self._told.progress(one.number, cursor, reached, self._clock())
        await self._told.settle(one.number, AtsDeliveryState.DONE, "", reached=reached)
        log.info("requisition_closed", tenant=one.tenant, engagements=reached)
