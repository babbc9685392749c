"""A sandbox on a real socket with a client that knows the rules, a webhook receiver, and a clock that stands still."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
from pydantic import JsonValue, SecretStr

from sandbox.clock import ClockMode
from sandbox.personas import PersonaSettings
from sandbox.serve import running
from sandbox.settings import Accounts, FlowSettings, RecruboAccount, SandboxSettings, TemplateSettings

JsonObject = dict[str, JsonValue]

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TOKEN = "test-org-token"
SECRET = "test-recrubo-webhook-secret"
ATS_SECRET = "whsec_dGVzdC1hdHMtc2VjcmV0LXRlc3QtYXRz"
FLOW = "eb3c92e9-0000-4000-8000-0000000000f1"
TEMPLATE = "7fqa9715-0000-4000-8000-0000000000a1"
PENDING_TEMPLATE = "7fqa9715-0000-4000-8000-0000000000a2"
NUMBER = "31600000001"
MEDIA_TYPE = "application/vnd.api+json"
SESSION_MINUTES = 60
TRUST = ssl.create_default_context()
"""Made once: reading the certificates takes longer than most tests here."""


def account(**changes: object) -> RecruboAccount:
    """The organisation of these tests, with what a test wants otherwise."""
    base = RecruboAccount(
        token=SecretStr(TOKEN),
        webhook_secret=SecretStr(SECRET),
        flows=(FlowSettings(id=FLOW, session_timeout=SESSION_MINUTES, collects={"available": "yes"}),),
        templates=(
            TemplateSettings(id=TEMPLATE, name="intake_v0", body="Hi {{1}}, reply to start your intake."),
            TemplateSettings(id=PENDING_TEMPLATE, name="intake_v1", body="Hello.", status="PENDING"),
        ),
    )
    return base.model_copy(update=changes)


def settings(*accounts: RecruboAccount, clock: ClockMode = ClockMode.MANUAL, seed: str = "tests") -> SandboxSettings:
    """Settings of a sandbox whose clock stands at NOW."""
    return SandboxSettings(
        seed=seed,
        clock=clock,
        now=NOW,
        accounts=Accounts(recrubo=accounts or (account(),)),
        personas=PersonaSettings(),
        ats={"demo": SecretStr(ATS_SECRET)},
        webhook_timeout=5,
    )


@dataclass
class Hook:
    """One delivery as the receiver saw it."""

    headers: dict[str, str]
    body: JsonObject

    @property
    def attributes(self) -> JsonObject:
        return at(self.body, "data", "attributes")

    @property
    def resource(self) -> JsonObject:
        return at(self.attributes, "resource")

    @property
    def id(self) -> str:
        return str(at(self.body, "data")["id"])

    @property
    def name(self) -> str:
        """A short word for what was told: ``run running``, ``message sent``, ``inbound Let us begin``."""
        attributes = at(self.resource, "attributes")
        match self.resource["type"], self.attributes["event"]:
            case "flowRuns", _:
                return f"run {attributes['status']}"
            case "messages", "create" if attributes["origin"] == "inbound":
                return f"inbound {at(attributes, 'payload', 'text')['value']}"
            case "messages", _:
                return f"message {attributes['deliveryStatus']}"
            case kind, event:
                return f"{kind} {attributes.get('status', event)}"


def at(value: JsonValue, *path: str) -> JsonObject:
    """The object at a path; anything else there is an error of the test."""
    for part in path:
        assert isinstance(value, dict)
        value = value[part]
    assert isinstance(value, dict)
    return value


@dataclass
class Receiver:
    """Takes webhooks on a real socket. ``statuses`` are answered first, then 200; ``on_hook`` runs before that."""

    url: str = ""
    hooks: list[Hook] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    on_hook: Callable[[Hook], Awaitable[None]] | None = None
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def names(self) -> list[str]:
        return [hook.name for hook in self.hooks]

    def read(self, headers: dict[str, str], body: bytes) -> Hook:
        """What was delivered; other providers deliver other things than JSON."""
        return Hook(headers, json.loads(body))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:] if line)}
            hook = self.read(headers, await reader.readexactly(int(headers["content-length"])))
            if self.on_hook is not None:
                await self.on_hook(hook)
            status = self.statuses.pop(0) if self.statuses else 200
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
            async with self.arrived:
                self.hooks.append(hook)
                self.arrived.notify_all()

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Wait for deliveries of a sandbox that follows the wall clock."""
        async with asyncio.timeout(20), self.arrived:
            await self.arrived.wait_for(wanted)


@contextlib.asynccontextmanager
async def receiving(receiver: Receiver | None = None) -> AsyncIterator[Receiver]:
    receiver = receiver or Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks"
    try:
        yield receiver
    finally:
        server.close()
        await server.wait_closed()


@dataclass
class Play:
    """A running sandbox."""

    url: str
    api: httpx.AsyncClient
    """Speaks to Recrubo as an organisation."""
    control: httpx.AsyncClient
    """Speaks to the control API."""
    receiver: Receiver

    async def post(self, path: str, kind: str, attributes: JsonObject) -> httpx.Response:
        return await self.api.post(path, content=json.dumps({"data": {"type": kind, "attributes": attributes}}))

    async def patch(self, path: str, kind: str, attributes: JsonObject) -> httpx.Response:
        data: JsonObject = {"type": kind, "id": path.rsplit("/", 1)[1], "attributes": attributes}
        return await self.api.patch(path, content=json.dumps({"data": data}))

    async def open_thread(self, number: str = NUMBER) -> str:
        return made(await self.post("message-threads", "messageThreads", {"channel": "whatsapp", "identifier": number}))

    async def trigger(self, thread: str, reference: str = "att_1", /, **changes: JsonValue) -> httpx.Response:
        return await self.post("flow-runs", "flowRuns", run_attributes(thread, reference, **changes))

    async def start(self, number: str = NUMBER, reference: str = "att_1") -> str:
        """Open a thread and trigger a run on it; returns the run's id."""
        return made(await self.trigger(await self.open_thread(number), reference))

    async def run(self, run: str) -> JsonObject:
        return at((await self.api.get(f"flow-runs/{run}")).json(), "data", "attributes")

    async def ask(self, path: str, /, **query: str | int | bool) -> JsonObject:
        response = await self.control.get(path, params=query)
        assert response.status_code == 200, response.text
        return at(response.json())

    async def tell(self, path: str, /, **body: JsonValue) -> JsonObject:
        response = await self.control.post(path, json=body)
        assert response.is_success, response.text
        return at(response.json())

    async def count(self, path: str, /, **query: str | int | bool) -> int:
        found = (await self.ask(path, **query))["count"]
        assert isinstance(found, int)
        return found

    async def persona(self, number: str, persona: str, **options: JsonValue) -> None:
        await self.tell("personas", number=number, persona=persona, options=options)

    async def fault(self, kind: str, operation: str = "*", **more: JsonValue) -> str:
        made = await self.tell("faults", **{"provider": "recrubo", "operation": operation, "kind": kind, **more})
        return str(made["id"])

    async def rules(self) -> list[str]:
        refusals = (await self.ask("refusals"))["refusals"]
        assert isinstance(refusals, list)
        return [str(at(refusal)["rule"]) for refusal in refusals]

    async def advance(self, **length: float) -> JsonObject:
        """Let time pass for the sandbox, e.g. ``seconds=5``."""
        now = datetime.fromisoformat(str((await self.ask("clock"))["now"]))
        return await self.tell("clock/advance", to=(now + timedelta(**length)).isoformat())


def run_attributes(thread: str, reference: str = "att_1", /, **changes: JsonValue) -> JsonObject:
    parameters: JsonValue = [{"type": "body", "parameters": [{"type": "text", "text": "Ada"}]}]
    attributes: JsonObject = {
        "flowId": FLOW,
        "messageThreadId": thread,
        "state": {"clientReference": reference},
        "initialMessage": {"type": "template", "template": {"id": TEMPLATE, "components": parameters}},
    }
    return attributes | changes


def made(response: httpx.Response) -> str:
    """The id of what a creation made."""
    assert response.is_success, response.text
    return str(at(response.json(), "data")["id"])


@contextlib.asynccontextmanager
async def playing(chosen: SandboxSettings | None = None, *, told: bool = True) -> AsyncIterator[Play]:
    """Run a sandbox; ``told`` subscribes a receiver to its webhooks."""
    chosen = chosen or settings()
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE}
    async with receiving() as receiver:
        if told:
            heard = tuple(a.model_copy(update={"webhook_url": receiver.url}) for a in chosen.accounts.recrubo)
            chosen = chosen.model_copy(update={"accounts": Accounts(recrubo=heard)})
        async with (
            running(chosen) as url,
            httpx.AsyncClient(
                base_url=f"{url}/recrubo/public/v2/", headers=headers, trust_env=False, verify=TRUST
            ) as api,
            httpx.AsyncClient(base_url=f"{url}/control/", trust_env=False, verify=TRUST) as control,
        ):
            yield Play(url, api, control, receiver)
