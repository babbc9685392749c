"""Keeps the requests of one line apart: what was held up together does not leave together."""

import asyncio
from collections.abc import Awaitable, Callable


class Spacing:
    """Turns of one line's requests, each at least ``1 / rate`` seconds after the one before.

    The task queue hands sends out at the line's rate. Between there and the request a busy process or a busy store may
    hold several up, and without this they would leave at once.
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

    async def turn(self) -> None:
        """Return when the next request may leave; in order of asking."""
        async with self._turn:
            while (early := self._next - self._clock()) > 0:
                await self._sleep(early)
            self._next = self._clock() + self._gap


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
