"""The event loop of processes that serve: uvloop, which leaves more of a core to us, where it is to be had."""

import asyncio
import sys
from collections.abc import Coroutine


def run(work: Coroutine[object, object, None]) -> None:
    """Run ``work`` to its end, as ``asyncio.run`` does."""
    if sys.platform == "win32":
        asyncio.run(work)
        return
    import uvloop  # noqa: PLC0415 - not to be had on Windows

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)
