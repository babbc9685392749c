"""Whom the first provider cannot reach is reached on the second: worker and gateway as processes, webhooks signed."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from temporalio.client import Client

from domain.contacts import Candidate, Consent
from domain.engagements import EngagementRequest
from domain.ids import engagement_workflow_id
from domain.outcomes import EngagementOutcome as Outcome
from domain.outcomes import EngagementResult
from domain.plans import Plan
from domain.topology import Topology
from runtime.dev_server import DevServer
from runtime.keyed_codec import KeyedCodec
from runtime.temporal import connect, data_converter, plugin
from sandbox.personas import Candidate as Seated
from sandbox.personas import Persona, PersonaOptions, PersonaSettings
from sandbox.serve import running
from sandbox.settings import Accounts, SandboxSettings
from starter.parts import service_on
from starter.service import EngagementService
from store.keys import KEY_BYTES, KeyRing
from store.migrate import upgrade
from store.stores import Stores
from tests.chaos.fleet import Member
from tests.e2e.sides import COLLECTS, SANDBOX_SECRETS, SIDES, Side
from tests.processes import free_ports
from tests.stories.telling import on_paper
from workflows import search_attributes

pytestmark = [pytest.mark.server, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
FIRST, SECOND = SIDES["recrubo"], SIDES["meta"]
PHONE = "+31612345678"
NOT_THERE = Seated(persona=Persona.UNREACHABLE)
ANSWERS = Seated(persona=Persona.ANSWERS, options=PersonaOptions(delay=0.1, finish_after=0.1))
AT_ONCE: dict[str, dict[str, object]] = {
    "recrubo": {"start_delay": 0.2, "delivery_delay": 0.1},
    "meta": {"send_delay": 0.1, "delivery_delay": 0.1},
}


@dataclass(frozen=True)
class Agency:
    """One tenant with a line at each of two providers."""

    service: EngagementService
    client: Client
    providers: dict[str, httpx.AsyncClient]

    async def result(self, reference: str) -> EngagementResult:
        """The outcome of an engagement, waited for."""
        workflow_id = engagement_workflow_id("acme", reference)
        handle = self.client.get_workflow_handle(workflow_id, result_type=EngagementResult)
        ended: EngagementResult = await handle.result()
        return ended

    async def sent(self, side: Side) -> list[dict[str, Any]]:
        """The sends that a provider took."""
        asked = {"provider": side.name, "operation": side.sends}
        calls = (await self.providers[side.name].get("/control/calls", params=asked)).raise_for_status().json()["calls"]
        return [call for call in calls if call["status"] in (200, 201)]

    async def arrived(self, side: Side) -> list[str]:
        """The templates of the messages that this provider brought to the phone."""
        path = f"/control/phones/{PHONE.removeprefix('+')}"
        answer = (await self.providers[side.name].get(path)).raise_for_status().json()
        return [message["template"] for message in answer["messages"]]


def plan() -> Plan:
    """Three days on the first line, whose silence goes over to the second."""
    variables = {"language": "en", "variables": ("first_name",)}
    opening = {"template": {**variables, **SECOND.invitation}, "flow": SECOND.flow}
    over = {"line": SECOND.line, "opening": opening, "silence": {"after": "3d", "then": "hand-over"}}
    silence = {"after": "3d", "then": "fallback-line", "fallback": over, "otherwise": "hand-over"}
    return FIRST.plan(follow_ups=(), silence=silence)


def _settings(side: Side, person: Seated, webhook_port: int) -> SandboxSettings:
    account = side.account(f"http://127.0.0.1:{webhook_port}/webhooks/{side.name}/{side.name}")
    quick = account.model_copy(update=AT_ONCE[side.name])
    return SandboxSettings(
        accounts=Accounts.model_validate({side.name: (quick,)}), personas=PersonaSettings(default=person, by_suffix={})
    )


@asynccontextmanager
async def open_agency(directory: Path) -> AsyncIterator[Agency]:
    """Start a sandbox for each provider, Temporal, a gateway and a worker; end all of them."""
    secrets = {name: os.urandom(KEY_BYTES) for name in ("MASTER", "PEPPER")}
    keys, url = KeyRing(secrets["MASTER"], secrets["PEPPER"]), f"sqlite:///{directory / 'store.sqlite3'}"
    webhook_port, rest_port = free_ports(2)
    await asyncio.to_thread(upgrade, url)
    async with AsyncExitStack() as stack:
        providers, bases = dict[str, httpx.AsyncClient](), dict[str, str]()
        for side, person in ((FIRST, NOT_THERE), (SECOND, ANSWERS)):
            base = await stack.enter_async_context(running(_settings(side, person, webhook_port)))
            http = httpx.AsyncClient(base_url=base, trust_env=False)
            providers[side.name], bases[side.name] = await stack.enter_async_context(http), base
        written: dict[str, Any] = {
            "tenants": [{"slug": "acme"}],
            "accounts": [side.topology_account(bases[side.name]) for side in (FIRST, SECOND)],
            "lines": [side.topology_line() for side in (FIRST, SECOND)],
        }
        (directory / "rapport.yaml").write_text(yaml.safe_dump(written))
        server = await stack.enter_async_context(await DevServer.start(search_attributes=search_attributes.ALL))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAPPORT_", "TEMPORAL_"))},
            **{ref.removeprefix("env:"): secret for ref, secret in SANDBOX_SECRETS.items()},
            **{f"RAPPORT_KEYS__{name}": base64.b64encode(secret).decode() for name, secret in secrets.items()},
            "PYTHONPATH": str(ROOT),
            "TEMPORAL_ADDRESS": server.address,
            "RAPPORT_CONFIG": str(directory / "rapport.yaml"),
            "RAPPORT_STATE_DIR": str(directory),
            "RAPPORT_STORE__URL": url,
            "RAPPORT_GATEWAY__WEBHOOK_PORT": str(webhook_port),
            "RAPPORT_GATEWAY__REST_PORT": str(rest_port),
        }
        members = [Member(name, [name], f"{name}_ready", directory) for name in ("worker", "gateway")]
        for member in members:
            member.environment = environment
        stack.push_async_callback(lambda: asyncio.gather(*(member.stop() for member in members)))
        await asyncio.gather(*(member.start() for member in members))
        stores = await stack.enter_async_context(Stores.open(url, keys))
        client = await connect(plugin(data_converter(KeyedCodec(stores.data_keys, keys))), address=server.address)
        yield Agency(service_on(stores, client, Topology.model_validate(written), keys), client, providers)


async def test_whom_the_first_provider_cannot_reach_answers_on_the_second_and_the_trace_says_why(
    tmp_path: Path,
) -> None:
    consent = Consent(source="careers page", obtained_at=datetime.now(UTC) - timedelta(days=1))
    candidate = Candidate(phone=PHONE, variables={"first_name": "Ada"}, consent=consent)
    request = EngagementRequest(tenant="acme", reference="app-1", line=FIRST.line, candidate=candidate, plan=plan())
    async with open_agency(tmp_path) as agency:
        await agency.service.start(request, datetime.now(UTC))
        result = await asyncio.wait_for(agency.result("app-1"), 60)
        view = await agency.service.get("acme", "app-1")
        trace = await agency.service.trace("acme", "app-1")
        sent = {side.name: len(await agency.sent(side)) for side in (FIRST, SECOND)}
        arrived = {side.name: await agency.arrived(side) for side in (FIRST, SECOND)}
    settlement = result.settlement
    assert (settlement.outcome, settlement.answers) == (Outcome.COMPLETED, COLLECTS)
    assert sent == {FIRST.name: 1, SECOND.name: 1}
    assert arrived == {FIRST.name: [], SECOND.name: ["invitation"]}
    assert (view.summary.line, view.summary.outcome) == (SECOND.line, Outcome.COMPLETED)
    assert trace.story is not None
    told = " ".join(on_paper(trace.story).split())
    why = (
        f"(plan intake v1 on {FIRST.line})",
        "The opening message was not delivered",
        f"The message could not be delivered; the plan goes on on {SECOND.line}.",
        f"(plan intake v1 on {SECOND.line})",
        "The fallback opening message was delivered to the phone.",
        "Completed: the candidate answered.",
    )
    places = [told.find(words) for words in why]
    assert -1 not in places, told
    assert places == sorted(places), told
