"""The command ``worker``."""

from runtime import event_loop
from runtime.settings import load_settings
from worker import run_worker


def worker() -> None:
    """Run workflows and activities until SIGTERM or Ctrl-C; what is in hand is finished first."""
    event_loop.run(run_worker(load_settings()))
