"""Whole lives of engagements on the simulated Recrubo, on both sides: invited, answered, reported to the recruiter."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from pydantic import SecretStr
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter

from bench.counting import Event
from bench.ground import ATS_SECRET, TENANT, Ground, samples_receiver
from bench.processes import python
from bench.samples_style import worker as samples_worker
from bench.samples_style.activities import Calls
from bench.samples_style.models import TASK_QUEUE, Candidacy, workflow_id
from bench.samples_style.workflow import SamplesStyleEngagement
from bench.webhooks import PATH
from domain.contacts import Candidate, Consent
from domain.engagements import EngagementRequest
from domain.ids import engagement_workflow_id
from sandbox.personas import PersonaSettings
from sandbox.serve import running
from sandbox.settings import Accounts, RecruboAccount, SandboxSettings
from tests.e2e.sides import SANDBOX_SECRETS, SIDES
from workflows import search_attributes

SEARCH_ATTRIBUTES = search_attributes.ALL
REPLY_SECONDS = 5.0
"""From the message to the candidate's reaction: longer than mere statuses linger, as every person's is."""
RECRUBO = SIDES["recrubo"]
TOKEN = SANDBOX_SECRETS["env:RECRUBO_TOKEN"]
_LIFE_SECONDS = 120.0


@asynccontextmanager
async def recrubo(webhook_port: int, reply_seconds: float = REPLY_SECONDS) -> AsyncIterator[str]:
    """A simulated Recrubo that tells this port; yields its address."""
    async with running(provider(webhook_port, reply_seconds)) as url:
        yield url


def provider(webhook_port: int, reply_seconds: float, tells_after: float | None = None) -> SandboxSettings:
    """A Recrubo that tells this port of everything; with ``tells_after`` so many seconds later than it usually does."""
    account = RECRUBO.account(f"http://127.0.0.1:{webhook_port}{PATH}")
    if not isinstance(account, RecruboAccount):
        raise TypeError("Recrubo's side has an account of another provider")
    delays = {"start_delay": tells_after or 0.1, "delivery_delay": tells_after or 0.2}
    return SandboxSettings(
        accounts=Accounts(recrubo=(account.model_copy(update=delays),)),
        personas=PersonaSettings(delay=reply_seconds),
        ats={TENANT: SecretStr(ATS_SECRET)},
    )


async def our_life(directory: Path, temporal: str) -> list[Event]:
    """One engagement of ours from start to end, every process as in production; its history."""
    async with AsyncExitStack() as stack:
        ground = Ground(directory)
        ground.tell_temporal(temporal)
        ground.find_providers(await stack.enter_async_context(recrubo(ground.webhook_port)))
        stores = await stack.enter_async_context(ground.stores())
        stack.enter_context(ground.gateway())
        stack.enter_context(ground.worker())
        client = await ground.client(stores, temporal)
        await ground.service(stores, client).start(request("bench-1", "+31612345601"), datetime.now(UTC))
        handle = client.get_workflow_handle(engagement_workflow_id(TENANT, "bench-1"))
        await asyncio.wait_for(handle.result(), _LIFE_SECONDS)
        return await events_of(handle)


async def samples_life(directory: Path, temporal: str) -> list[Event]:
    """One engagement of the samples-style service from start to end; its history."""
    async with AsyncExitStack() as stack:
        receiver = stack.enter_context(samples_receiver(directory, temporal))
        url = await stack.enter_async_context(recrubo(receiver.port))
        base, ats = f"{url}{RECRUBO.path}", f"{url}/ats/{TENANT}"
        words = ["bench.samples_style.worker", temporal, base, TOKEN, ats, ATS_SECRET]
        stack.enter_context(python("samples-worker", words, samples_worker.READY, directory))
        client = await Client.connect(temporal, data_converter=pydantic_data_converter)
        calls = Calls(base, TOKEN, ats, ATS_SECRET)
        stack.push_async_callback(calls.close)
        thread_id = await calls.open_thread("31612345601")
        candidacy = Candidacy(
            reference="bench-1",
            first_name="Ada",
            thread_id=thread_id,
            template_id="tpl-invitation",
            flow_id="flow-1",
            silence=timedelta(days=5),
        )
        handle = await client.start_workflow(
            SamplesStyleEngagement.run, candidacy, id=workflow_id(thread_id), task_queue=TASK_QUEUE
        )
        outcome = await asyncio.wait_for(handle.result(), _LIFE_SECONDS)
        if outcome.outcome != "completed":
            raise RuntimeError(f"the samples-style engagement ended {outcome.outcome}, not completed")
        return await events_of(handle)


def request(reference: str, phone: str) -> EngagementRequest:
    """An engagement without follow-ups, as a caller asks for it."""
    consent = Consent(source="careers page", obtained_at=datetime.now(UTC) - timedelta(days=1))
    return EngagementRequest(
        tenant=TENANT,
        reference=reference,
        line=RECRUBO.line,
        candidate=Candidate(phone=phone, variables={"first_name": "Ada"}, consent=consent),
        plan=RECRUBO.plan(follow_ups=()),
    )


async def events_of(handle: WorkflowHandle[Any, Any]) -> list[Event]:
    """A run's history as JSON has it."""
    history = await handle.fetch_history()
    return [MessageToDict(event) for event in history.events]
