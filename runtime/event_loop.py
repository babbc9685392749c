"""The event loop of the processes that carry load: worker and gateway."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

if sys.platform != "win32":
    from uvloop import new_event_loop
else:
    from asyncio import new_event_loop


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` on uvloop, which needs less of a core for each socket, thread and timer that wakes it.

    ``Any``: whatever a coroutine yields to its loop.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
