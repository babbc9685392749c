"""Deadlines by the thousand: all equally far away, so that they fall due in the order in which they began.

One timer serves them all. ``asyncio.timeout`` makes a timer for each, which for the door costs more than verifying.
"""

import asyncio
from collections import deque
from types import TracebackType
from typing import Self


class Deadlines:
    """Gives out deadlines ``seconds`` away, for the event loop that runs then."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._given: deque[Deadline] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def one(self) -> "Deadline":
        """``with deadlines.one():`` raises ``TimeoutError`` when the block takes longer, like ``asyncio.timeout``."""
        return Deadline(self)

    def began(self, deadline: "Deadline") -> float:
        """Watch over it; when it is due."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self.seconds
        self._given.append(deadline)
        if self._timer is None:
            self._timer = loop.call_at(due, self._look, loop)
        return due

    def ended(self) -> None:
        """One is over: let go of all that nobody waits for any more."""
        while self._given and self._given[0].is_over:
            self._given.popleft()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._given and (self._given[0].is_over or self._given[0].due <= now):
            self._given.popleft().miss()
        self._timer = loop.call_at(self._given[0].due, self._look, loop) if self._given else None


class Deadline:
    """One deadline, for one block of one task."""

    __slots__ = ("_deadlines", "_is_missed", "_task", "_were_cancelling", "due")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._task: asyncio.Task[object] | None = None
        self._is_missed = False
        self._were_cancelling = 0
        self.due = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the block has ended."""
        return self._task is None

    def miss(self) -> None:
        """It is due: whoever is still in the block is taken out of it."""
        if self._task is not None:
            self._is_missed = True
            self._task.cancel()

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("a deadline is for a task")
        self._were_cancelling = self._task.cancelling()
        self.due = self._deadlines.began(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        task, self._task = self._task, None
        self._deadlines.ended()
        if not self._is_missed or task is None:
            return
        is_ours = task.uncancel() <= self._were_cancelling  # else somebody else cancelled the task as well
        if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error
