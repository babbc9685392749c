"""What happens after the 200: reading, relaying and rematching run side by side, each woken when there is work.

A wake-up follows each commit, so that an answer passes through in milliseconds; slow looks of their own are the safety
net for what a dead gateway or a missed wake-up left behind.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from domain.errors import StoreUnavailable
from gateway.group_commit import Keeper
from gateway.metrics import GatewayMetrics
from gateway.reading import Reading, Receiving, counts_of
from gateway.relay import Relay, Signaller
from gateway.rematch import Rematch
from gateway.standing_back import StandingBack
from gateway.status import TemporalWatch
from gateway.wakeup import Loop
from store.candidate_keys import DataKeys
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
    data_keys: DataKeys | None = None
    """Those under which the signaller seals, where it does."""


class Pipeline:
    """The background work of one gateway. While ``is_rush`` reading and relaying stand back."""

    def __init__(
        self,
        parts: InboxParts,
        receiving: Mapping[str, Receiving],
        signaller: Signaller,
        watch: TemporalWatch,
        *,
        metrics: GatewayMetrics,
        clock: Callable[[], datetime],
        is_rush: Callable[[], bool] = lambda: False,
    ) -> None:
        self._parts = parts
        self._metrics = metrics
        self._rounds = 0
        self._relay_loop = Loop("relay", StandingBack(self._relay_round, is_rush).round, metrics)
        self._relay = Relay(parts.outbound, signaller, metrics, self._relay_loop.wakeup, clock=clock)
        self._reading = Reading(
            parts.inbox,
            parts.correlations,
            parts.keys,
            receiving,
            metrics=metrics,
            on_kept=self._events_kept,
            relay=self._relay,
            data_keys=parts.data_keys,
        )
        self._rematch = Rematch(
            parts.review, parts.correlations, receiving, metrics=metrics, clock=clock, on_matched=self._wake_relay
        )
        self._read_loop = Loop("read", StandingBack(self._reading.round, is_rush).round, metrics)
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

    @property
    def keeper(self) -> Keeper:
        """Stores deliveries for this pipeline."""
        return self._reading.hand

    def deliveries_kept(self) -> None:
        """Deliveries have just been committed: read them now."""
        self._read_loop.wakeup.set()

    async def run(self) -> None:
        """Work until ``stop`` was called and the work in hand is done."""
        await asyncio.gather(*(loop.run() for loop in self._loops))
        with suppress(StoreUnavailable):  # they are another gateway's when their leases end
            await self._reading.finish()
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
