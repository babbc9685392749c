"""Lets weeks pass in seconds, in order: the sandbox's clock and every open workflow move together.

Time skipping is per workflow, so each has its own clock, which begins at the wall clock's time, and the sandbox has
one too. The calendar advances all of them to the next instant at which anything is due, lets everything settle, and
goes on, until the asked-for time has passed. Who joins after time has passed keeps a clock that is behind by as much.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowHandle
from temporalio.testing import TimeSkipper

from domain import names
from domain.model import Instant, Model
from domain.snapshot import HoldView

Handle = WorkflowHandle[Any, Any]
_FIRST_LOOK, _LONGEST_LOOK = 0.005, 0.02
_LOOKS = 4000
_SMALLEST = timedelta(milliseconds=50)
_MARGIN = timedelta(seconds=5)
"""A workflow is forwarded this far past what is due. While an activity runs nothing is skipped and time goes on as
ever; a target that is passed meanwhile is missed by the server, which then skips without end (seen in 1.32.1).
"""


@dataclass(frozen=True)
class Wait:
    """Until when a workflow waits by itself, and the gate at which it waits."""

    until: datetime | None
    gate: str


class _Told(Model):
    """What engagements and gates both say of their waits in their snapshots."""

    until: Instant | None = None
    hold: HoldView | None = None


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
        self._begun: dict[str, str] = {}
        self._waits: dict[str, tuple[int, Wait]] = {}

    async def pass_time(self, length: timedelta, handles: Iterable[Handle]) -> None:
        """Let ``length`` pass for the sandbox and for every workflow that is still open."""
        end = self.now + length
        following = await self._joined_by_gates(await self.quiet(await self._open(handles)))
        while following and self.now < end:
            step = min(await self._next_due(following, end), end)
            self.now = max(step, self.now + _SMALLEST)
            await self._clock.advance(self.now)  # first, so that what a person did by then is there to be read
            following = await self.quiet(following)
            await asyncio.gather(*(self._forward(handle) for handle in following))
            following = await self._joined_by_gates(await self.quiet(following))
        self.now = max(self.now, end)
        await self._clock.advance(self.now)
        await self.quiet(following)

    async def quiet(self, handles: Iterable[Handle]) -> list[Handle]:
        """Wait until nothing is under way: the inbox is drained, no workflow task and no running activity is left.

        Returns those that are still open. Looks at several are no single instant: one may tell another something just
        after that one was looked at. Only where a second round finds nothing written since were all at rest at once.
        """
        waiting = list(handles)
        await self._settle()
        before: list[int] = []
        for n in range(_LOOKS):
            looks = await asyncio.gather(*(handle.describe() for handle in waiting))
            lengths = [look.raw_description.workflow_execution_info.history_length for look in looks]
            if not any(_is_busy(look) for look in looks):
                if len(waiting) <= 1 or lengths == before:
                    break
                before = lengths
                continue
            await asyncio.sleep(min(_FIRST_LOOK * (n + 1), _LONGEST_LOOK))
        else:
            raise AssertionError("somebody does not come to rest")
        await self._settle()
        return [h for h, look in zip(waiting, looks, strict=True) if look.status is WorkflowExecutionStatus.RUNNING]

    async def _open(self, handles: Iterable[Handle]) -> list[Handle]:
        known = list(handles)
        looks = await asyncio.gather(*(handle.describe() for handle in known))
        return [h for h, look in zip(known, looks, strict=True) if look.status is WorkflowExecutionStatus.RUNNING]

    async def _joined_by_gates(self, handles: list[Handle]) -> list[Handle]:
        """These workflows, which are quiet, and every gate at which one of them waits; each with its place in time."""
        looks = await asyncio.gather(*(handle.describe() for handle in handles))
        waits = await asyncio.gather(*map(self._wait_of, handles, looks))
        gates = {wait.gate for wait in waits if wait.gate} - {handle.id for handle in handles}
        if gates:
            joining = [self._skipper.client.get_workflow_handle(gate) for gate in gates]
            handles = await self.quiet(await self._open([*handles, *joining]))
            looks = await asyncio.gather(*(handle.describe() for handle in handles))
        for handle, look in zip(handles, looks, strict=True):
            begun = look.raw_description.workflow_execution_info.first_run_id
            if self._begun.get(handle.id) != begun:  # a gate that closed and opened again has a new clock
                self._begun[handle.id] = begun
                self._behind[handle.id] = self.now - await self._skipper.get_current_time(handle)
        return handles

    async def _next_due(self, handles: list[Handle], end: datetime) -> datetime:
        due = [end]
        sandbox_due = await self._clock.next_due()
        if sandbox_due is not None:
            due.append(sandbox_due)
        for found in await asyncio.gather(*(self._due_of(handle) for handle in handles)):
            due += found
        return min(due)

    async def _due_of(self, handle: Handle) -> list[datetime]:
        """When this workflow goes on by itself: its wait, asked again only when it has moved, and its retries."""
        look = await handle.describe()
        wait = await self._wait_of(handle, look)
        waits = [*([wait.until] if wait.until else []), *_retries_in(look)]
        return [instant + self._behind[handle.id] for instant in waits]

    async def _wait_of(self, handle: Handle, look: WorkflowExecutionDescription) -> "Wait":
        """What a workflow waits for, asked again only when its history has grown."""
        length = look.raw_description.workflow_execution_info.history_length
        known = self._waits.get(handle.id)
        if known is None or known[0] != length:
            known = self._waits[handle.id] = (length, await _wait_of(handle))
        return known[1]

    async def _forward(self, handle: Handle) -> None:
        there = await self._skipper.get_current_time(handle) + self._behind[handle.id]
        if there < self.now:
            await self._skipper.fast_forward(handle, self.now - there + _MARGIN)


def _is_busy(look: WorkflowExecutionDescription) -> bool:
    """A workflow task or a running activity. An activity that waits for its next attempt is at rest."""
    if look.status is not WorkflowExecutionStatus.RUNNING:
        return False
    raw = look.raw_description
    running = [a for a in raw.pending_activities if a.attempt <= 1 or not a.HasField("next_attempt_schedule_time")]
    return raw.HasField("pending_workflow_task") or bool(running)


def _retries_in(look: WorkflowExecutionDescription) -> list[datetime]:
    """When activities that failed are tried again."""
    pending = look.raw_description.pending_activities
    waiting = [a.next_attempt_schedule_time for a in pending if a.HasField("next_attempt_schedule_time")]
    return [instant.ToDatetime(tzinfo=UTC) for instant in waiting]


async def _wait_of(handle: Handle) -> Wait:
    try:
        told: _Told = await handle.query(names.SNAPSHOT, result_type=_Told)
    except Exception:  # noqa: BLE001 - closed between two looks: it has no wait
        return Wait(None, "")
    return Wait(told.until, told.hold.gate if told.hold else "")
