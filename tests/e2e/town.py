"""The whole product in one place: real Temporal, gateway, worker, store and sandbox, on real sockets, with a calendar.

The sandbox's clock stands still and moves together with the workflows, so months pass in seconds and in order.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from temporalio.client import WorkflowHandle
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from domain.calls import Command
from domain.contacts import Candidate, Consent
from domain.engagements import EngagementRequest, Timing
from domain.ids import engagement_workflow_id
from domain.outcomes import EngagementResult
from domain.plans import Plan
from domain.topology import Topology
from gateway.process import Gateway, GatewayParts
from gateway.reading import Receiving
from providers.ats.client import StandardWebhookNotifier, ats_endpoints
from providers.registry import build_accounts, build_readers
from runtime.codec import AesGcmCodec
from runtime.dev_server import DevServer
from runtime.keyed_codec import KeyedCodec
from runtime.settings import WorkerSettings
from runtime.temporal import connect, data_converter, plugin
from sandbox.clock import ClockMode
from sandbox.serve import running
from sandbox.settings import Accounts, SandboxSettings
from starter.parts import service_on
from starter.routes import create_rest_app
from starter.service import EngagementService
from starter.tokens import AccessTokens
from store.inbox_review import InboxReview
from store.inbox_tables import EventState
from store.keys import KeyRing
from store.stores import Stores
from tests.calendar import Calendar
from tests.databases import migrated_sqlite
from tests.e2e.sides import SANDBOX_SECRETS, SIDES, Side
from worker import Workers
from workflows import search_attributes

ATS_SECRET = "whsec_c2FuZGJveC1hdHMtc2VjcmV0LW9mLWFjbWU="
SECRETS = {**SANDBOX_SECRETS, "env:ATS": ATS_SECRET}


def resolve(ref: str) -> SecretStr:
    """The town's secrets."""
    return SecretStr(SECRETS[ref])


class SandboxClock:
    """The sandbox's clock as the calendar moves it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def next_due(self) -> datetime | None:
        due = (await self._http.get("/control/clock")).raise_for_status().json()["next_due"]
        return datetime.fromisoformat(due) if due else None

    async def advance(self, to: datetime) -> None:
        (await self._http.post("/control/clock/advance", json={"to": to.isoformat()})).raise_for_status()


@dataclass
class Town:
    """Everything, running."""

    service: EngagementService
    stores: Stores
    skipper: TimeSkipper
    calendar: Calendar
    sandbox: httpx.AsyncClient
    rest: httpx.AsyncClient
    handles: dict[str, WorkflowHandle[Any, EngagementResult]]
    keys: KeyRing
    ui_url: str | None = None

    async def engage(self, side: Side, reference: str, phone: str, its: Plan | None = None, **timing: Any) -> None:
        """Start an engagement as the service's callers do."""
        candidate = Candidate(
            phone=phone,
            variables={"first_name": "Ada"},
            consent=Consent(source="careers page", obtained_at=datetime.now(UTC) - timedelta(days=1)),
        )
        request = EngagementRequest(
            tenant="acme",
            reference=reference,
            line=side.line,
            candidate=candidate,
            plan=its or side.plan(),
            timing=Timing.model_validate(timing),
        )
        await self.service.start(request, datetime.now(UTC))
        workflow_id = engagement_workflow_id("acme", reference)
        self.handles[reference] = self.skipper.client.get_workflow_handle(workflow_id, result_type=EngagementResult)

    async def pass_time(self, length: timedelta) -> None:
        """Let time pass for everybody."""
        await self.calendar.pass_time(length, self.handles.values())

    async def seat(self, phone: str, persona: str, **options: object) -> None:
        """Put a persona at a number."""
        seat = {"number": phone.removeprefix("+"), "persona": persona, "options": options}
        (await self.sandbox.post("/control/personas", json=seat)).raise_for_status()

    async def settled(self) -> None:
        """Let everybody come to rest without time passing."""
        await self.calendar.quiet(self.handles.values())

    async def fault(self, side: Side, kind: str, *, operation: str = "", **more: object) -> None:
        """Let something go wrong at the provider, by default with a send."""
        fault = {"provider": side.name, "operation": operation or side.sends, "kind": kind, **more}
        (await self.sandbox.post("/control/faults", json=fault)).raise_for_status()

    async def leave(self, reference: str) -> None:
        """Let an engagement that a test is done with end."""
        command = Command(command_id=f"leave-{reference}", actor="test", reason="the test is over")
        await self.service.stop("acme", reference, command)
        await self.result(reference)

    async def received(self, phone: str) -> list[str]:
        """The templates of the messages that a phone received, in order."""
        answer = (await self.sandbox.get(f"/control/phones/{phone.removeprefix('+')}")).raise_for_status().json()
        return [message["template"] for message in answer["messages"]]

    async def heard_by_ats(self) -> list[dict[str, Any]]:
        """What the tenant's system was told, each once however often it was delivered."""
        answer = (await self.sandbox.get("/control/ats", params={"tenant": "acme"})).raise_for_status().json()
        return [delivery["body"] for delivery in answer["deliveries"] if not delivery["repeat"]]

    async def result(self, reference: str) -> EngagementResult:
        """The outcome of an engagement that is over."""
        return await asyncio.wait_for(self.handles[reference].result(), 20)


def _sandbox_settings(webhook_port: int, now: datetime) -> SandboxSettings:
    accounts = {
        name: (side.account(f"http://127.0.0.1:{webhook_port}/webhooks/{name}/{name}"),) for name, side in SIDES.items()
    }
    return SandboxSettings(
        clock=ClockMode.MANUAL,
        now=now,
        accounts=Accounts.model_validate(accounts),
        ats={"acme": SecretStr(ATS_SECRET)},
    )


def _topology(base: str) -> Topology:
    return Topology.model_validate(
        {
            "tenants": [{"slug": "acme", "ats": {"url": f"{base}/ats/acme", "secret": "env:ATS"}}],
            "accounts": [side.topology_account(base) for side in SIDES.values()],
            "lines": [side.topology_line() for side in SIDES.values()],
        }
    )


async def _quiet_inbox(review: InboxReview) -> None:
    for _ in range(2000):
        counts = await review.counts()
        if counts.unread == 0 and not counts.events.get(EventState.PENDING):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the inbox does not drain")


@asynccontextmanager
async def open_town(directory: Path, *, codec_endpoint: str | None = None) -> AsyncIterator[Town]:
    """Start everything on free ports; end everything.

    With ``codec_endpoint``, the address of a codec server, Temporal UI runs too, and payloads are sealed as they are
    in production: under the key of whom they concern.
    """
    keys = KeyRing.generate()
    file = directory / "store.sqlite3"
    file.write_bytes(await asyncio.to_thread(migrated_sqlite))
    url = f"sqlite:///{file}"
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            await DevServer.start(
                search_attributes=search_attributes.ALL, ui=codec_endpoint is not None, codec_endpoint=codec_endpoint
            )
        )
        stores = await stack.enter_async_context(Stores.open(url, keys))
        codec = AesGcmCodec(keys) if codec_endpoint is None else KeyedCodec(stores.data_keys, keys)
        client = await connect(plugin(data_converter(codec), strict_imports=True), address=server.address)
        skipper = TimeSkipper(client, config=TimeSkippingConfig(enabled=False, max_session_skip_count=10_000))
        readers = build_readers(_topology("http://127.0.0.1:1"), resolve)
        topology = _topology("http://127.0.0.1:1")
        rest_app_service = service_on(stores, skipper.client, topology, keys)
        parts = GatewayParts(
            stores=stores,
            accounts=[Receiving(side.name, side.name, (side.line,), readers[side.name]) for side in SIDES.values()],
            rest=create_rest_app(rest_app_service, AccessTokens([]), stores.idempotency),
            temporal=skipper.client,
            linger=timedelta(0),
        )
        gateway = Gateway(parts)
        running_gateway = asyncio.create_task(gateway.run())
        stack.push_async_callback(lambda: asyncio.wait_for(running_gateway, 20))
        stack.callback(gateway.stop)
        ports = await gateway.started
        calendar_start = datetime.now(UTC)
        base = await stack.enter_async_context(running(_sandbox_settings(ports.webhook_port, calendar_start)))
        topology = _topology(base)
        accounts = build_accounts(topology, resolve)
        stack.push_async_callback(accounts.close)
        ats = StandardWebhookNotifier(ats_endpoints(topology, resolve))
        stack.push_async_callback(ats.close)
        workers = Workers(skipper.client, stores, accounts, ats, WorkerSettings())
        await stack.enter_async_context(workers.polling(topology))
        sandbox = await stack.enter_async_context(httpx.AsyncClient(base_url=base, timeout=60, trust_env=False))
        rest = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.rest_port}", trust_env=False)
        )
        review = InboxReview(stores.database, keys)
        calendar = Calendar(skipper, SandboxClock(sandbox), lambda: _quiet_inbox(review))
        service = service_on(stores, skipper.client, topology, keys)
        yield Town(service, stores, skipper, calendar, sandbox, rest, {}, keys, server.ui_url)
