"""Commands about templates and holds on a real store, a Temporal server, and real gates with a scripted provider."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.service import RPCError
from typer.testing import CliRunner, Result

from domain.gates import GateResult, GateTiming
from domain.topology import Account, Line, Tenant, Topology
from runtime.settings import WorkerSettings
from runtime.template_files import TemplateFolder, load_templates
from runtime.temporal import connect
from starter.cli import app
from starter.cli.session import Session
from starter.gates import OPEN_GATES, GateService
from starter.templates import TemplateService
from store.stores import Stores
from tests.unit.starter.world import KEYS, sealing_plugin, service_on
from tests.workflow.scripted import HeardNotices, OneAccount, ScriptedProvider
from worker import Workers

QUICK = GateTiming(poll=timedelta(milliseconds=300), ceiling=timedelta(milliseconds=300))


def _account(slug: str, provider: str, **options: str) -> Account:
    secrets = {"credential": "env:TOKEN", "webhook_secrets": ("env:SECRET",)}
    return Account.model_validate({"slug": slug, "provider": provider, "options": options, **secrets})


def topology_of(account: str) -> Topology:
    """An account of each provider; that of Recrubo has this name, so that tests on one server keep apart."""
    return Topology(
        tenants=(Tenant(slug="acme"),),
        accounts=(
            _account(account, "recrubo"),
            _account("acme-meta", "meta", waba_id="102290000000001", verify_token="env:VERIFY"),
            _account("acme-truora", "truora"),
        ),
        lines=(
            Line(slug="recruiting", account=account, tenants=("acme",)),
            Line(slug="nursing", account="acme-meta", tenants=("acme",), sender="106540000000001"),
        ),
    )


def written(name: str, account: str, **changes: str) -> str:
    """A specification that nothing is wrong with, as YAML, with what a test changes of it."""
    members = {"name": name, "language": "en", "accounts": f"[{account}]", "category": "UTILITY", "body": "Hello."}
    return "".join(f"{member}: {value}\n" for member, value in (members | changes).items())


@dataclass
class GateWorld:
    """A folder of templates, a store, a server, and the command line on them."""

    folder: Path
    url: str
    address: str
    account: str
    provider: ScriptedProvider = field(default_factory=ScriptedProvider)
    timing: GateTiming = QUICK

    @property
    def topology(self) -> Topology:
        """What the configuration says."""
        return topology_of(self.account)

    def specify(self, name: str, **changes: str) -> Path:
        """Write a specification into the folder."""
        file = self.folder / f"{name}.{changes.get('language', 'en')}.yaml"
        file.write_text(written(name, self.account, **changes))
        return file

    def __call__(self, *words: str) -> Result:
        result = CliRunner().invoke(app, list(words), obj=self.session)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """What a command opens."""
        async with Stores.open(self.url, KEYS) as stores:
            client = await connect(sealing_plugin(), address=self.address, lazy=True)
            templates = TemplateService(self.folder, self.topology, stores.templates, stores.submissions, self.timing)
            gates = GateService(client, stores.holds)
            yield Session(service_on(stores, client), self.topology, gates, templates)

    @contextmanager
    def working(self) -> Iterator[None]:
        """A worker in a thread of its own, since the commands bring their own event loops."""
        up, done, failed = threading.Event(), threading.Event(), list[BaseException]()

        async def work() -> None:
            async with AsyncExitStack() as stack:
                stores = await stack.enter_async_context(Stores.open(self.url, KEYS))
                client = await connect(sealing_plugin(), address=self.address)
                accounts, folder = OneAccount(self.provider), self.specifications()
                workers = Workers(client, stores, accounts, HeardNotices(), WorkerSettings(), folder)
                await stack.enter_async_context(workers.engagements())
                await stack.enter_async_context(workers.lookups(self.account, 100))
                up.set()
                await asyncio.to_thread(done.wait)

        def run() -> None:
            try:
                asyncio.run(work())
            except BaseException as error:  # noqa: BLE001 - told where the test waits
                failed.append(error)
                up.set()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert up.wait(30)
            assert not failed, failed
            yield
        finally:
            done.set()
            thread.join(30)

    def end_of(self, gate: str) -> GateResult:
        """What a gate became, once it has closed."""

        async def run() -> GateResult:
            async with self.session() as session:
                return await session.at_gates().result(gate)

        return asyncio.run(run())

    def end_gates(self) -> None:
        """Leave no gate open on a server that others use."""

        async def run() -> None:
            client = await connect(sealing_plugin(), address=self.address)
            async for gate in client.list_workflows(OPEN_GATES):
                if gate.id.startswith(f"gate:template:{self.account}:"):
                    with suppress(RPCError):  # it ended by itself
                        await client.get_workflow_handle(gate.id).terminate()

        asyncio.run(run())

    def specifications(self) -> TemplateFolder:
        """What a worker has of the folder."""
        return load_templates(self.folder, self.topology)

    def on_store(self, act: Callable[[Stores], Awaitable[object]]) -> None:
        """Let the store know something before a command looks."""

        async def run() -> None:
            async with Stores.open(self.url, KEYS) as stores:
                await act(stores)

        asyncio.run(run())


def now() -> datetime:
    """The wall clock, which commands judge holds by."""
    return datetime.now(UTC)
