"""A simulated Recrubo in a process of its own, ``python -m bench.provider PORT``: takes messages, tells nothing."""

import asyncio
import gc
import os
import signal
import sys
from contextlib import suppress

from bench.whole_life import provider
from sandbox.serve import running

READY = "provider_ready"
NEVER = 86_400.0
"""Seconds until it tells of a message, and until a candidate reacts: neither happens meanwhile."""


def read_the_clock_at_once() -> None:
    """Let nothing of this process hold up what comes: the pace is measured by its clock.

    Python's collector of garbage stops it for up to 0.4 s once it keeps thousands of conversations. And it has a core
    whenever something comes, as on a machine of its own, where the system lets us.
    """
    gc.disable()
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


async def main(port: int) -> None:
    """Serve until the process is told to stop."""
    read_the_clock_at_once()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = provider(1, NEVER, tells_after=NEVER).model_copy(update={"port": port})
    async with running(settings):
        sys.stderr.write(f"{READY}\n")
        sys.stderr.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
