"""The product as it is run: Temporal, worker, gateway, codec server and sandbox, each a process of its own.

Whatever they leave behind is kept, to be searched: their files, what they wrote, the addresses that they asked for.
"""

import asyncio
import base64
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
from pydantic import SecretStr
from temporalio.client import Client

from domain.model import JsonValue
from runtime.dev_server import DevServer
from runtime.processes import temporal_plugin
from runtime.temporal import connect
from sandbox.recrubo.hooks import SECRET_HEADER
from store.keys import KeyRing
from store.migrate import upgrade
from store.stores import Stores
from tests.chaos.proxies import Exchange, HttpProxy
from tests.chaos.wire import HttpMessage
from tests.e2e.sides import SANDBOX_SECRETS, SIDES
from tests.processes import Process, free_ports, listens, started
from workflows import search_attributes

ROOT = Path(__file__).resolve().parents[2]
TENANT, TOKEN, CODEC_TOKEN = "acme", "rest-token-of-acme", "codec-token-of-the-house"
ATS_SECRET = "whsec_c2FuZGJveC1hdHMtc2VjcmV0LW9mLWFjbWU="
READY_S = 200.0
QUICK: Mapping[str, Mapping[str, object]] = {
    "recrubo": {"start_delay": 0.1, "delivery_delay": 0.1},
    "meta": {"send_delay": 0.1, "delivery_delay": 0.1},
    "truora": {"start_delay": 0.1},
}
RETRIES = (0.5, 1, 2)
HELD = "held"
"""The template that no provider has approved."""


class Addresses:
    """A guard of proxies that writes down which address was asked for, as an access log would."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def before(self, exchange: Exchange) -> None:
        """Keep the first line of the request."""
        self.asked.append(" ".join(exchange.request.words))

    async def after(self, exchange: Exchange, answer: HttpMessage) -> None:
        """Answers are nobody's log."""


@dataclass
class House:
    """Everything, running."""

    directory: Path
    store_url: str
    keys: KeyRing
    stores: Stores
    server: DevServer
    client: Client
    rest: httpx.AsyncClient
    webhooks: httpx.AsyncClient
    sandbox: httpx.AsyncClient
    codec: httpx.AsyncClient
    metrics: tuple[str, ...]
    addresses: Addresses
    shell: asyncio.subprocess.Process
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    said: dict[str, str] = field(default_factory=dict)
    """What was told to people on their screens, by who asked."""

    @property
    def logs(self) -> Sequence[Path]:
        """What the processes wrote, standard output and standard error."""
        return sorted(self.directory.glob("*.log"))

    async def post(self, path: str, body: JsonValue, *, ok: bool = True) -> httpx.Response:
        """Ask by REST as the tenant's system does: again where we are told to, as on a machine that has much to do."""
        for _ in range(20):
            try:
                answer = await self.rest.post(path, json=body)
            except httpx.ReadError:  # a defect ends the connection that it was told on
                continue
            if answer.status_code != 503:
                break
            await asyncio.sleep(1)
        self.said[f"REST {len(self.said)} {path}"] = answer.text
        assert not ok or answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return answer

    async def play(self, path: str, body: JsonValue) -> JsonValue:
        """Let something happen at a provider."""
        answer = await self.sandbox.post(f"/control/{path}", json=body)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        shown: JsonValue = answer.json() if answer.content else None
        return shown

    async def deliver(self, side: str, body: bytes, *, genuine: bool = True) -> int:
        """A delivery at the gateway's door, for what the sandbox does not say of itself."""
        secret = SANDBOX_SECRETS["env:RECRUBO_HOOK"] if genuine else "wrong"
        headers = {SECRET_HEADER: secret, "content-type": "application/vnd.api+json"}
        return (await self.webhooks.post(f"/webhooks/{side}/{side}", content=body, headers=headers)).status_code

    async def type(self, *commands: Mapping[str, JsonValue]) -> list[dict[str, JsonValue]]:
        """Commands as operators type them; what they see is told."""
        async with self.turn:
            return [await self._typed(command) for command in commands]

    async def _typed(self, command: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.stdin.write(json.dumps(command).encode() + b"\n")
        line = await asyncio.wait_for(self.shell.stdout.readline(), 60)
        assert line, (self.directory / "operator.log").read_text()[-3000:]
        answer: dict[str, JsonValue] = json.loads(line)
        return answer


def _says(process: Process, word: str) -> bool:
    return word in process.output(1000)


def _topology(base: str) -> dict[str, object]:
    accounts = [side.topology_account(base) for side in SIDES.values()]
    for account in accounts:
        if account["slug"] != "recrubo":
            account["options"] = {**_options(account), "reconcile_wait": "1s"}
    tenant = {
        "slug": TENANT,
        "ats": {
            "url": f"{base}/ats/{TENANT}",
            "secret": "env:ATS",
            "events": ["engagement.opened", "engagement.closed"],
        },
        "ats_webhook_secrets": ["env:ATS"],
    }
    token = {"name": "their-system", "tenant": TENANT, "token": "env:REST_TOKEN", "roles": ["read", "operate", "erase"]}
    lines = [side.topology_line() for side in SIDES.values()]
    return {"tenants": [tenant], "accounts": accounts, "lines": lines, "tokens": [token]}


def _options(account: Mapping[str, object]) -> dict[str, object]:
    options = account["options"]
    assert isinstance(options, dict)
    return options


def _sandbox(port: int, webhook_port: int) -> dict[str, object]:
    accounts: dict[str, object] = {}
    for name, side in SIDES.items():
        account = side.account(f"http://127.0.0.1:{webhook_port}/webhooks/{name}/{name}")
        written = _revealed(account.model_dump(exclude_defaults=True))
        assert isinstance(written, dict)
        for kind in ("templates", "outbounds"):
            if kind in written:
                written[kind] = (*written[kind], _held(written[kind][0]))
        accounts[name] = [{**written, **QUICK[name], "retry_delays": RETRIES}]
    personas = {"by_suffix": {}, "delay": 0.2}
    return {"port": port, "accounts": accounts, "ats": {TENANT: ATS_SECRET}, "personas": personas}


def _held(like: Mapping[str, object]) -> dict[str, object]:
    return {**like, "id": "99" if str(like["id"]).isdigit() else HELD, "name": HELD, "status": "PENDING"}


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


@asynccontextmanager
async def open_house(directory: Path, store_url: str | None = None) -> AsyncIterator[House]:
    """Start everything on free ports; end everything."""
    url = store_url or f"sqlite:///{directory / 'rapport.sqlite3'}"
    secrets = {name: os.urandom(32) for name in ("MASTER", "PEPPER")}
    keys = KeyRing(*secrets.values())
    sandbox_port, webhook_port, rest_port, codec_port, *metrics_ports = free_ports(6)
    await asyncio.to_thread(upgrade, url)
    async with AsyncExitStack() as stack:
        temporal = DevServer.start(data=directory / "temporal.sqlite3", search_attributes=search_attributes.ALL)
        server = await stack.enter_async_context(await temporal)
        addresses = Addresses()
        proxy = HttpProxy([(0, sandbox_port)], addresses)
        await proxy.open()
        stack.push_async_callback(proxy.close)
        (directory / "topology.json").write_text(json.dumps(_topology(f"http://127.0.0.1:{proxy.port}")))
        (directory / "sandbox.json").write_text(json.dumps(_sandbox(sandbox_port, webhook_port)))
        base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment = {
            **base,
            **{ref.removeprefix("env:"): value for ref, value in SANDBOX_SECRETS.items()},
            **{f"RAPPORT_KEYS__{name}": base64.b64encode(secret).decode() for name, secret in secrets.items()},
            "ATS": ATS_SECRET,
            "REST_TOKEN": TOKEN,
            "CODEC_TOKEN": CODEC_TOKEN,
            "PYTHONPATH": str(ROOT),
            "TEMPORAL_ADDRESS": server.address,
            "RAPPORT_CONFIG": str(directory / "topology.json"),
            "RAPPORT_STATE_DIR": str(directory),
            "RAPPORT_STORE__URL": url,
            "RAPPORT_LOG__FORMAT": "json",
            "RAPPORT_WORKER__LEASE": "3s",
            "RAPPORT_WORKER__GRACEFUL_SHUTDOWN": "1s",
            "RAPPORT_GATEWAY__WEBHOOK_PORT": str(webhook_port),
            "RAPPORT_GATEWAY__REST_PORT": str(rest_port),
            "RAPPORT_CODEC__PORT": str(codec_port),
        }
        metrics = [f"127.0.0.1:{port}" for port in metrics_ports]
        await _run_processes(stack, directory, environment, metrics, codec_port)
        stores = await stack.enter_async_context(Stores.open(url, keys))
        client = await connect(temporal_plugin(stores.data_keys, keys), address=server.address)
        bearer = {"authorization": f"Bearer {TOKEN}"}

        async def http(port: int, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
            opened = httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60, trust_env=False
            )
            return await stack.enter_async_context(opened)

        yield House(
            directory=directory,
            store_url=url,
            keys=keys,
            stores=stores,
            server=server,
            client=client,
            rest=await http(rest_port, bearer),
            webhooks=await http(webhook_port),
            sandbox=await http(sandbox_port),
            codec=await http(codec_port, {"authorization": f"Bearer {CODEC_TOKEN}"}),
            metrics=(*(f"http://{bind}/metrics" for bind in metrics), f"http://127.0.0.1:{rest_port}/metrics"),
            addresses=addresses,
            shell=await _shell(stack, directory, environment),
        )


async def _shell(stack: AsyncExitStack, directory: Path, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    log = stack.enter_context((directory / "operator.log").open("ab"))
    shell = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.markers.commands"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        env=environment,
        cwd=ROOT,
        limit=16 * 1024 * 1024,
    )

    async def end() -> None:
        if shell.stdin is not None:
            shell.stdin.close()
        await asyncio.wait_for(shell.wait(), 30)

    stack.push_async_callback(end)
    return shell


async def _run_processes(
    stack: AsyncExitStack, directory: Path, environment: Mapping[str, str], metrics: Sequence[str], codec_port: int
) -> None:
    running = stack.enter_context(ExitStack())
    processes: list[Process] = []

    def run(name: str, module: str, *words: str, **more: str) -> Process:
        command = [sys.executable, "-m", module, *words]
        its = started(name, command, directory / f"{name}.log", {**environment, **more}, cwd=ROOT)
        process = running.enter_context(its)
        processes.append(process)
        return process

    worker = run("worker", "tests.markers.troubled", "worker", RAPPORT_METRICS__BIND=metrics[0])
    gateway = run("gateway", "tests.markers.troubled", "gateway", RAPPORT_METRICS__BIND=metrics[1])
    sandbox = run("sandbox", "starter.cli", "sandbox", "--config", str(directory / "sandbox.json"))
    codec = run("codec-server", "starter.cli", "codec-server", "--token", "house=env:CODEC_TOKEN")

    def ready() -> None:
        for process, word in ((worker, "worker_ready"), (gateway, "gateway_ready"), (sandbox, "sandbox_listening")):
            process.wait_until(partial(_says, process, word), "it is ready", READY_S, every=0.2)
        codec.wait_until(lambda: listens(codec_port), "it listens", READY_S, every=0.2)

    def all_end_at_once() -> None:
        for process in processes:
            if process.child.poll() is None:
                process.child.send_signal(signal.SIGTERM)

    stack.callback(all_end_at_once)
    await asyncio.to_thread(ready)
