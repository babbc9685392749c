"""A real worker process that ends as by ``kill -9`` in the middle of a release: when its gate has told so many.

Run as ``python -m tests.e2e.dying_worker COUNT`` with the environment of a worker.
"""

import asyncio
import os
import signal
import sys

import runtime.gates
import worker
from domain.gates import GateDecision
from runtime.settings import load_settings


class Dying(runtime.gates.TemporalGates):
    """Tells as ever until the last one; what is under way then is torn."""

    left = int(sys.argv[1])

    async def decide(self, workflow_id: str, decision: GateDecision) -> bool:
        """Tell one, or die."""
        Dying.left -= 1
        if Dying.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().decide(workflow_id, decision)


if __name__ == "__main__":
    worker.TemporalGates = Dying  # type: ignore[attr-defined]  # the class that the composition root builds
    asyncio.run(worker.run_worker(load_settings()))
