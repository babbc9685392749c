"""The relay: carries events from the inbox into engagements, one signal per batch, at least once.

Many engagements are signalled at the same time. What became of them is written down together, in the transaction that
takes what is due next: the store's writes do not grow with the signals. That of signals which nobody waits behind may
linger a moment for company. What is due as it is stored is taken in that transaction already.

A signal that fails is tried again later, for that engagement alone: the others never wait for it. What Temporal says
is no longer there is recorded as late. Gates hear the same way; where no gate is, nobody waited. While Temporal is down
the inbox grows, and it drains afterwards.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

import structlog
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import Erased, NotFound, StoreUnavailable
from domain.events import ProviderEvents
from domain.ids import is_gate, signal_for
from gateway.metrics import GatewayMetrics
from gateway.wakeup import Wakeup
from store.inbox_relay import Due, Ending, Outbound, RelayBatch, Taking
from store.inbox_tables import EventState

log = structlog.get_logger()

SIGNAL_TIME = timedelta(seconds=5)
"""Longest time of one request to Temporal; the client's own retries come on top."""
HAND_OVER_TIME = 15.0
"""Seconds for one batch in all, well within the lease of an engagement."""
AT_ONCE = 64
"""Engagements that are signalled at the same time: so many that a Temporal which takes long holds nobody up."""
SAFETY_NET = 2.0
"""Seconds after which the relay looks by itself, should a wake-up have been missed."""

COMPANY = 0.05
"""Seconds that the word on a signal may wait for that on others, while nothing waits for its engagement to be free; and
the look at what lingers for the look at more of it."""
SHORTEST = 0.01
"""Seconds between two looks when something is due that another gateway is just taking."""


class Handover(StrEnum):
    """What became of a signal."""

    TAKEN = "taken"
    CLOSED = "closed"
    """No such engagement is running."""
    REFUSED = "refused"
    """Temporal will never accept this batch."""
    NOT_NOW = "not-now"


class Signaller(Protocol):
    """Hands a batch to one engagement."""

    async def signal(self, workflow_id: str, events: ProviderEvents) -> Handover:
        """One try. Never raises for what may happen in operation."""
        ...


class TemporalSignaller:
    """Signals through a Temporal client, which may be lazy: it connects when it can."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def signal(self, workflow_id: str, events: ProviderEvents) -> Handover:
        """Signal the running engagement or gate of this id, whichever run it is in."""
        handle = self._client.get_workflow_handle(workflow_id)
        try:
            async with asyncio.timeout(HAND_OVER_TIME):
                await handle.signal(signal_for(workflow_id), events, rpc_timeout=SIGNAL_TIME)
        except RPCError as error:
            return _ending(error)
        except (Erased, NotFound):  # nothing can be sealed for it any more
            return Handover.CLOSED
        except (RuntimeError, TimeoutError):  # a lazy client that cannot connect raises plain RuntimeError
            return Handover.NOT_NOW
        return Handover.TAKEN


def _ending(error: RPCError) -> Handover:
    if error.status is RPCStatusCode.NOT_FOUND:
        # A namespace that is not there is a mistake in our set-up, and no word about the engagement.
        details = error.grpc_status.details
        missing = any(detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in details)
        return Handover.NOT_NOW if missing else Handover.CLOSED
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        return Handover.REFUSED
    return Handover.NOT_NOW


def _broke(what: str, batch: RelayBatch, error: Exception) -> Handover:
    """Report a defect without its traceback, which could show an event."""
    log.error(what, workflow_id=batch.workflow_id, error=type(error).__name__)
    return Handover.NOT_NOW


class Relay:
    """Empties the inbox into engagements for as long as it runs."""

    def __init__(
        self,
        outbound: Outbound,
        signaller: Signaller,
        metrics: GatewayMetrics,
        wakeup: Wakeup,
        *,
        clock: Callable[[], datetime],
        at_once: int = AT_ONCE,
        company: float = COMPANY,
    ) -> None:
        self._outbound = outbound
        self._signaller = signaller
        self._metrics = metrics
        self._wakeup = wakeup
        self._clock = clock
        self._at_once = at_once
        self._company = company
        self._running: set[asyncio.Task[None]] = set()
        self._ended: list[Ending] = []
        """What became of batches and is not written down yet."""
        self._is_waited_for = False
        """Whether something may be due that could not be taken because it is in hand."""
        self._alarm: asyncio.TimerHandle | None = None

    async def round(self) -> float:
        """Start handing over what is due; returns the seconds until it is worth looking again without a wake-up."""
        free = self._at_once - len(self._running)
        if free <= 0 and not self._ended:
            return SAFETY_NET  # whoever finishes wakes us
        due = await self._turn(free)
        self._is_waited_for = bool(self._running)
        self._start(due.batches)
        if due.next_at is None or len(self._running) >= self._at_once:
            return SAFETY_NET
        return min(SAFETY_NET, max(SHORTEST, (due.next_at - self._clock()).total_seconds()))

    def joins(self) -> Taking | None:
        """For the transaction that stores events, which takes what is due then; for ``begin``, after its commit."""
        free = self._at_once - len(self._running)
        return self._outbound.taking(free) if free > 0 else None

    async def begin(self, taking: Taking | None, pending: int) -> None:
        """So many events have been stored for engagements: hand over what was taken with them, and see to the rest."""
        batches = await self._outbound.opened(taking) if taking is not None else ()
        self._start(batches)
        if not pending:
            return
        if taking is None or taking.is_full or self._is_free_when_written(taking.left):
            self._wakeup.set()
        elif taking.left or not batches:
            self._is_waited_for |= bool(taking.left)  # whoever finishes wakes us
            self._wake_soon()

    def _is_free_when_written(self, workflow_ids: Collection[str]) -> bool:
        """Whether one of these is in hand only because it is not written down yet what became of its signal."""
        return any(one.batch.workflow_id in workflow_ids for one in self._ended)

    def _start(self, batches: Sequence[RelayBatch]) -> None:
        for batch in batches:
            task = asyncio.create_task(self._hand_over(batch), name="hand-over")
            self._running.add(task)
            task.add_done_callback(self._finished)

    async def _turn(self, free: int) -> Due:
        endings, self._ended = self._ended, []
        try:
            return await self._outbound.turn(endings, free)
        except StoreUnavailable:  # written down by a later round, or signalled again after the lease: at least once
            self._ended[:0] = endings
            raise
        except Exception:
            await self._record_alone(endings)  # one that breaks us must not hold up the others
            raise

    async def finish(self) -> None:
        """Wait for the batches in hand, and write down what became of them."""
        if self._running:
            await asyncio.wait(self._running)
        endings, self._ended = self._ended, []
        try:
            await self._outbound.record(endings)
        except StoreUnavailable:  # their leases run out and they are signalled again: at least once
            for one in endings:
                log.warning("relay_not_recorded", workflow_id=one.batch.workflow_id)
        except Exception:  # noqa: BLE001 - one that breaks us must not hold up the others
            await self._record_alone(endings)

    def _finished(self, task: asyncio.Task[None]) -> None:
        is_room_made = len(self._running) >= self._at_once
        self._running.discard(task)
        if self._is_waited_for or is_room_made:
            self._wakeup.set()
        else:
            self._wake_soon()

    def _wake_soon(self) -> None:
        if self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(self._company, self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        self._wakeup.set()

    async def _hand_over(self, batch: RelayBatch) -> None:
        try:
            ending = await self._signaller.signal(batch.workflow_id, ProviderEvents(events=batch.events))
        except Exception as error:  # noqa: BLE001 - a batch that cannot even be encoded must not stop the others
            ending = _broke("relay_broke", batch, error)
        self._ended.append(self._ending_of(batch, ending))
        for event in batch.events:
            self._metrics.events.labels(batch.provider, event.body.kind, ending.value).inc()

    def _ending_of(self, batch: RelayBatch, ending: Handover) -> Ending:
        match ending:
            case Handover.TAKEN:
                now = self._clock()
                for received_at in batch.received_at:
                    self._metrics.relaying.observe(max(0.0, (now - received_at).total_seconds()))
                return Ending(batch, EventState.RELAYED)
            case Handover.CLOSED if is_gate(batch.workflow_id):  # nobody waited there
                return Ending(batch, EventState.NO_EFFECT, reason="no-gate")
            case Handover.CLOSED:
                log.info("events_late", workflow_id=batch.workflow_id, events=len(batch.events))
                return Ending(batch, EventState.LATE)
            case Handover.REFUSED if len(batch.events) == 1:
                log.error("event_refused", workflow_id=batch.workflow_id)
                return Ending(batch, EventState.PARKED, reason="refused-by-temporal")
            case _:
                log.warning("relay_postponed", workflow_id=batch.workflow_id, failures=batch.failures + 1)
                return Ending(batch, None, one_by_one=ending is Handover.REFUSED)

    async def _record_alone(self, endings: Sequence[Ending]) -> None:
        """Write down one after the other. What cannot be is signalled again after its lease: at least once."""
        for one in endings:
            try:
                await self._outbound.record([one])
            except Exception as error:  # noqa: BLE001 - as above
                _broke("relay_not_recorded", one.batch, error)
