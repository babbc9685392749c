"""The worker of the workflow that only waits: ``python -m bench.waiting_worker``, with ``BENCH_STAMPS`` set."""

import asyncio
import signal
import sys

from temporalio.worker import PollerBehaviorAutoscaling, Worker

from bench.waiting import WAITING, WaitingWorkflow
from runtime.processes import open_process
from runtime.settings import load_settings

READY = "waiting_ready"


async def main() -> None:
    """Work until the process is told to stop."""
    settings = load_settings()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with open_process(settings) as process:
        worker = Worker(
            process.client,
            task_queue=WAITING,
            workflows=[WaitingWorkflow],
            max_concurrent_workflow_tasks=settings.worker.max_workflow_tasks,
            max_cached_workflows=settings.worker.max_cached_workflows,
            workflow_task_poller_behavior=PollerBehaviorAutoscaling(minimum=2, maximum=20, initial=5),
        )
        async with worker:
            sys.stderr.write(f"{READY}\n")
            sys.stderr.flush()
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
