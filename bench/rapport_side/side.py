"""Rapport as it runs in production: gateway and worker as processes, on a dev server or on a server with PostgreSQL."""

import asyncio
import base64
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib.metadata import version

from bench.lives.drive import Place, Running
from bench.lives.postgres import Postgres, running_postgres, server_versions
from bench.lives.recruiter import StartCall
from bench.lives.simulator import ATS_SECRET, FLOW, HOOK_SECRET, INVITATION, REMINDER, ROOT, TOKEN
from bench.processes import has_said
from runtime.dev_server import DevServer
from store.migrate import upgrade
from tests.processes import Process, bare_environment, free_ports, started
from tests.temporal_cluster import TemporalDatabase, running_temporal
from workflows import search_attributes

ACCESS = "access-token-of-the-benchmark"
WEBHOOK_PATH = "/webhooks/recrubo/recrubo"
SHARDS = "64"


class Engine(StrEnum):
    """What it stands on."""

    MEMORY = "dev server in memory"
    """Engagements die with the engine; the store is a SQLite file that is flushed at every commit."""
    FILE = "dev server, SQLite"
    """Both keep a file each; the engine's is not flushed at every commit."""
    POSTGRES = "server, PostgreSQL"
    """Engine and store share one PostgreSQL."""


@dataclass(frozen=True)
class RapportSide:
    """``flushes``: whether PostgreSQL has a commit on the disk before it answers."""

    engine: Engine = Engine.POSTGRES
    flushes: bool = True
    workers: int = 1
    webhook_path: str = WEBHOOK_PATH

    @property
    def name(self) -> str:
        """With what it stands on."""
        return f"Rapport ({self.engine.value})" + ("" if self.workers == 1 else f", {self.workers} workers")

    def versions(self) -> Mapping[str, str]:
        """Of what it is made."""
        on_postgres = self.engine is Engine.POSTGRES
        return {"temporalio": version("temporalio")} | (server_versions() if on_postgres else {})

    @contextmanager
    def running(self, place: Place) -> Iterator[Running]:
        """Engine first, then gateway and workers."""
        with ExitStack() as stack:
            engine, address, store_url = self._stand(stack, place)
            environment = _environment(place, address, store_url)
            (rest_port,) = free_ports(1)
            listens = {
                "RAPPORT_GATEWAY__WEBHOOK_PORT": str(place.webhook_port),
                "RAPPORT_GATEWAY__REST_PORT": str(rest_port),
            }
            (place.directory / "topology.json").write_text(json.dumps(_topology(place)))
            begun = {"gateway": _begin(stack, place, "gateway", "gateway", environment | listens)}
            for n in range(self.workers):
                begun[f"worker {n}"] = _begin(stack, place, f"worker-{n}", "worker", environment)
            for process in begun.values():
                word = f"{process.name.partition('-')[0]}_ready"
                process.wait_until(partial(has_said, process, word), "it is ready", 90)
            service = {name: process.child.pid for name, process in begun.items()}
            yield Running(lambda reference, phone: _start(rest_port, reference, phone), service, engine)

    def _stand(self, stack: ExitStack, place: Place) -> tuple[dict[str, int], str, str]:
        """The engine's processes, its address, and where the store is."""
        if self.engine is not Engine.POSTGRES:
            file = None if self.engine is Engine.MEMORY else place.directory / "temporal.sqlite3"
            server = asyncio.run(DevServer.start(data=file, search_attributes=search_attributes.ALL))
            stack.callback(lambda: asyncio.run(server.stop()))
            return {"temporal": server.pid}, server.address, f"sqlite:///{place.directory / 'rapport.sqlite3'}"
        postgres: Postgres = stack.enter_context(running_postgres(flushes=self.flushes))
        database = TemporalDatabase("127.0.0.1", postgres.port, "postgres", "unused")
        settings = {"NUM_HISTORY_SHARDS": SHARDS, "SQL_MAX_CONNS": "20"}
        cluster = stack.enter_context(running_temporal(database, place.directory, server_settings=settings,
                                                       namespace="default"))  # fmt: skip
        postgres.create("rapport")
        store_url = postgres.url("rapport", "postgresql+psycopg")
        upgrade(store_url)
        return {"temporal": cluster.server.child.pid, "postgres": postgres.pid}, cluster.address, store_url


def _begin(stack: ExitStack, place: Place, name: str, word: str, environment: Mapping[str, str]) -> Process:
    command = [sys.executable, "-m", "starter.cli", word]
    log = place.directory / f"{name}.log"
    return stack.enter_context(started(name, command, log, environment, cwd=place.directory))


def _environment(place: Place, address: str, store_url: str) -> dict[str, str]:
    keys = {f"RAPPORT_KEYS__{name}": base64.b64encode(os.urandom(32)).decode() for name in ("MASTER", "PEPPER")}
    return {
        **bare_environment(),
        **keys,
        "PYTHONPATH": str(ROOT),
        "RECRUBO_TOKEN": TOKEN,
        "RECRUBO_HOOK": HOOK_SECRET,
        "ATS": ATS_SECRET,
        "ACCESS": ACCESS,
        "TEMPORAL_ADDRESS": address,
        "RAPPORT_CONFIG": str(place.directory / "topology.json"),
        "RAPPORT_STATE_DIR": str(place.directory),
        "RAPPORT_STORE__URL": store_url,
        "RAPPORT_LOG__FORMAT": "json",
    }


def _topology(place: Place) -> dict[str, object]:
    account = {
        "slug": "recrubo",
        "provider": "recrubo",
        "base_url": place.recrubo,
        "credential": "env:RECRUBO_TOKEN",
        "webhook_secrets": ["env:RECRUBO_HOOK"],
        "rate": 10_000,  # pacing is a figure of its own
    }
    token = {"name": "ats", "tenant": "acme", "token": "env:ACCESS", "roles": ["read", "operate"]}
    return {
        "tenants": [{"slug": "acme", "ats": {"url": place.ats, "secret": "env:ATS"}}],
        "accounts": [account],
        "lines": [{"slug": "line", "account": "recrubo", "tenants": ["acme"], "rate": 10_000}],
        "tokens": [token],
    }


def _start(rest_port: int, reference: str, phone: str) -> StartCall:
    template = {"language": "en", "variables": ["first_name"]}
    plan = {
        "name": "intake",
        "opening": {"template": {**template, "name": "invitation", "id": INVITATION}, "flow": {"id": FLOW}},
        "follow_ups": [
            {"after": "3d", "template": {**template, "name": "reminder", "id": REMINDER}, "flow": {"id": FLOW}}
        ],
        "silence": {"after": "5d"},
    }
    consent = {"source": "careers page", "obtained_at": "2026-01-01T09:00:00Z"}
    body = {
        "reference": reference,
        "line": "line",
        "candidate": {"phone": phone, "variables": {"first_name": "Ada"}, "consent": consent},
        "plan": plan,
    }
    headers = {"Authorization": f"Bearer {ACCESS}"}
    return StartCall(f"http://127.0.0.1:{rest_port}/v1/engagements", headers, body)
