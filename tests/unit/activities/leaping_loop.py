"""An event loop whose clock leaps to the next timer when nothing else is to do: hours pass at once, and in order."""

import asyncio
import selectors
from collections.abc import Coroutine, Sequence
from typing import TypeVar

T = TypeVar("T")


class _Leaps(selectors.SelectSelector):
    """Does not wait: adds to ``now`` what it was to wait for."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Sequence[tuple[selectors.SelectorKey, int]]:  # type: ignore[override]
        """Raises ``RuntimeError`` where everybody would wait for ever."""
        if timeout is None:
            raise RuntimeError("everybody waits, and for nothing that comes by itself")
        self.now += timeout
        return super().select(0)


class LeapingLoop(asyncio.SelectorEventLoop):
    """Its time passes only while everybody waits."""

    def __init__(self) -> None:
        self._leaps = _Leaps()
        super().__init__(self._leaps)

    def time(self) -> float:
        """What has passed since it was made."""
        return self._leaps.now

    def busy_for(self, seconds: float) -> None:
        """Let nobody do anything for so long, as a machine without time."""
        self._leaps.now += seconds


def in_leaps(main: Coroutine[object, object, T]) -> T:
    """Run ``main`` to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        return runner.run(main)


def now() -> float:
    """The time of the loop that runs."""
    return asyncio.get_running_loop().time()


def busy_for(seconds: float) -> None:
    """Let nobody do anything for so long, as a machine without time."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, LeapingLoop)
    loop.busy_for(seconds)
