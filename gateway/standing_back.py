"""Background work that stands back while many deliveries wait to be stored, and never for good.

A delivery that nobody has answered yet is only as safe as its sender's patience; one that was answered lies on disk. So
under a rush the reader and the relay leave the core and the store to those who wait, and keep a small share themselves.
"""

import asyncio
from collections.abc import Awaitable, Callable

STANDS_BACK = 12.0
"""How many times as long as its last round took work stands back at most."""
LONGEST = 0.3
"""Seconds that it stands back at most, however long its last round took."""
LOOKS_EVERY = 0.01
"""Seconds between two looks at whether the rush is over."""


class StandingBack:
    """Makes a round of a loop wait for the end of a rush, for a time that the round before it has earned."""

    def __init__(self, round_: Callable[[], Awaitable[float]], is_rush: Callable[[], bool]) -> None:
        self._round, self._is_rush = round_, is_rush
        self._took = 0.0

    async def round(self) -> float:
        """As the round itself."""
        loop = asyncio.get_running_loop()
        until = loop.time() + min(LONGEST, STANDS_BACK * self._took)
        while self._is_rush() and (left := until - loop.time()) > 0:  # noqa: ASYNC110 - it ends by mere time too
            await asyncio.sleep(min(LOOKS_EVERY, left))
        began = loop.time()
        try:
            return await self._round()
        finally:
            self._took = loop.time() - began
