"""An event loop whose clock is moved by hand, and a store that works within it, so that leases age as told."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from store.database import Database

T = TypeVar("T")
STEP_S = 0.25


class HandLoop(asyncio.SelectorEventLoop):
    """Timers fall due when ``now`` is moved beyond them, never by themselves."""

    now = 0.0

    def time(self) -> float:
        """What the hand says."""
        return self.now


async def settled() -> None:
    """Let everything run that needs no time."""
    for _ in range(30):
        await asyncio.sleep(0)


async def pass_time(seconds: float, look: Callable[[], None]) -> None:
    """Move the clock in small steps, and look around after each."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, HandLoop)
    until = loop.now + seconds
    while loop.now < until:
        loop.now = min(loop.now + STEP_S, until)
        await settled()
        look()


class DatabaseInLoop(Database):
    """Runs its transactions where they are asked for: a thread would take time that no hand moves."""

    async def _on(self, lane: object, work: Callable[[Connection], T]) -> T:
        with lane.engine.begin() as connection:  # type: ignore[attr-defined]  # a lane of the class above
            return work(connection)
