"""A simulated Recrubo in a process of its own, ``python -m bench.provider PORT``: takes messages, tells nothing."""

import asyncio
import os
import signal
import sys
from contextlib import suppress

from bench.whole_life import provider
from sandbox.serve import running

READY = "provider_ready"
NEVER = 86_400.0
"""Seconds until it tells of a message, and until a candidate reacts: neither happens meanwhile."""


def go_first() -> None:
    """Have a core whenever something comes, as on a machine of its own, where the system lets us.

    The pace is measured by this process's clock: one that has to wait for a core reads it too late.
    """
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


async def main(port: int) -> None:
    """Serve until the process is told to stop."""
    go_first()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = provider(1, NEVER, tells_after=NEVER).model_copy(update={"port": port})
    async with running(settings):
        sys.stderr.write(f"{READY}\n")
        sys.stderr.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
