"""A workflow that only waits.

Each fact that resumes it is written down with the wall clock's time, one line per fact, in the file that
``BENCH_STAMPS`` names: ``KEY SECONDS``. The workflow
reads the same batches as an engagement does, on a worker with the options and the sealing of ours, so what is measured
is the way there and not what an engagement does next.
"""

import os
import time
from pathlib import Path

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain import names
    from domain.events import ProviderEvents

WAITING = "bench-waiting"
_MANY = 400
"""Facts after which it begins anew."""


@workflow.defn(name=WAITING)
class WaitingWorkflow:
    """Waits for facts and writes down when it saw each."""

    def __init__(self) -> None:
        self._inbox: list[str] = []

    @workflow.run
    async def run(self) -> None:
        """Wait, again and again."""
        seen = 0
        while seen < _MANY or self._inbox:
            await workflow.wait_condition(lambda: bool(self._inbox))
            keys, self._inbox = self._inbox, []
            seen += len(keys)
            if not workflow.unsafe.is_replaying():
                with workflow.unsafe.sandbox_unrestricted():
                    _stamp(keys)
        workflow.continue_as_new()

    @workflow.signal(name=names.PROVIDER_EVENTS)
    def provider_events(self, batch: ProviderEvents) -> None:
        """Facts came."""
        self._inbox += [event.key for event in batch.events]


def _stamp(keys: list[str]) -> None:
    now = time.time()
    lines = "".join(f"{key} {now!r}\n" for key in keys)
    handle = os.open(os.environ["BENCH_STAMPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, lines.encode())
    os.close(handle)


def stamps_in(file: Path) -> dict[str, float]:
    """When each fact was first seen, by its key."""
    seen: dict[str, float] = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        key, _, at = line.rpartition(" ")
        seen.setdefault(key, float(at))
    return seen
