"""What sides stand on: Temporal, stores with open engagements, a gateway of its own process, what it is told."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from sqlalchemy import make_url
from temporalio.client import Client

from bench import ceiling as forgetting
from bench.processes import python
from bench.samples_style import models as samples
from bench.samples_style import receiver as samples_style
from bench.webhooks import SECRET, Talk
from domain.contacts import phone_alias
from domain.ids import engagement_workflow_id, send_key
from domain.plans import FlowRef, TemplateRef
from domain.sends import LedgerState, Send, SendReceipt
from domain.topology import Topology
from runtime.keyed_codec import KeyedCodec
from runtime.temporal import connect, data_converter, plugin
from starter.parts import service_on
from starter.service import EngagementService
from store.keys import KeyRing
from store.migrate import upgrade
from store.registry import EngagementRow
from store.stores import Stores
from tests.e2e.sides import SANDBOX_SECRETS, SIDES
from tests.postgres import database_url
from tests.processes import Process, free_ports

TENANT = "acme"
ATS_SECRET = "whsec_c2FuZGJveC1hdHMtc2VjcmV0LW9mLWFjbWU="  # noqa: S105 - the sandbox's
ACCESS = "access-token-of-the-benchmark"
GATEWAY, GATEWAY_READY = ("starter.cli", "gateway"), "gateway_ready"
WORKER, WORKER_READY = ("starter.cli", "worker"), "worker_ready"
"""What a process is, and the word of its log that says that it is ready."""
WAITING_QUEUE = "bench-waiting"
WAITING = "bench-waiting"
"""A workflow that only waits: what engagements are at Temporal where only their gateway is measured."""
_RECRUBO = SIDES["recrubo"]
_EARLIER = timedelta(minutes=5)


class Ground:
    """A folder with a store, keys and a configuration, as one installation has them."""

    def __init__(
        self,
        directory: Path,
        store_url: str | None = None,
        sandbox_url: str = "http://127.0.0.1:1",
        line_rate: float = 10_000,
    ) -> None:
        self.directory, self._line_rate = directory, line_rate
        directory.mkdir(parents=True, exist_ok=True)
        self.store_url = store_url or f"sqlite:///{directory / 'rapport.sqlite3'}"
        self.keys = KeyRing(master := os.urandom(32), pepper := os.urandom(32))
        self.find_providers(sandbox_url)
        self._environment = {
            **{ref.removeprefix("env:"): value for ref, value in SANDBOX_SECRETS.items()},
            "ATS": ATS_SECRET,
            "ACCESS": ACCESS,
            "RAPPORT_KEYS__MASTER": base64.b64encode(master).decode(),
            "RAPPORT_KEYS__PEPPER": base64.b64encode(pepper).decode(),
            "RAPPORT_CONFIG": str(directory / "topology.json"),
            "RAPPORT_STATE_DIR": str(directory),
            "RAPPORT_STORE__URL": self.store_url,
            "RAPPORT_LOG__FORMAT": "json",
            "RAPPORT_LOG__LEVEL": "info",
        }
        upgrade(self.store_url)
        self.webhook_port, self.rest_port, metrics = free_ports(3)
        self.metrics = f"127.0.0.1:{metrics}"

    @contextmanager
    def gateway(self, core: int | None = None) -> Iterator["Receiver"]:
        """The gateway's process, started as in production."""
        environment, words = self.gateway_environment, GATEWAY
        with python("gateway", words, GATEWAY_READY, self.directory, environment=environment, core=core) as process:
            yield Receiver(process, self.webhook_port, self.metrics)

    def find_providers(self, sandbox_url: str) -> None:
        """Let every process that is started from now on find the providers there."""
        self.topology = topology(sandbox_url, self._line_rate)
        (self.directory / "topology.json").write_text(self.topology.model_dump_json(exclude_defaults=True))

    def tell_temporal(self, address: str) -> None:
        """Let every process that is started from now on find Temporal there."""
        self._environment["TEMPORAL_ADDRESS"] = address

    @contextmanager
    def worker(self, core: int | None = None, **told: str) -> Iterator[Process]:
        """The worker's process, started as in production. ``told`` is more of its environment."""
        environment, words = self.worker_environment | told, WORKER
        with python("worker", words, WORKER_READY, self.directory, environment=environment, core=core) as process:
            yield process

    @property
    def gateway_environment(self) -> dict[str, str]:
        """What the gateway is told."""
        return self._environment | {
            "RAPPORT_GATEWAY__WEBHOOK_PORT": str(self.webhook_port),
            "RAPPORT_GATEWAY__REST_PORT": str(self.rest_port),
            "RAPPORT_METRICS__BIND": self.metrics,
        }

    @property
    def worker_environment(self) -> dict[str, str]:
        """What the worker is told."""
        return self._environment | {"RAPPORT_WORKER__LEASE": "5s"}

    @property
    def environment(self) -> dict[str, str]:
        """What every process of this installation is told."""
        return dict(self._environment)

    @asynccontextmanager
    async def stores(self) -> AsyncIterator[Stores]:
        """The store, from here."""
        async with Stores.open(self.store_url, self.keys) as stores:
            yield stores

    async def client(self, stores: Stores, temporal: str) -> Client:
        """A client that seals as this installation does."""
        return await connect(plugin(data_converter(KeyedCodec(stores.data_keys, self.keys))), address=temporal)

    def service(self, stores: Stores, client: Client) -> EngagementService:
        """What callers ask for engagements."""
        return service_on(stores, client, self.topology, self.keys)


def topology(sandbox_url: str, line_rate: float = 10_000) -> Topology:
    """One tenant who hears of outcomes, one Recrubo account, one line, one who may ask by REST."""
    return Topology.model_validate(
        {
            "tenants": [{"slug": TENANT, "ats": {"url": f"{sandbox_url}/ats/{TENANT}", "secret": "env:ATS"}}],
            "accounts": [_RECRUBO.topology_account(sandbox_url)],
            "lines": [_RECRUBO.topology_line() | {"rate": line_rate}],
            "tokens": [{"name": "ats", "tenant": TENANT, "token": "env:ACCESS", "roles": ["read", "operate"]}],
        }
    )


def fresh_postgres_database(server: str, name: str) -> str:
    """The URL of a new, empty database of a server."""
    plain = make_url(server).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
    return database_url(server, name)


async def open_engagements(stores: Stores, client: Client, count: int, first: int = 0) -> list[Talk]:
    """Engagements that have sent their flow and wait for the answer: in the store, and as workflows that only wait."""
    talks = [await _engaged(stores, number) for number in range(first, first + count)]
    await _started(client, [talk.workflow_id for talk in talks])
    return talks


async def open_samples(client: Client, talks: list[Talk]) -> None:
    """The same for the samples-style service, which knows its engagements by their threads."""
    await _started(client, [samples.workflow_id(talk.thread_id) for talk in talks])


async def _started(client: Client, workflow_ids: list[str]) -> None:
    few = asyncio.Semaphore(20)

    async def start(workflow_id: str) -> None:
        async with few:
            await client.start_workflow(WAITING, id=workflow_id, task_queue=WAITING_QUEUE)

    await asyncio.gather(*map(start, workflow_ids))


async def _engaged(stores: Stores, number: int) -> Talk:
    now, phone = datetime.now(UTC), f"+3161{number:07d}"
    talk = Talk(engagement_workflow_id(TENANT, f"ref-{number}"), f"thr_{number}", f"run_{number}")
    contact_id = await stores.contacts.resolve([phone_alias(phone)])
    row = EngagementRow(
        tenant=TENANT,
        reference=f"ref-{number}",
        workflow_id=talk.workflow_id,
        contact_id=contact_id,
        line=_RECRUBO.line,
        account=_RECRUBO.name,
        provider=_RECRUBO.name,
        plan="intake",
        fingerprints={"candidate": "f"},
        created_at=now,
    )
    await stores.registry.register(row)
    await stores.registry.mark_started(talk.workflow_id)
    await stores.data_keys.key_for_workflow(talk.workflow_id)  # made when an engagement starts, long before it hears
    send = Send(
        key=send_key(talk.workflow_id, "opening", 1),
        workflow_id=talk.workflow_id,
        tenant=TENANT,
        account=_RECRUBO.name,
        line=_RECRUBO.line,
        step="opening",
        n=1,
        contact_id=contact_id,
        address=phone,
        thread_id=talk.thread_id,
        template=TemplateRef(name="invitation", id="tpl-invitation", language="en"),
        flow=FlowRef(id="flow-1"),
        at=now - _EARLIER,
    )
    claim = await stores.ledger.claim(send)
    receipt = SendReceipt(reference=claim.names.reference, run_id=talk.run_id, thread_id=talk.thread_id)
    await stores.ledger.settle(claim, LedgerState.SENT, receipt, None, now - _EARLIER)
    return talk


@dataclass(frozen=True)
class Receiver:
    """A running receiver of webhooks, and where it shows its metrics."""

    process: Process
    port: int
    metrics: str = ""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.child.pid


@contextmanager
def samples_receiver(directory: Path, temporal: str, core: int | None = None) -> Iterator[Receiver]:
    """The samples-style receiver's process."""
    port, metrics = free_ports(2)
    words = ["bench.samples_style.receiver", str(port), temporal, SECRET, f"127.0.0.1:{metrics}"]
    with python("samples-receiver", words, samples_style.READY, directory, core=core) as process:
        yield Receiver(process, port, f"127.0.0.1:{metrics}")


@contextmanager
def ceiling(directory: Path, core: int | None = None) -> Iterator[Receiver]:
    """The process of the receiver that forgets."""
    (port,) = free_ports(1)
    words = ["bench.ceiling", str(port), SECRET]
    with python("ceiling", words, forgetting.READY, directory, core=core) as process:
        yield Receiver(process, port)
