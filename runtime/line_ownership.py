"""Which lines this process polls: a worker per leased queue, started when the lease is won, ended before it is over.

A line's pace holds only while one process polls it. So each queue has a lease in the store (``store.leases``). It is
renewed at every third of its length; after two thirds without renewal polling stops, by a timer of this process that
needs no store. The last third is for what stopping takes: closing the polls that wait at the server.

Requests in hand then may end after the lease did. That touches the pace alone, by the few that had already begun: that
nothing is sent twice rests on the send ledger, not on leases. So does a process that was frozen beyond its lease: when
it thaws, its timers and the tasks that it was handed run in the same loop, and a send that is late does not leave.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import structlog
from temporalio.common import MetricMeter

from domain.errors import StoreUnavailable
from store.leases import QueueLeases, Share, process_owner

log = structlog.get_logger()
T = TypeVar("T")

Worker = AbstractAsyncContextManager[object]
"""Polls while its block lasts; leaving the block stops polling at once and returns when what is in hand is done."""

SECOND = timedelta(seconds=1)
NOT_RENEWED = "the lease was not renewed in time"
TAKEN_OVER = "another process has the lease"
SHARED = "another process takes its part"
STOPPING = "this process stops"
FAILED = "a worker of this process failed"
LOSSES = frozenset({NOT_RENEWED, TAKEN_OVER})
SHORTEST_WAIT_S = 0.05


@dataclass(eq=False)
class _Polling:
    """One queue that this process polls or has just stopped polling."""

    queue: str
    over: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str = ""
    timer: asyncio.TimerHandle | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing new is polled; requests in hand may still run."""
        return self.over.is_set()

    def keep_until(self, deadline: float) -> None:
        """Poll until this instant of the loop's clock, unless it is moved on before."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_at(deadline, self.end, NOT_RENEWED)

    def end(self, reason: str) -> None:
        """Stop polling; the first reason counts."""
        if self.timer is not None:
            self.timer.cancel()
        if not self.is_over:
            self.reason = reason
            self.over.set()


class LineOwnership:
    """Polls this process's even share of the ``queues``: by name, what makes the worker of each."""

    def __init__(
        self,
        leases: QueueLeases,
        queues: Mapping[str, Callable[[], Worker]],
        lease: timedelta,
        meter: MetricMeter,
        owner: str | None = None,
    ) -> None:
        self._leases, self._queues, self._lease = leases, queues, lease
        self._owner = owner or process_owner()
        self._renew_s, self._keep_s = lease / 3 / SECOND, lease * 2 / 3 / SECOND
        self._polling: dict[str, _Polling] = {}
        self._stopping = asyncio.Event()
        self._store_is_away = False
        self._turn = asyncio.Lock()
        """Looks and releases one after the other, so that no look in flight takes back what was released."""
        self._changes = meter.create_counter("rapport_lease_changes", "Queues taken, lost and released")
        self._held = meter.create_gauge("rapport_leases_held", "Queues that this process polls or finishes")

    @asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        """Hold a share while the block lasts; at its end finish what is in hand and give everything back.

        What is free is polled when the block begins. A fatal error of a worker ends the block and is raised.
        """
        try:
            async with asyncio.TaskGroup() as group:
                wait = await self._look(group)
                group.create_task(self._keep(group, wait))
                try:
                    yield
                finally:
                    self._stopping.set()
                    for polling in self._polling.values():
                        polling.end(STOPPING)
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None

    async def _keep(self, group: asyncio.TaskGroup, wait: float) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    await asyncio.wait_for(self._stopping.wait(), wait)
                except TimeoutError:
                    wait = await self._look(group)
        finally:
            await self._told(self._leases.leave(self._owner))

    async def _look(self, group: asyncio.TaskGroup) -> float:
        """Renew, take and share once; the seconds until the next look."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            asked, leaving = loop.time(), [one.queue for one in self._polling.values() if one.is_over]
            share = await self._told(self._leases.share(self._owner, tuple(self._queues), self._lease, leaving=leaving))
            if share is None:
                return self._renew_s / 5
            if self._stopping.is_set():
                for queue in sorted(share.held - self._polling.keys()):
                    await self._told(self._leases.release(self._owner, queue))
                return 0.0
            if asked + self._keep_s <= loop.time():  # an answer so late says nothing about now
                return self._renew_s / 5
            self._follow(share, asked + self._keep_s, group)
        soonest = self._renew_s if share.soonest is None else share.soonest / SECOND
        return min(self._renew_s, max(soonest, SHORTEST_WAIT_S))

    def _follow(self, share: Share, deadline: float, group: asyncio.TaskGroup) -> None:
        for polling in self._polling.values():
            if polling.queue not in share.held:
                polling.end(TAKEN_OVER)
            elif not polling.is_over:
                polling.keep_until(deadline)
        for queue in self._queues:
            if queue in share.held and queue not in self._polling:
                self._polling[queue] = polling = _Polling(queue)
                polling.keep_until(deadline)
                group.create_task(self._poll(polling))
        for queue in share.surplus:
            self._polling[queue].end(SHARED)

    async def _poll(self, polling: _Polling) -> None:
        self._count(polling, "taken")
        log.info("line_taken", queue=polling.queue)
        try:
            async with self._queues[polling.queue]():
                await polling.over.wait()
                if polling.reason in LOSSES:
                    self._count(polling, "lost")
                    log.warning("line_lost", queue=polling.queue, reason=polling.reason)
        finally:
            polling.end(FAILED)
            await self._drained(polling)

    async def _drained(self, polling: _Polling) -> None:
        """Nothing of this queue is in hand any more: it may be another's, or ours again."""
        async with self._turn:
            del self._polling[polling.queue]
            self._held.set(len(self._polling))
            # a lease that was lost ends by itself; and a process that stops does not wait for a store that is away
            if polling.reason in LOSSES or (self._stopping.is_set() and self._store_is_away):
                return
            await self._told(self._leases.release(self._owner, polling.queue))
        self._count(polling, "released")
        log.info("line_released", queue=polling.queue, reason=polling.reason)

    async def _told(self, asked: Awaitable[T]) -> T | None:
        try:
            answer = await asked
        except StoreUnavailable as error:
            self._store_is_away = True
            log.warning("leases_not_told", code=error.code)
            return None
        self._store_is_away = False
        return answer

    def _count(self, polling: _Polling, change: str) -> None:
        self._changes.add(1, {"queue": polling.queue, "change": change})
        self._held.set(len(self._polling))
