"""Keeps the requests of one line apart: what was held up together does not leave together."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from domain import departures
from domain.pacing import window_of

NEAR = 0.5
"""Seconds of a line's rate that may be between their claim and their request."""
_TICK = 0.001
"""What the timers of an event loop can tell apart; who slept for less would only ask again."""


class Departure:
    """One request from its turn to its answer, and the instant as of which it counts as seen by the provider.

    Until it is written that instant is still to come. Then it is the latest at which it may have arrived: when it was
    answered, and at most ``on_the_way`` seconds after it was written.
    """

    def __init__(self, on_the_way: float, changed: Callable[[], None]) -> None:
        self._on_the_way, self._changed = on_the_way, changed
        self.seen = math.inf

    def written(self) -> None:
        """Nothing of it waits on this side any more."""
        self._seen_by(_now() + self._on_the_way)

    def over(self) -> None:
        """It was answered, or is given up: it does not arrive from now on. May be said again."""
        self._seen_by(_now())

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """Make the request in here; at the end it is over, however it went."""
        try:
            with departures.heard_by(self.written):
                yield
        finally:
            self.over()

    def _seen_by(self, instant: float) -> None:
        self.seen = min(self.seen, instant)
        self._changed()


class Spacing:
    """Turns of one line's requests: evenly apart, and never more than the provider grants in any window of its.

    The task queue hands sends out at the line's rate. Between there and the request a busy process or a busy store may
    hold several up, and without turns they would leave at once. Between turn and wire they may be held up again, by a
    connection or by a machine without time, some for longer than others. So a turn counts from when its request was
    seen, and until then as now: a window that is full in this sense gives no turn, and what is given one then is at
    least a window behind. What reaches a provider in one window is therefore never more than it grants, while no
    request travels longer than the margin of the pace leaves, which is 0.11 of a window and costs nothing.

    Few come ``near`` at a time: whoever still waits when the process dies has claimed nothing, and so is known not to
    have left.
    """

    def __init__(self, rate: float) -> None:
        """``rate`` is a pace as of ``domain.pacing.paces``: what the provider grants, less the margin."""
        self._gap, self._window = 1 / rate, window_of(rate)
        self._slack = self._window.most * self._gap - self._window.seconds
        self._due = -math.inf
        self._departures: list[Departure] = []
        self._turn, self._changed = asyncio.Lock(), asyncio.Event()
        self._places = asyncio.Semaphore(max(1, math.ceil(rate * NEAR)))

    @asynccontextmanager
    async def near(self) -> AsyncIterator[None]:
        """Enter when it is worth claiming, in order of asking; in there, ``turn`` comes soon."""
        async with self._places:
            yield

    async def turn(self, patience: float = math.inf) -> Departure | None:
        """Return when the next request may leave; in order of asking. It counts until its departure is ``over``.

        None, without using up a turn, when it does not come within ``patience`` seconds; at once where that is known.
        """
        asked = _now()
        latest = asked + patience
        async with self._turn:
            while (wait := self._next() - _now()) > 0:
                if _now() >= latest or math.inf > wait > latest - _now():
                    return None
                await self._pause(min(wait, latest - _now()))
            if _now() > latest:
                return None
            # a turn that is given late, by no more than the margin leaves, delays none after it; an idle time is lost
            self._due = max(self._due, asked, _now() - self._slack) + self._gap
            departure = Departure(self._slack, self._changed.set)
            self._departures.append(departure)
        return departure

    def _next(self) -> float:
        """When the next turn may be given; infinite while that depends on requests that have not left."""
        window_ago = _now() - self._window.seconds
        self._departures = [one for one in self._departures if one.seen > window_ago]
        if len(self._departures) < self._window.most:
            return self._due
        return max(self._due, min(one.seen for one in self._departures) + self._window.seconds)

    async def _pause(self, seconds: float) -> None:
        """Until then, or until something is heard of a request."""
        self._changed.clear()
        try:
            async with asyncio.timeout(None if seconds == math.inf else max(seconds, _TICK)):
                await self._changed.wait()
        except TimeoutError:
            pass


def _now() -> float:
    return asyncio.get_running_loop().time()
