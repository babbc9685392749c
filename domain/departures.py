"""The instant at which a request has left: whoever writes it says so, and whoever paces sends hears of it.

The two know nothing of each other, and a port that carried the word would carry it through every provider. Who hears
belongs to the context of one request: there is no state here that two of them, or a workflow, could share.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


def _nobody() -> None:
    """Nobody counts."""


_hears: ContextVar[Callable[[], None]] = ContextVar("hears_of_departure", default=_nobody)


@contextmanager
def heard_by(hears: Callable[[], None]) -> Iterator[None]:
    """Let ``hears`` be called when a request of this block, or of a task begun in it, is written."""
    before = _hears.set(hears)
    try:
        yield
    finally:
        _hears.reset(before)


def written() -> None:
    """Say that the request at hand was written: nothing of it waits on this side any more."""
    _hears.get()()
