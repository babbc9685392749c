"""Keeps the requests of one line apart: what was held up together does not leave together."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

NEAR = 0.5
"""Seconds of a line's rate that may be between their claim and their request."""


class Spacing:
    """Turns of one line's requests, each at least ``1 / rate`` seconds after the one before.

    The task queue hands sends out at the line's rate. Between there and the request a busy process or a busy store may
    hold several up, and without this they would leave at once. Few come ``near`` at a time: whoever still waits when
    the process dies has claimed nothing, and so is known not to have left.
    """

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._gap, self._clock, self._sleep = 1 / rate, clock or _loop_time, sleep
        self._next = float("-inf")
        self._turn = asyncio.Lock()
        self._places = asyncio.Semaphore(max(1, math.ceil(rate * NEAR)))

    @asynccontextmanager
    async def near(self) -> AsyncIterator[None]:
        """Enter when it is worth claiming, in order of asking; in there, ``turn`` comes soon."""
        async with self._places:
            yield

    async def turn(self, patience: float = math.inf) -> bool:
        """Return when the next request may leave; in order of asking.

        False, at once and without using up a turn, when it would come only after ``patience`` seconds.
        """
        latest = self._clock() + patience
        async with self._turn:
            if max(self._next, self._clock()) > latest:
                return False
            while (early := self._next - self._clock()) > 0:
                await self._sleep(early)
            self._next = self._clock() + self._gap
        return True


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
