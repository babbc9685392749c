"""Crowds at gates: Temporal, gateway, store, one provider's sandbox and, unless a test runs it itself, the worker.

Clocks are real here, since paces are what is measured; whoever is in a crowd stays silent.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import httpx
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from domain import names
from domain.calls import Command, CommandResult
from domain.contacts import Candidate, Consent
from domain.engagements import EngagementRequest, Timing
from domain.errors import ProviderUnavailable
from domain.gates import GateResult, GateSnapshot
from domain.ids import engagement_workflow_id, gate_workflow_id, template_scope
from domain.model import JsonValue
from domain.outcomes import EngagementResult
from domain.plans import Plan
from domain.snapshot import EngagementSnapshot
from domain.topology import Topology
from gateway.process import Gateway, GatewayParts
from gateway.reading import Receiving
from providers.ats.client import StandardWebhookNotifier, ats_endpoints
from providers.registry import build_accounts, build_readers
from runtime.dev_server import DevServer
from runtime.keyed_codec import KeyedCodec
from runtime.settings import WorkerSettings
from runtime.temporal import connect, data_converter, plugin
from sandbox.personas import Candidate as Seated
from sandbox.personas import Persona, PersonaOptions, PersonaSettings
from sandbox.serve import running
from sandbox.settings import Accounts, SandboxSettings
from starter.parts import service_on
from starter.routes import create_rest_app
from starter.tokens import AccessTokens
from store.keys import KEY_BYTES, KeyRing
from store.stores import Stores
from tests.databases import migrated_sqlite
from tests.e2e.sides import Side
from tests.e2e.town import resolve
from worker import Workers
from workflows import search_attributes

T = TypeVar("T")
GateHandle = WorkflowHandle[Any, GateResult]

LINE_RATE = 20
"""Messages per second that the provider grants the line; the simulator refuses what comes faster."""
ACCOUNT_RATE = 400.0
STARTS_AT_ONCE = 24
SECOND = timedelta(seconds=1)
SILENT = PersonaSettings(
    default=Seated(persona=Persona.SILENT, options=PersonaOptions(session_ends=False)), by_suffix={}
)


@dataclass(frozen=True)
class Build:
    """What a town of crowds is built of. ``account`` makes the sandbox's account from the address of its webhooks."""

    side: Side
    account: Callable[[str], Any]
    server: Sequence[str] = ()
    """More words for the dev server."""
    works: bool = True
    """Whether the worker runs here; else a test runs it as a process."""


async def until(ask: Callable[[], Awaitable[T]], what: str, seconds: float = 300, every: float = 0.2) -> T:
    """Ask until the answer is true, and return it."""
    try:
        async with asyncio.timeout(seconds):
            while not (answer := await ask()):  # noqa: ASYNC110 - servers are asked; they tell nobody
                await asyncio.sleep(every)
    except TimeoutError:
        raise AssertionError(f"{what}: not within {seconds:g} s") from None
    return answer


async def insist(signal: Callable[[], Awaitable[None]]) -> None:
    """Signal as an activity does: again until Temporal takes it, which it does not while a gate continues as new."""
    while True:
        with suppress(ProviderUnavailable):
            return await signal()
        await asyncio.sleep(0.2)


@dataclass(frozen=True)
class Message:
    """A message: to whom, and when it arrived at the phone or was taken by the provider."""

    to: str
    at: datetime


class Messages(list[Message]):
    """Messages in the order of their arrival."""

    def worst_second(self) -> int:
        """The most that arrived within any one second."""
        times = [message.at for message in self]
        return max((sum(begin <= at < begin + SECOND for at in times) for begin in times), default=0)

    def longest_pause(self) -> timedelta:
        """The longest time in which none arrived, between the first and the last."""
        return max((late.at - early.at for early, late in pairwise(self)), default=timedelta(0))

    def per_second(self) -> float:
        """The mean rate from the first to the last."""
        return (len(self) - 1) / ((self[-1].at - self[0].at) / SECOND)

    def most_on_one_phone(self) -> int:
        """The most that any one phone received."""
        return max(Counter(message.to for message in self).values(), default=0)


@dataclass
class GateTown:
    """Everything, running."""

    build: Build
    directory: Path
    keys: tuple[bytes, bytes]
    server: DevServer
    skipper: TimeSkipper
    stores: Stores
    topology: Topology
    sandbox: httpx.AsyncClient
    template_ids: dict[str, str]

    @property
    def client(self) -> Client:
        """A client of the Temporal server."""
        return self.skipper.client

    def plan(self, template: str, **changes: object) -> Plan:
        """A plan that opens with this template."""
        named = {**self.build.side.invitation, "name": template}
        if "id" in named:
            named["id"] = f"tpl-{template}"
        opening = {
            "template": {"language": "en", "variables": ("first_name",), **named},
            "flow": self.build.side.flow,
        }
        return self.build.side.plan(**{"opening": opening, "follow_ups": (), **changes})

    async def engage(self, template: str, count: int, its: Plan | None = None, **timing: object) -> list[str]:
        """Start engagements with people of their own, several at once as a batch does; gives their references."""
        service = service_on(self.stores, self.client, self.topology, KeyRing(*self.keys))
        free = asyncio.Semaphore(STARTS_AT_ONCE)
        plan, waits = its or self.plan(template), Timing.model_validate(timing)
        consent = Consent(source="careers page", obtained_at=datetime.now(UTC) - timedelta(days=1))

        async def start(n: int) -> str:
            phone = f"{_prefix(template)}{n:04d}"
            candidate = Candidate(phone=phone, variables={"first_name": "Ada"}, consent=consent)
            request = EngagementRequest(
                tenant="acme",
                reference=f"{template}-{n}",
                line=self.build.side.line,
                candidate=candidate,
                plan=plan,
                timing=waits,
            )
            async with free:
                await service.start(request, datetime.now(UTC))
            return request.reference

        return list(await asyncio.gather(*(start(n) for n in range(count))))

    def engagement(self, reference: str) -> WorkflowHandle[Any, EngagementResult]:
        """One engagement."""
        workflow_id = engagement_workflow_id("acme", reference)
        return self.client.get_workflow_handle(workflow_id, result_type=EngagementResult)

    async def engagement_snapshot(self, reference: str) -> EngagementSnapshot:
        """Where an engagement stands."""
        snapshot: EngagementSnapshot = await self.engagement(reference).query(
            names.SNAPSHOT, result_type=EngagementSnapshot
        )
        return snapshot

    async def results(self, references: Sequence[str]) -> list[EngagementResult]:
        """How engagements ended, waited for."""
        async with asyncio.timeout(300):
            return list(await asyncio.gather(*(self.engagement(one).result() for one in references)))

    # -- gates

    def gate(self, template: str) -> GateHandle:
        """The gate of a template."""
        return self.gate_of(template_scope(self.build.side.name, template, "en"))

    def gate_of(self, scope_key: str) -> GateHandle:
        """The gate of any scope."""
        return self.client.get_workflow_handle(gate_workflow_id(scope_key), result_type=GateResult)

    async def snapshot(self, gate: GateHandle) -> GateSnapshot:
        """Where a gate stands."""
        snapshot: GateSnapshot = await gate.query(names.SNAPSHOT, result_type=GateSnapshot)
        return snapshot

    async def wait_for(self, gate: GateHandle, waiting: int) -> GateSnapshot:
        """Wait until so many wait at a gate."""

        async def all_wait() -> GateSnapshot | None:
            try:
                snapshot = await self.snapshot(gate)
            except Exception:  # noqa: BLE001 - there is no gate before the first joins it, or no worker answers yet
                return None
            return snapshot if snapshot.waiting >= waiting else None

        found = await until(all_wait, f"{waiting} wait")
        assert found is not None
        return found

    async def wait_for_signals(self, gate: GateHandle, counted: int) -> None:
        """Wait until a gate has counted so many who joined or left."""

        async def all_counted() -> bool:
            snapshot = await self.snapshot(gate)
            return snapshot.joined + snapshot.left >= counted

        await until(all_counted, f"{counted} joined or left")

    async def command(self, gate: GateHandle, name: str, reason: str) -> CommandResult:
        """What an operator does."""
        said = Command(command_id=f"{name}-{datetime.now(UTC).timestamp()}", actor="olga", reason=reason)
        answer: CommandResult = await gate.execute_update(name, said, id=said.command_id, result_type=CommandResult)
        return answer

    async def histories(self, gate: GateHandle) -> list[Sequence[HistoryEvent]]:
        """The history of each run of a gate, in order."""
        histories: list[Sequence[HistoryEvent]] = []
        run_id = await self._first_run(gate.id)
        while run_id:
            history = await self.client.get_workflow_handle(gate.id, run_id=run_id).fetch_history()
            histories.append(history.events)
            run_id = history.events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        return histories

    async def lengths(self, gate: GateHandle) -> list[int]:
        """The number of history events of each run of a gate, in order."""
        return [len(history) for history in await self.histories(gate)]

    async def _first_run(self, workflow_id: str) -> str:
        history = await self.client.get_workflow_handle(workflow_id).fetch_history()
        started = history.events[0]
        assert started.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED
        return started.workflow_execution_started_event_attributes.first_execution_run_id

    # -- the provider

    async def judge(self, template: str, status: str, reason: str | None = None) -> None:
        """Give a template another status; the provider tells it by webhook."""
        verdict = {"status": status, **({"reason": reason} if reason else {})}
        path = f"/control/{self.build.side.name}/templates/{self.template_ids[template]}"
        (await self.sandbox.post(path, json=verdict)).raise_for_status()

    async def fault(self, kind: str, operation: str, **more: JsonValue) -> None:
        """Let something go wrong at the provider."""
        fault = {"provider": self.build.side.name, "operation": operation, "kind": kind, **more}
        (await self.sandbox.post("/control/faults", json=fault)).raise_for_status()

    async def mend(self) -> None:
        """Let nothing go wrong any more."""
        (await self.sandbox.delete("/control/faults")).raise_for_status()

    async def messages(self, template: str = "") -> Messages:
        """What arrived on the phones."""
        params = {"template": template} if template else {}
        shown = (await self.sandbox.get("/control/phones", params=params)).raise_for_status().json()["messages"]
        return Messages(Message(one["to"], datetime.fromisoformat(one["at"])) for one in shown)

    async def taken(self) -> Messages:
        """The messages that the provider took, whether or not they have arrived."""
        taken = [call for call in await self.calls(self.build.side.sends) if call["status"] in (200, 201)]
        return Messages(Message(call["number"], datetime.fromisoformat(call["at"])) for call in taken)

    async def wait_for_messages(self, count: int, template: str = "", seconds: float = 300) -> Messages:
        """Wait until so many arrived."""

        async def arrived() -> Messages | None:
            found = await self.messages(template)
            return found if len(found) >= count else None

        found = await until(arrived, f"{count} messages", seconds, every=0.5)  # long lists are dear to ask for
        assert found is not None
        return found

    async def calls(self, operation: str = "") -> list[dict[str, Any]]:
        """What the provider was asked."""
        params = {"provider": self.build.side.name, **({"operation": operation} if operation else {})}
        calls: list[dict[str, Any]] = (
            (await self.sandbox.get("/control/calls", params=params)).raise_for_status().json()["calls"]
        )
        return calls


def _prefix(template: str) -> str:
    """People of their own for each template: the first digits of their numbers."""
    return f"+3161{int.from_bytes(template.encode()) % 997:03d}"


def _topology(build: Build, base: str) -> Topology:
    side = build.side
    return Topology.model_validate(
        {
            "tenants": [{"slug": "acme"}],
            "accounts": [side.topology_account(base) | {"rate": ACCOUNT_RATE}],
            "lines": [side.topology_line() | {"rate": LINE_RATE}],
        }
    )


@asynccontextmanager
async def open_gate_town(directory: Path, build: Build) -> AsyncIterator[GateTown]:
    """Start everything on free ports; end everything."""
    secrets = (os.urandom(KEY_BYTES), os.urandom(KEY_BYTES))
    keys, name = KeyRing(*secrets), build.side.name
    file = directory / "store.sqlite3"
    file.write_bytes(await asyncio.to_thread(migrated_sqlite))
    url = f"sqlite:///{file}"
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            await DevServer.start(search_attributes=search_attributes.ALL, extra=build.server)
        )
        stores = await stack.enter_async_context(Stores.open(url, keys))
        sealed = data_converter(KeyedCodec(stores.data_keys, keys))
        client = await connect(plugin(sealed, strict_imports=True), address=server.address)
        skipper = TimeSkipper(client, config=TimeSkippingConfig(enabled=False, max_session_skip_count=10_000))
        nowhere = _topology(build, "http://127.0.0.1:1")
        service = service_on(stores, skipper.client, nowhere, keys)
        parts = GatewayParts(
            stores=stores,
            accounts=[Receiving(name, name, (build.side.line,), build_readers(nowhere, resolve)[name])],
            rest=create_rest_app(service, AccessTokens([]), stores.idempotency),
            temporal=skipper.client,
        )
        gateway = Gateway(parts)
        serving = asyncio.create_task(gateway.run())
        stack.push_async_callback(lambda: asyncio.wait_for(serving, 20))
        stack.callback(gateway.stop)
        ports = await gateway.started
        account = build.account(f"http://127.0.0.1:{ports.webhook_port}/webhooks/{name}/{name}")
        settings = SandboxSettings(accounts=Accounts.model_validate({name: (account,)}), personas=SILENT)
        base = await stack.enter_async_context(running(settings))
        topology = _topology(build, base)
        if build.works:
            await _work(stack, skipper.client, stores, topology)
        sandbox = await stack.enter_async_context(httpx.AsyncClient(base_url=base, timeout=60, trust_env=False))
        shown = (await sandbox.get(f"/control/{name}/templates")).raise_for_status().json()
        ids = {one.get("attributes", one)["name"]: str(one["id"]) for one in shown}
        yield GateTown(build, directory, secrets, server, skipper, stores, topology, sandbox, ids)


async def _work(stack: AsyncExitStack, client: Client, stores: Stores, topology: Topology) -> None:
    accounts = build_accounts(topology, resolve)
    stack.push_async_callback(accounts.close)
    ats = StandardWebhookNotifier(ats_endpoints(topology, resolve))
    stack.push_async_callback(ats.close)
    workers = Workers(client, stores, accounts, ats, WorkerSettings())
    await stack.enter_async_context(workers.polling(topology))
