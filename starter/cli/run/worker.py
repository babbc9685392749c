"""The command ``worker``."""

import asyncio

from runtime.settings import load_settings
from worker import run_worker


def worker() -> None:
    """Run workflows and activities until SIGTERM or Ctrl-C; what is in hand is finished first."""
    asyncio.run(run_worker(load_settings()))
