"""The samples-style Temporal service as a side: its worker and its receiver, with a door to start by HTTP.

``python -m bench.lives.samples PORT TEMPORAL BASE TOKEN HOOK_SECRET METRICS`` runs receiver and door in one process.
"""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.metadata import version

import uvicorn
from fastapi import FastAPI
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from bench.lives.drive import Place, Running
from bench.lives.postgres import running_postgres, server_versions
from bench.lives.recrubo import order_of
from bench.lives.recruiter import StartCall
from bench.lives.simulator import ATS_SECRET, FLOW, HOOK_SECRET, INVITATION, REMINDER, ROOT, TOKEN
from bench.processes import has_said
from bench.samples_style.activities import Calls
from bench.samples_style.models import TASK_QUEUE, Candidacy, workflow_id
from bench.samples_style.receiver import READY as RECEIVER_READY
from bench.samples_style.receiver import receiver
from bench.samples_style.worker import READY as WORKER_READY
from bench.samples_style.workflow import SamplesStyleEngagement
from runtime.dev_server import DevServer
from tests.processes import bare_environment, free_ports, started
from tests.temporal_cluster import TemporalDatabase, running_temporal


@dataclass(frozen=True)
class SamplesSide:
    """On a dev server in memory, or on a server with PostgreSQL."""

    on_postgres: bool = False
    flushes: bool = True
    webhook_path: str = "/webhooks/recrubo/recrubo"

    @property
    def name(self) -> str:
        """With what it stands on."""
        return f"samples-style ({'server, PostgreSQL' if self.on_postgres else 'dev server in memory'})"

    def versions(self) -> Mapping[str, str]:
        """Of what it is made."""
        return {"temporalio": version("temporalio")} | (server_versions() if self.on_postgres else {})

    @contextmanager
    def running(self, place: Place) -> Iterator[Running]:
        """Engine, worker, receiver with its door."""
        with ExitStack() as stack:
            engine, address = self._stand(stack, place)
            (metrics,) = free_ports(1)
            words = {
                "receiver": ["bench.lives.samples", str(place.webhook_port), address, place.recrubo, TOKEN,
                             HOOK_SECRET, f"127.0.0.1:{metrics}"],
                "worker": ["bench.samples_style.worker", address, place.recrubo, TOKEN, place.ats, ATS_SECRET],
            }  # fmt: skip
            service = {}
            for (name, said), ready in zip(words.items(), (RECEIVER_READY, WORKER_READY), strict=True):
                environment = {**bare_environment(), "PYTHONPATH": str(ROOT)}
                log = place.directory / f"{name}.log"
                begun = started(name, [sys.executable, "-m", *said], log, environment, cwd=place.directory)
                process = stack.enter_context(begun)
                process.wait_until(partial(has_said, process, ready), "it is ready", 60)
                service[name] = process.child.pid
            yield Running(lambda reference, phone: _start(place.webhook_port, reference, phone), service, engine)

    def _stand(self, stack: ExitStack, place: Place) -> tuple[dict[str, int], str]:
        if not self.on_postgres:
            server = asyncio.run(DevServer.start())
            stack.callback(lambda: asyncio.run(server.stop()))
            return {"temporal": server.pid}, server.address
        postgres = stack.enter_context(running_postgres(flushes=self.flushes))
        database = TemporalDatabase("127.0.0.1", postgres.port, "postgres", "unused")
        settings = {"NUM_HISTORY_SHARDS": "64", "SQL_MAX_CONNS": "20"}
        cluster = stack.enter_context(running_temporal(database, place.directory, server_settings=settings,
                                                       namespace="default"))  # fmt: skip
        return {"temporal": cluster.server.child.pid, "postgres": postgres.pid}, cluster.address


def _start(port: int, reference: str, phone: str) -> StartCall:
    order = order_of(phone, reference, (INVITATION, REMINDER), FLOW)
    return StartCall(f"http://127.0.0.1:{port}/engagements", {}, {"reference": reference, "phone": order["phone"]})


def with_door(app: FastAPI, temporal: str, calls: Calls) -> FastAPI:
    """The receiver, and a route that opens the thread and starts the workflow named after it."""
    clients: list[Client] = []

    @app.post("/engagements", status_code=202)
    async def start(order: dict[str, str]) -> dict[str, str]:
        """Begin an engagement."""
        if not clients:
            clients.append(await Client.connect(temporal, data_converter=pydantic_data_converter))
        candidacy = Candidacy(
            reference=order["reference"],
            first_name="Ada",
            thread_id=await calls.open_thread(order["phone"]),
            template_id=INVITATION,
            flow_id=FLOW,
            silence=timedelta(days=3),
        )
        its_id = workflow_id(candidacy.thread_id)
        await clients[0].start_workflow(SamplesStyleEngagement.run, candidacy, id=its_id, task_queue=TASK_QUEUE)
        return {"id": its_id}

    return app


def main(port: int, *words: str) -> None:
    """Serve until told to stop."""
    temporal, base_url, token, secret, metrics = words
    app = with_door(receiver(temporal, secret, metrics), temporal, Calls(base_url, token, "", ATS_SECRET))
    uvicorn.run(app, port=port, log_config=None, access_log=False, server_header=False, ws="none", backlog=1024)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
