"""The processes of a chaos run: started as in production, killed without warning, started again."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from temporalio.client import Client

from domain.topology import Topology
from runtime import supervise
from runtime.dev_server import DevServer
from runtime.keyed_codec import KeyedCodec
from runtime.temporal import connect, data_converter, plugin
from starter.parts import service_on
from starter.service import EngagementService
from store.keys import KeyRing
from store.migrate import upgrade
from store.stores import Stores
from tests.chaos.proxies import EngineProxy, Guard, HttpProxy
from tests.e2e.sides import SANDBOX_SECRETS, SIDES
from tests.processes import free_ports
from workflows import search_attributes

ATS_SECRET = "whsec_c2FuZGJveC1hdHMtc2VjcmV0LW9mLWFjbWU="
ROOT = Path(__file__).resolve().parents[2]
READY_S = 90.0
STARTS = 8
LEASE = "3s"
"""How long a line stays with a worker that was killed; the default is longer than this whole run likes to wait."""
RETRIES = (0.3, 0.5, 1, 1, 2, 2, 3, *(5,) * 100)
"""Seconds after which the simulated providers repeat a webhook; the real ones take minutes and hours."""


class FleetBroken(Exception):
    """A process did not come up; the text ends with what it wrote."""


class Member:
    """One process of ours. A supervisor ends it when the run is gone, however that went."""

    def __init__(self, name: str, words: Sequence[str], ready: str, directory: Path) -> None:
        self.name, self._words, self._ready, self._directory = name, words, ready, directory
        self.environment: dict[str, str] = {}
        self._process: asyncio.subprocess.Process | None = None
        self.pid = 0
        self.lives = 0

    @property
    def log(self) -> Path:
        """What its present life wrote."""
        return self._directory / f"{self.name}-{self.lives}.log"

    async def start(self) -> None:
        """Start it and wait until it says that it is ready. Raises ``FleetBroken``."""
        self.lives += 1
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", supervise.__file__, str(self.log)),
            *(sys.executable, "-m", "starter.cli", *self._words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self.environment,
            cwd=ROOT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.pid = int(await self._process.stdout.readline() or 0)
        limit = time.monotonic() + READY_S
        while self._ready not in self.last_words(None):
            if self.is_dead() or time.monotonic() > limit:
                await self.kill()
                raise FleetBroken(f"the {self.name} does not come up. It wrote:\n{self.last_words()}")
            await asyncio.sleep(0.1)

    async def revive(self) -> None:
        """Start it as a process manager does: again when it ends while starting, as without Temporal it must."""
        for _ in range(STARTS):
            try:
                return await self.start()
            except FleetBroken as broken:
                last = broken
                await asyncio.sleep(0.5)
        raise last

    async def kill(self) -> None:
        """End it as a power failure would."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        await self.ended()

    async def ended(self) -> int:
        """Wait until it is gone."""
        if self._process is None:
            return 0
        status = await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return status

    def is_dead(self) -> bool:
        """Whether it is gone."""
        return self._process is not None and self._process.returncode is not None

    async def stop(self) -> None:
        """Ask it to end, and kill it when it does not listen."""
        if self._process is None or self.is_dead():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(self.ended(), 40)
        except TimeoutError:
            await self.kill()

    def last_words(self, characters: int | None = 3000) -> str:
        """The end of what it wrote in this life."""
        if not self.log.exists():
            return ""
        text = self.log.read_text(errors="replace")
        return text if characters is None else text[-characters:]


@dataclass(frozen=True)
class Shape:
    """How many of each process, and where the store is (None: a SQLite file)."""

    workers: int = 1
    gateways: int = 1
    store_url: str | None = None


class Fleet:
    """Everything that runs, with the proxies between."""

    def __init__(self, directory: Path, shape: Shape, guards: "Guards") -> None:
        self.directory, self.shape = directory, shape
        self.keys_environment = {
            f"RAPPORT_KEYS__{name}": base64.b64encode(os.urandom(32)).decode() for name in ("MASTER", "PEPPER")
        }
        ports = free_ports(2 + 2 * shape.gateways)
        self._temporal_port, self.sandbox_port = ports[:2]
        self._webhook_ports, self._rest_ports = ports[2 : 2 + shape.gateways], ports[2 + shape.gateways :]
        self.temporal: DevServer | None = None
        self.workers = [Member(f"worker-{n}", ["worker"], "worker_ready", directory) for n in range(shape.workers)]
        self.gateways = [Member(f"gateway-{n}", ["gateway"], "gateway_ready", directory) for n in range(shape.gateways)]
        config = str(directory / "sandbox.json")
        self.sandbox = Member("sandbox", ["sandbox", "--config", config], "sandbox_listening", directory)
        self.worker_engines = [EngineProxy(self._temporal_port) for _ in self.workers]
        self.gateway_engines = [EngineProxy(self._temporal_port) for _ in self.gateways]
        self.providers = [HttpProxy([(n, self.sandbox_port)], guards.providers) for n in range(shape.workers)]
        self.webhooks = HttpProxy(list(enumerate(self._webhook_ports)), guards.webhooks)

    @property
    def store_url(self) -> str:
        """Where the store is."""
        return self.shape.store_url or f"sqlite:///{self.directory / 'rapport.sqlite3'}"

    @property
    def sandbox_url(self) -> str:
        """The sandbox itself, past every proxy."""
        return f"http://127.0.0.1:{self.sandbox_port}"

    @property
    def temporal_address(self) -> str:
        """Temporal itself, past every proxy."""
        return f"127.0.0.1:{self._temporal_port}"

    def key_ring(self) -> KeyRing:
        """The keys that the processes were given."""
        master, pepper = (base64.b64decode(value) for value in self.keys_environment.values())
        return KeyRing(master, pepper)

    def topology(self, worker: int) -> Topology:
        """The configuration, as the worker of this number sees the providers."""
        base = f"http://127.0.0.1:{self.providers[worker].port}"
        return Topology.model_validate(
            {
                "tenants": [{"slug": "acme", "ats": {"url": f"{base}/ats/acme", "secret": "env:ATS"}}],
                "accounts": [side.topology_account(base) for side in SIDES.values()],
                "lines": [side.topology_line() for side in SIDES.values()],
            }
        )

    async def start_temporal(self) -> None:
        """Start Temporal on what its database holds."""
        self.temporal = await DevServer.start(
            data=self.directory / "temporal.sqlite3",
            port=self._temporal_port,
            search_attributes=search_attributes.ALL,
        )

    async def restart_temporal(self) -> None:
        """Kill Temporal and start it again on its database."""
        assert self.temporal is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.temporal.pid, signal.SIGKILL)
        await self.temporal.ended()
        await self.temporal.stop()
        await self.start_temporal()

    def _environment(self, member: int, engine: EngineProxy) -> dict[str, str]:
        base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        secrets = {ref.removeprefix("env:"): value for ref, value in SANDBOX_SECRETS.items()}
        return {
            **base,
            **secrets,
            **self.keys_environment,
            "ATS": ATS_SECRET,
            "PYTHONPATH": str(ROOT),
            "TEMPORAL_ADDRESS": f"127.0.0.1:{engine.port}",
            "RAPPORT_CONFIG": str(self.directory / f"topology-{member}.json"),
            "RAPPORT_STATE_DIR": str(self.directory),
            "RAPPORT_STORE__URL": self.store_url,
            "RAPPORT_LOG__FORMAT": "json",
            "RAPPORT_WORKER__LEASE": LEASE,
        }

    async def start(self) -> None:
        """Start everything."""
        for proxy in (*self.worker_engines, *self.gateway_engines, *self.providers, self.webhooks):
            await proxy.open()
        self._write_files()
        await asyncio.to_thread(upgrade, self.store_url)
        await self.start_temporal()
        for n, worker in enumerate(self.workers):
            worker.environment = self._environment(n, self.worker_engines[n])
        for n, gateway in enumerate(self.gateways):
            gateway.environment = self._environment(0, self.gateway_engines[n]) | {
                "RAPPORT_GATEWAY__WEBHOOK_PORT": str(self._webhook_ports[n]),
                "RAPPORT_GATEWAY__REST_PORT": str(self._rest_ports[n]),
            }
        self.sandbox.environment = self._environment(0, self.gateway_engines[0])
        await asyncio.gather(*(member.start() for member in self.members()))

    def members(self) -> list[Member]:
        """Every process of ours."""
        return [self.sandbox, *self.gateways, *self.workers]

    async def stop(self) -> None:
        """End everything."""
        await asyncio.gather(*(member.stop() for member in self.members()))
        if self.temporal is not None:
            await self.temporal.stop()
        for proxy in (*self.worker_engines, *self.gateway_engines, *self.providers, self.webhooks):
            await proxy.close()

    def _write_files(self) -> None:
        for n in range(len(self.workers)):
            topology = self.topology(n).model_dump(mode="json", exclude_defaults=True)
            (self.directory / f"topology-{n}.json").write_text(json.dumps(topology))
        (self.directory / "sandbox.json").write_text(json.dumps(self._sandbox_settings()))

    def _sandbox_settings(self) -> dict[str, object]:
        quick: Mapping[str, Mapping[str, object]] = {
            "recrubo": {"start_delay": 0.3, "delivery_delay": 0.2, "list_delay": 1.0},
            "meta": {"send_delay": 0.3, "delivery_delay": 0.2},
            "truora": {"start_delay": 0.3},
        }
        accounts: dict[str, object] = {}
        for name, side in SIDES.items():
            account = side.account(f"http://127.0.0.1:{self.webhooks.port}/webhooks/{name}/{name}")
            written = _revealed(account.model_dump(exclude_defaults=True))
            assert isinstance(written, dict)
            accounts[name] = [{**written, **quick[name], "retry_delays": RETRIES}]
        return {"port": self.sandbox_port, "accounts": accounts, "ats": {"acme": ATS_SECRET}, "webhook_timeout": 5}

    @asynccontextmanager
    async def office(self) -> AsyncIterator["Office"]:
        """What a recruiter and an operator have: the service, past every proxy."""
        keys = self.key_ring()
        async with AsyncExitStack() as stack:
            stores = await stack.enter_async_context(Stores.open(self.store_url, keys))
            client = await connect(
                plugin(data_converter(KeyedCodec(stores.data_keys, keys))), address=self.temporal_address
            )
            yield Office(service_on(stores, client, self.topology(0), keys), stores, client)


@dataclass(frozen=True)
class Office:
    """The service with the store and the client behind it."""

    service: EngagementService
    stores: Stores
    client: Client


@dataclass(frozen=True)
class Guards:
    """Who looks at what passes the HTTP proxies."""

    providers: Guard
    webhooks: Guard


def _revealed(value: object) -> object:
    """Settings as a file writes them, secrets readable."""
    match value:
        case SecretStr():
            return value.get_secret_value()
        case dict():
            return {name: _revealed(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_revealed(inner) for inner in value]
        case _:
            return value
