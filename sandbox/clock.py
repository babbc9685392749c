"""The sandbox's own time: the wall clock, or an instant that a test moves."""

import asyncio
import contextlib
import heapq
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import structlog

from sandbox.values import Frozen, Instant, wall_clock

log = structlog.get_logger()

Step = Callable[[], Awaitable[None]]


class ClockMode(StrEnum):
    """``real`` follows the wall clock; ``manual`` stands still until it is advanced."""

    REAL = "real"
    MANUAL = "manual"


class ClockReading(Frozen):
    """What the clock shows, and the instant of the next thing that waits for it."""

    now: Instant
    next_due: Instant | None
    mode: ClockMode


class TimeRunsForward(Exception):
    """The clock was asked to go where it cannot go."""


@dataclass(order=True, frozen=True)
class Due:
    """Something that happens at an instant. Ordered by instant, then by the order of scheduling."""

    at: datetime
    sequence: int
    lane: str = field(compare=False)
    step: Step = field(compare=False)


class Clock:
    """Tells the time and runs what falls due.

    In ``manual`` mode everything waits for ``advance``, also what is due at once: one step after the other, each one
    ended (its webhooks answered or failed) before the next begins. In ``real`` mode steps of one lane follow each
    other and lanes run side by side, so that one slow receiver does not hold up all.
    """

    def __init__(self, mode: ClockMode = ClockMode.REAL, now: datetime | None = None) -> None:
        self._mode = mode
        self._held = now or wall_clock()
        self._queue: list[Due] = []
        self._waiting: set[int] = set()
        """Sequences of what is in the queue and was not cancelled; the rest is skipped when its turn comes."""
        self._sequence = 0
        self._changed = asyncio.Event()
        self._advancing = asyncio.Lock()
        self._lanes: dict[str, asyncio.Lock] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._stopping = False

    def now(self) -> datetime:
        """The sandbox's time, in UTC."""
        return wall_clock() if self._mode is ClockMode.REAL else self._held

    def reading(self) -> ClockReading:
        """The time, the mode and what is next."""
        first = self._first()
        return ClockReading(now=self.now(), next_due=first.at if first is not None else None, mode=self._mode)

    def schedule(self, delay: float, step: Step, *, lane: str) -> Due:
        """Run ``step`` when ``delay`` seconds of the sandbox's time have passed."""
        self._sequence += 1
        due = Due(self.now() + timedelta(seconds=max(delay, 0.0)), self._sequence, lane, step)
        heapq.heappush(self._queue, due)
        self._waiting.add(due.sequence)
        self._changed.set()
        return due

    def cancel(self, due: Due | None) -> None:
        """Forget something that was scheduled; harmless when it has run."""
        if due is not None:
            self._waiting.discard(due.sequence)
            self._changed.set()

    async def advance(self, to: datetime) -> int:
        """Move a manual clock and run all that falls due on the way. Returns how many steps ran.

        Raises:
            TimeRunsForward: the clock is real, or ``to`` lies behind it.

        """
        async with self._advancing:
            if self._mode is ClockMode.REAL:
                raise TimeRunsForward("the clock is real: set it to manual before advancing it")
            if to < self._held:
                raise TimeRunsForward(
                    f"the clock shows {self._held.isoformat()}: it cannot go back to {to.isoformat()}"
                )
            steps = 0
            while (due := self._take(to)) is not None:
                self._held = max(self._held, due.at)
                await due.step()
                steps += 1
            self._held = to
            return steps

    async def set(self, mode: ClockMode, now: datetime | None = None) -> None:
        """Change the mode, and put a manual clock to an instant.

        Raises:
            TimeRunsForward: a jump while something waits, or an instant for the wall clock.

        """
        if now is not None and mode is ClockMode.REAL:
            raise TimeRunsForward("the wall clock cannot be set: leave 'now' out, or take mode 'manual'")
        if now is not None and self._waiting:
            raise TimeRunsForward(
                f"{len(self._waiting)} things wait for the clock: advance it, or reset the sandbox first"
            )
        async with self._advancing:
            self._held = now or self.now()
            self._mode = mode
            self._changed.set()
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing runs in the background."""
        while self._running:
            await asyncio.wait(set(self._running))

    def clear(self) -> None:
        """Forget everything that waits."""
        self._queue.clear()
        self._waiting.clear()
        self._changed.set()

    def _first(self) -> Due | None:
        while self._queue and self._queue[0].sequence not in self._waiting:
            heapq.heappop(self._queue)
        return self._queue[0] if self._queue else None

    def _take(self, until: datetime) -> Due | None:
        first = self._first()
        if first is None or first.at > until:
            return None
        self._waiting.discard(first.sequence)
        return heapq.heappop(self._queue)

    async def start(self) -> None:
        """Begin to run what falls due by the wall clock."""
        self._runner = asyncio.create_task(self._follow_the_wall_clock(), name="sandbox-clock")

    async def stop(self) -> None:
        """End the background work; what waits is dropped."""
        self._stopping = True  # a cancel that meets a wake-up is lost in Python 3.11's wait_for
        self.clear()
        tasks = [task for task in (self._runner, *self._running) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_the_wall_clock(self) -> None:
        while not self._stopping:
            self._changed.clear()
            if self._mode is ClockMode.REAL:
                self._start_what_is_due()
            first, wait = self._first(), None
            if first is not None and self._mode is ClockMode.REAL:
                wait = max((first.at - wall_clock()).total_seconds(), 0.0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout=wait)

    def _start_what_is_due(self) -> None:
        now = wall_clock()
        while (due := self._take(now)) is not None:
            task = asyncio.create_task(self._in_lane(due))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _in_lane(self, due: Due) -> None:
        lock = self._lanes.setdefault(due.lane, asyncio.Lock())
        try:
            async with lock:
                await due.step()
        except Exception:
            # The one place where a defect of a step would vanish with its task.
            log.exception("sandbox_step_failed", lane=due.lane)
            raise
