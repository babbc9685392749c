"""The receiver: verifies, signals, answers. ``python -m bench.samples_style.receiver PORT TEMPORAL SECRET METRICS``."""

import asyncio
import contextlib
import hmac
import sys
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode

from bench.samples_style.models import Webhook, workflow_id
from bench.samples_style.workflow import SamplesStyleEngagement

READY = "samples_receiver_ready"


class Attributes(BaseModel):
    """Of a run or a message: what the engagement is found by, and how it stands."""

    messageThreadId: str = ""  # noqa: N815 - Recrubo's own name
    status: str | None = None
    deliveryStatus: str | None = None  # noqa: N815 - Recrubo's own name


class Resource(BaseModel):
    """What a webhook is about."""

    type: str
    id: str
    attributes: Attributes


class Told(BaseModel):
    """One change."""

    event: str
    resource: Resource


class Data(BaseModel):
    """The envelope's inside."""

    attributes: Told


class Notification(BaseModel):
    """A webhook."""

    data: Data


def receiver(temporal: str, secret: str, metrics: str) -> FastAPI:
    """The application; it connects when it starts."""
    clients: list[Client] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        telemetry = PrometheusConfig(bind_address=metrics, counters_total_suffix=True)
        runtime = Runtime(telemetry=TelemetryConfig(metrics=telemetry))
        clients.append(await Client.connect(temporal, data_converter=pydantic_data_converter, runtime=runtime))
        sys.stderr.write(f"{READY}\n")
        sys.stderr.flush()
        yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/webhooks/recrubo/recrubo")
    async def webhook(request: Request) -> dict[str, bool]:
        """Verify, signal, answer."""
        if not hmac.compare_digest(request.headers.get("x-recrubo-webhook-secret", ""), secret):
            raise HTTPException(401)
        told = Notification.model_validate_json(await request.body()).data.attributes
        attributes = told.resource.attributes
        status = attributes.status or attributes.deliveryStatus or ""
        handle = clients[0].get_workflow_handle_for(SamplesStyleEngagement.run, workflow_id(attributes.messageThreadId))
        about = Webhook(type=told.resource.type, event=told.event, id=told.resource.id, status=status)
        try:
            await handle.signal(SamplesStyleEngagement.webhook, about)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        return {"ok": True}

    return app


async def main(port: int, temporal: str, secret: str, metrics: str) -> None:
    """Serve until the process is told to stop."""
    config = uvicorn.Config(
        receiver(temporal, secret, metrics),
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        backlog=1024,
    )
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
