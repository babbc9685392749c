"""Lets weeks pass in seconds, in order: the sandbox's clock and every open workflow move together.

Time skipping is per workflow, so each has its own clock, which begins at the wall clock's time, and the sandbox has
one too. The calendar advances all of them to the next instant at which anything is due, lets everything settle, and
goes on, until the asked-for time has passed. Who joins after time has passed keeps a clock that is behind by as much.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.testing import TimeSkipper

from domain import names
from domain.snapshot import EngagementSnapshot

Handle = WorkflowHandle[Any, Any]
_LOOK = 0.005
_LOOKS = 6000
_SMALLEST = timedelta(milliseconds=50)


class Clock(Protocol):
    """A clock that stands still until it is advanced: the sandbox's."""

    async def next_due(self) -> datetime | None:
        """The instant of the next thing that will happen by itself."""
        ...

    async def advance(self, to: datetime) -> None:
        """Move to ``to`` and return when everything that fell due has been delivered."""
        ...


class NoClock:
    """For tests without a sandbox."""

    async def next_due(self) -> datetime | None:
        """Nothing happens by itself."""
        return None

    async def advance(self, to: datetime) -> None:
        """Nothing to do."""


async def _nothing() -> None:
    return None


class Calendar:
    """Advances workflows and sandbox in lockstep.

    ``settle`` returns when what the sandbox delivered has reached Temporal (the gateway's inbox is empty).
    """

    def __init__(
        self, skipper: TimeSkipper, clock: Clock | None = None, settle: Callable[[], Awaitable[None]] = _nothing
    ) -> None:
        self._skipper, self._clock, self._settle = skipper, clock or NoClock(), settle
        self.now = datetime.now(UTC)
        self._behind: dict[str, timedelta] = {}

    async def pass_time(self, length: timedelta, handles: Iterable[Handle]) -> None:
        """Let ``length`` pass for the sandbox and for every workflow that is still open."""
        end = self.now + length
        following = list(handles)
        for handle in following:
            if handle.id not in self._behind:
                self._behind[handle.id] = self.now - await self._skipper.get_current_time(handle)
        await self.quiet(following)
        while following and self.now < end:
            step = min(await self._next_due(following, end), end)
            self.now = max(step, self.now + _SMALLEST)
            await self._clock.advance(self.now)  # first, so that what a person did by then is there to be read
            await self.quiet(following)
            await asyncio.gather(*(self._forward(handle) for handle in following))
            await self.quiet(following)
            following = [handle for handle in following if await _is_open(handle)]
        self.now = max(self.now, end)
        await self._clock.advance(self.now)
        await self.quiet(following)

    async def quiet(self, handles: Iterable[Handle]) -> None:
        """Wait until nothing is under way: the inbox is drained, no workflow task and no running activity is left."""
        await self._settle()
        for handle in handles:
            for _ in range(_LOOKS):
                if not await self._is_busy(handle):
                    break
                await asyncio.sleep(_LOOK)
            else:
                raise AssertionError(f"{handle.id} does not come to rest")
        await self._settle()

    async def _next_due(self, handles: list[Handle], end: datetime) -> datetime:
        due = [end]
        sandbox_due = await self._clock.next_due()
        if sandbox_due is not None:
            due.append(sandbox_due)
        for handle in handles:
            waits = [await _wait_of(handle), *await _retries_of(handle)]
            due += [wait + self._behind[handle.id] for wait in waits if wait is not None]
        return min(due)

    async def _forward(self, handle: Handle) -> None:
        if not await _is_open(handle):
            return
        there = await self._skipper.get_current_time(handle) + self._behind[handle.id]
        if there < self.now:
            await self._skipper.fast_forward(handle, self.now - there + _SMALLEST)

    async def _is_busy(self, handle: Handle) -> bool:
        description = await handle.describe()
        if description.status is not WorkflowExecutionStatus.RUNNING:
            return False
        raw = description.raw_description
        if raw.HasField("pending_workflow_task"):
            return True
        return any(_is_running(a.attempt, a.HasField("next_attempt_schedule_time")) for a in raw.pending_activities)


def _is_running(attempt: int, has_next: bool) -> bool:  # noqa: FBT001 - two facts of one message
    """An activity that waits for its next attempt is at rest: only time brings it on."""
    return not (attempt > 1 and has_next)


async def _is_open(handle: Handle) -> bool:
    return (await handle.describe()).status is WorkflowExecutionStatus.RUNNING


async def _wait_of(handle: Handle) -> datetime | None:
    try:
        snapshot: EngagementSnapshot = await handle.query(names.SNAPSHOT, result_type=EngagementSnapshot)
    except Exception:  # noqa: BLE001 - closed between two looks: it has no wait
        return None
    return snapshot.until


async def _retries_of(handle: Handle) -> list[datetime]:
    """When activities that failed are tried again."""
    raw = (await handle.describe()).raw_description
    waiting = [a.next_attempt_schedule_time for a in raw.pending_activities if a.HasField("next_attempt_schedule_time")]
    return [instant.ToDatetime(tzinfo=UTC) for instant in waiting]
