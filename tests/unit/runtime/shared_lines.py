"""Worker processes that share lines by leases in one real store, as far as leases go. What they poll is seen."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import Connection
from temporalio.common import MetricMeter

from domain.errors import StoreUnavailable
from runtime.line_ownership import LineOwnership
from store.database import Database
from store.leases import QueueLeases, Share
from tests.unit.runtime.hand_loop import DatabaseInLoop, pass_time, settled

LEASE = timedelta(seconds=15)
QUEUES = ("lookups:a", "sends:a-1", "lookups:b", "sends:b-1")
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


class TroubledLeases(QueueLeases):
    """One process's way to the store: well, ``down``, ``silent``, or ``mute``: it does, but does not answer."""

    _trouble = ""
    _changed: asyncio.Event

    @property
    def trouble(self) -> str:
        """What is wrong now."""
        return self._trouble

    @trouble.setter
    def trouble(self, trouble: str) -> None:
        self._trouble = trouble
        self._changed.set()
        self._changed = asyncio.Event()

    def __init__(self, database: Database, clock: Callable[[Connection], datetime]) -> None:
        super().__init__(database, clock=clock)
        self._changed = asyncio.Event()

    async def share(
        self, owner: str, queues: Sequence[str], lease: timedelta, *, leaving: Collection[str] = ()
    ) -> Share:
        """As the store does, unless there is trouble."""
        await self._pass()
        share = await super().share(owner, queues, lease, leaving=leaving)
        await self._well_again("mute")
        return share

    async def release(self, owner: str, queue: str) -> None:
        """As the store does, unless there is trouble."""
        await self._pass()
        await super().release(owner, queue)

    async def leave(self, owner: str) -> None:
        """As the store does, unless there is trouble."""
        await self._pass()
        await super().leave(owner)

    async def _pass(self) -> None:
        await self._well_again("silent")
        if self.trouble == "down":
            raise StoreUnavailable("the test took the store away")

    async def _well_again(self, trouble: str) -> None:
        while self._trouble == trouble:
            await self._changed.wait()


class WorkerProcess:
    """One life of a worker process. ``polls`` is what it would take tasks from now; ``drain_s`` what a stop takes."""

    def __init__(self, leases: TroubledLeases, name: str) -> None:
        self.leases, self.name = leases, name
        self.polls: set[str] = set()
        self.begun: Counter[str] = Counter()
        self.drain_s = 0.0
        self.is_dead = False
        self._broken: dict[str, Exception] = {}
        self._tasks: dict[str, asyncio.Task[object]] = {}
        made = {queue: partial(self._worker, queue) for queue in QUEUES}
        self.ownership = LineOwnership(leases, made, LEASE, MetricMeter.noop, name)
        self._stop = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with self.ownership.polling():
            await self._stop.wait()

    @asynccontextmanager
    async def _worker(self, queue: str) -> AsyncIterator[None]:
        self.begun[queue] += 1
        self.polls.add(queue)
        task = asyncio.current_task()
        assert task is not None
        self._tasks[queue] = task
        try:
            yield
        except asyncio.CancelledError:
            if queue in self._broken:
                raise self._broken[queue] from None
            raise
        finally:
            self.polls.discard(queue)
        await asyncio.sleep(self.drain_s)

    def break_with(self, queue: str, error: Exception) -> None:
        """A worker ends by a fatal error, as those of Temporal do: the block is cancelled, its end raises."""
        self._broken[queue] = error
        self._tasks[queue].cancel()

    def stop(self) -> None:
        """End in order."""
        self._stop.set()

    def kill(self) -> None:
        """Nothing of it happens any more."""
        self.is_dead, self.leases.trouble = True, "silent"

    async def gone(self) -> None:
        """What the operating system does with what is left."""
        self.leases.trouble = "down"
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Town:
    """The store and every process that ever shared it."""

    def __init__(self, database: DatabaseInLoop) -> None:
        self.database = database
        self.processes: list[WorkerProcess] = []

    @classmethod
    async def open(cls, file: Path) -> "Town":
        """On a migrated SQLite file."""
        database = await DatabaseInLoop.open(f"sqlite:///{file}")
        assert isinstance(database, DatabaseInLoop)
        return cls(database)

    def now(self, _: Connection) -> datetime:
        """The store's clock; it keeps pace with the loop's."""
        return NOON + timedelta(seconds=asyncio.get_running_loop().time())

    async def start(self, trouble: str = "") -> WorkerProcess:
        """Start a process and let it look around."""
        leases = TroubledLeases(self.database, clock=self.now)
        leases.trouble = trouble
        process = WorkerProcess(leases, f"process-{len(self.processes)}")
        self.processes.append(process)
        await settled()
        return process

    async def pass_time(self, seconds: float) -> None:
        """Let time pass; whenever two poll one queue, that is the end of the test."""
        await pass_time(seconds, self.check)

    def check(self) -> None:
        """Nobody polls what another polls."""
        polled = self.polled()
        assert max(polled.values(), default=0) <= 1, polled

    def polled(self) -> Counter[str]:
        """How many poll each queue."""
        return Counter(queue for process in self.processes if not process.is_dead for queue in process.polls)

    async def close(self) -> None:
        """End everybody, however they are."""
        for process in self.processes:
            await process.gone()
        await self.database.close()
