"""What happens after the 200: reading, relaying and rematching run side by side, each woken when there is work.

A wake-up follows each commit, so that an answer passes through in milliseconds; slow looks of their own are the safety
net for what a dead gateway or a missed wake-up left behind.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.errors import StoreUnavailable
from gateway.metrics import GatewayMetrics
from gateway.reading import Reading, Receiving, counts_of
from gateway.relay import Relay, Signaller
from gateway.rematch import Rematch
from gateway.status import TemporalWatch
from gateway.wakeup import Loop
from store.correlations import Correlations
from store.inbox import Inbox, Kept
from store.inbox_relay import Outbound
from store.inbox_review import InboxReview
from store.inbox_tables import EventState
from store.keys import KeyRing
from store.retention import Retention

UPKEEP_EVERY = 15.0
"""Seconds between two counts of the inbox for the metrics."""
PURGE_ROUNDS = 240
"""Upkeep rounds between two purges: an hour."""


@dataclass(frozen=True)
class InboxParts:
    """The views of the inbox that one gateway works with, all under the same owner."""

    inbox: Inbox
    outbound: Outbound
    review: InboxReview
    correlations: Correlations
    retention: Retention
    keys: KeyRing


class Pipeline:
    """The background work of one gateway."""

    def __init__(
        self,
        parts: InboxParts,
        receiving: Mapping[str, Receiving],
        signaller: Signaller,
        watch: TemporalWatch,
        *,
        metrics: GatewayMetrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._parts = parts
        self._metrics = metrics
        self._rounds = 0
        reading = Reading(
            parts.inbox, parts.correlations, parts.keys, receiving, metrics=metrics, on_kept=self._events_kept
        )
        self._rematch = Rematch(
            parts.review, parts.correlations, receiving, metrics=metrics, clock=clock, on_matched=self._wake_relay
        )
        self._read_loop = Loop("read", reading.round, metrics)
        self._relay_loop = Loop("relay", self._relay_round, metrics)
        self._relay = Relay(parts.outbound, signaller, metrics, self._relay_loop.wakeup, clock=clock)
        self._rematch_loop = Loop("rematch", self._rematch.round, metrics)
        self._upkeep_loop = Loop("upkeep", self._upkeep, metrics)
        self._watch_loop = Loop("watch", watch.round, metrics)
        self._loops = (
            self._read_loop,
            self._relay_loop,
            self._rematch_loop,
            self._upkeep_loop,
            self._watch_loop,
        )

    def deliveries_kept(self) -> None:
        """Deliveries have just been committed: read them now."""
        self._read_loop.wakeup.set()

    async def run(self) -> None:
        """Work until ``stop`` was called and the work in hand is done."""
        await asyncio.gather(*(loop.run() for loop in self._loops))
        await self._relay.finish()

    def stop(self) -> None:
        """End after the batches in hand; what is left waits in the inbox for the next gateway."""
        for loop in self._loops:
            loop.stop()

    def _wake_relay(self) -> None:
        self._relay_loop.wakeup.set()

    async def _relay_round(self) -> float:
        return await self._relay.round()

    def _events_kept(self, kept: Sequence[Kept]) -> None:
        if counts_of(kept, EventState.PENDING):
            self._wake_relay()
        if counts_of(kept, EventState.UNMATCHED):
            self._rematch.expect()
            self._rematch_loop.wakeup.set()

    async def _upkeep(self) -> float:
        counts = await self._parts.review.counts()
        self._metrics.deliveries.set(counts.unread)
        for state, many in counts.events.items():
            self._metrics.inbox.labels(state.value).set(many)
        if self._rounds % PURGE_ROUNDS == 0:
            await self._purge()
        self._rounds += 1
        return UPKEEP_EVERY

    async def _purge(self) -> None:
        try:
            await self._parts.retention.drop()
        except StoreUnavailable:
            self._metrics.trouble.labels("purge", "StoreUnavailable").inc()
