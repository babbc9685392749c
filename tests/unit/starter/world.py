"""What the tests of this room share: a topology, plans and requests, and the service on a real store and server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from domain import ids
from domain.contacts import Candidate, Consent
from domain.engagements import Capabilities, EngagementRequest
from domain.plans import FlowRef, Opening, Plan, Silence, TemplateRef
from domain.topology import Account, Line, Tenant, Topology
from runtime.codec import AesGcmCodec
from runtime.temporal import RapportPlugin, connect, data_converter, plugin
from starter.service import EngagementService
from store.keys import KeyRing
from store.stores import Stores
from tests.unit.starter.standing import StandingEngagement

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
KEYS = KeyRing(bytes(32), bytes(range(32)))
PHONE = "+31612345678"
NOWHERE = "127.0.0.1:1"
"""Nobody listens on port 1."""

RECRUBO = Capabilities(
    has_threads=True,
    can_read_runs=True,
    can_create_templates=False,
    can_cancel_runs=True,
    reads_templates_by_id=True,
    free_form_window=False,
    one_live_run_per_thread=True,
    confirms_ends=True,
)

TOPOLOGY = Topology(
    tenants=(Tenant(slug="acme"), Tenant(slug="globex")),
    accounts=(
        Account(slug="acme-recrubo", provider="recrubo", credential="env:TOKEN", webhook_secrets=("env:SECRET",)),
    ),
    lines=(
        Line(slug="recruiting", account="acme-recrubo", tenants=("acme",)),
        Line(slug="globex-line", account="acme-recrubo", tenants=("globex",)),
    ),
)

PLAN = Plan(
    name="warehouse-intake",
    opening=Opening(
        template=TemplateRef(name="intake_v1", language="en", id="tpl-1", variables=("first_name",)),
        flow=FlowRef(id="flow-1"),
    ),
    silence=Silence(after=timedelta(days=2)),
)

CANDIDATE = Candidate(
    phone=PHONE,
    variables={"first_name": "Zebulon"},
    zone="Europe/Amsterdam",
    consent=Consent(source="careers page", obtained_at=NOW - timedelta(days=3)),
)


def request(reference: str = "app-1", **changes: object) -> EngagementRequest:
    """A request that nothing is wrong with, and what a test changes of it."""
    whole = EngagementRequest(tenant="acme", reference=reference, line="recruiting", candidate=CANDIDATE, plan=PLAN)
    return whole.model_copy(update=changes)


def sealing_plugin() -> RapportPlugin:
    return plugin(data_converter(AesGcmCodec(KEYS)))


@dataclass
class World:
    """One store and one service on it."""

    stores: Stores
    service: EngagementService
    client: Client

    async def started(self, reference: str) -> bool:
        """Whether Temporal knows this engagement."""
        seen = await self.client.get_workflow_handle(ids.engagement_workflow_id("acme", reference)).describe()
        return seen.id.endswith(reference)


def service_on(stores: Stores, client: Client) -> EngagementService:
    return EngagementService(
        registry=stores.registry,
        contacts=stores.contacts,
        ledger=stores.ledger,
        client=client,
        topology=TOPOLOGY,
        capabilities_of=lambda _provider: RECRUBO,
        reconcile_wait_of=lambda _account: None,
        keys=KEYS,
    )


@asynccontextmanager
async def open_world(url: str, address: str) -> AsyncIterator[World]:
    """A world on a store that is migrated already; with ``NOWHERE`` Temporal is down."""
    async with Stores.open(url, KEYS) as stores:
        client = await connect(sealing_plugin(), address=address, lazy=True)
        yield World(stores, service_on(stores, client), client)


@asynccontextmanager
async def worker(address: str) -> AsyncIterator[None]:
    """Somebody who works on engagements."""
    client = await connect(sealing_plugin(), address=address)
    async with Worker(client, task_queue=ids.ENGAGEMENTS_QUEUE, workflows=[StandingEngagement]):
        yield
