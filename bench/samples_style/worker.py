"""The worker, with the options that Temporal gives.

``python -m bench.samples_style.worker TEMPORAL PROVIDER TOKEN ATS ATS-SECRET``.
"""

import asyncio
import signal
import sys

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from bench.samples_style.activities import Calls
from bench.samples_style.models import TASK_QUEUE
from bench.samples_style.workflow import SamplesStyleEngagement

READY = "samples_worker_ready"


def worker(client: Client, calls: Calls) -> Worker:
    """A worker for everything of this side."""
    return Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[SamplesStyleEngagement],
        activities=[calls.template_status, calls.trigger_flow, calls.read_run, calls.tell_ats],
    )


async def main(temporal: str, base_url: str, token: str, ats_url: str, ats_secret: str) -> None:
    """Work until the process is told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await Client.connect(temporal, data_converter=pydantic_data_converter)
    calls = Calls(base_url, token, ats_url, ats_secret)
    async with worker(client, calls):
        sys.stderr.write(f"{READY}\n")
        sys.stderr.flush()
        await stop.wait()
    await calls.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
