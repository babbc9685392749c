"""Several `rapport worker` processes on one line: another carries on, and together they keep the line's pace."""

import asyncio
import base64
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from domain.contacts import Candidate, Consent
from domain.engagements import EngagementRequest
from domain.ids import lookups_queue, sends_queue
from domain.topology import Topology
from runtime.dev_server import DevServer
from runtime.keyed_codec import KeyedCodec
from runtime.temporal import connect, data_converter, plugin
from sandbox.serve import running
from sandbox.settings import Accounts, SandboxSettings
from starter.parts import service_on
from starter.service import EngagementService
from store.keys import KeyRing
from store.migrate import upgrade
from store.stores import Stores
from tests.e2e.sides import SANDBOX_SECRETS, SIDES
from tests.postgres import fresh_database, postgres_missing, postgres_server
from tests.processes import Process, started
from workflows import search_attributes

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
SIDE = SIDES["meta"]
RATE = 10
PEOPLE = 120
LEASE = timedelta(seconds=3)
MASTER, PEPPER = bytes(32), bytes(range(32))


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A migrated store, as several workers use it: PostgreSQL where it is installed."""
    if postgres_missing():
        file = f"sqlite:///{tmp_path / 'store.sqlite3'}"
        upgrade(file)
        yield file
        return
    with postgres_server() as server, fresh_database(server) as database:
        upgrade(database)
        yield database


@dataclass
class Floor:
    """Temporal, sandbox and store, and the workers that come and go."""

    directory: Path
    environment: dict[str, str]
    service: EngagementService
    stores: Stores
    sandbox: httpx.AsyncClient
    stack: ExitStack
    workers: dict[int, Process] = field(default_factory=dict)

    def start_worker(self) -> Process:
        """One more worker process."""
        name = f"worker-{len(self.workers)}"
        command = [sys.executable, "-m", "starter.cli", "worker"]
        worker = self.stack.enter_context(
            started(name, command, self.directory / f"{name}.log", self.environment, cwd=ROOT)
        )
        self.workers[worker.child.pid] = worker
        return worker

    async def owner(self, queue: str) -> Process | None:
        """The worker that polls a queue, as its lease says."""
        owners = await self.stores.leases.owners()
        return self.workers.get(int(owners[queue].split(":")[1])) if owners.get(queue) else None

    async def sends(self) -> list[tuple[str, datetime]]:
        """Who was written to at which instant, as the provider saw it."""
        asked = {"provider": SIDE.name, "operation": SIDE.sends}
        answer = (await self.sandbox.get("/control/calls", params=asked)).raise_for_status().json()
        return [(call["number"], datetime.fromisoformat(call["at"])) for call in answer["calls"]]

    async def until_sent(self, count: int) -> None:
        """Wait until so many messages were sent in all."""

        async def are_sent() -> bool:
            return len(await self.sends()) >= count

        await self.until(are_sent, f"{count} messages")

    async def until(self, condition: Callable[[], Coroutine[object, object, bool]], what: str) -> None:
        """Wait for a condition of the processes."""
        for _ in range(300):
            if await condition():
                return
            await asyncio.sleep(0.1)
        logs = "\n".join(f"{worker.name}:\n{worker.output()}" for worker in self.workers.values())
        raise AssertionError(f"never: {what}\n{logs}")

    async def engage(self, number: int) -> str:
        """Start an engagement; the candidate's number without its plus sign."""
        phone = f"+3161234{number:04}"
        consent = Consent(source="careers page", obtained_at=datetime.now(UTC) - timedelta(days=1))
        candidate = Candidate(phone=phone, variables={"first_name": "Ada"}, consent=consent)
        request = EngagementRequest(
            tenant="acme", reference=f"p{number}", line=SIDE.line, candidate=candidate, plan=SIDE.plan()
        )
        await self.service.start(request, datetime.now(UTC))
        return phone.removeprefix("+")


@asynccontextmanager
async def open_floor(directory: Path, url: str) -> AsyncIterator[Floor]:
    """Start what workers need; end it, and every worker first."""
    keys = KeyRing(MASTER, PEPPER)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await DevServer.start(search_attributes=search_attributes.ALL))
        stores = await stack.enter_async_context(Stores.open(url, keys))
        client = await connect(plugin(data_converter(KeyedCodec(stores.data_keys, keys))), address=server.address)
        accounts = {SIDE.name: (SIDE.account("").model_copy(update={"webhook_url": None}),)}
        base = await stack.enter_async_context(running(SandboxSettings(accounts=Accounts.model_validate(accounts))))
        sandbox = await stack.enter_async_context(httpx.AsyncClient(base_url=base, timeout=60, trust_env=False))
        written: dict[str, Any] = {
            "tenants": [{"slug": "acme"}],
            "accounts": [SIDE.topology_account(base)],
            "lines": [{**SIDE.topology_line(), "rate": RATE}],
        }
        (directory / "rapport.yaml").write_text(yaml.safe_dump(written))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAPPORT_", "TEMPORAL_"))},
            **{ref.removeprefix("env:"): secret for ref, secret in SANDBOX_SECRETS.items()},
            "TEMPORAL_ADDRESS": server.address,
            "RAPPORT_CONFIG": str(directory / "rapport.yaml"),
            "RAPPORT_STATE_DIR": str(directory),
            "RAPPORT_STORE__URL": url,
            "RAPPORT_KEYS__MASTER": base64.b64encode(MASTER).decode(),
            "RAPPORT_KEYS__PEPPER": base64.b64encode(PEPPER).decode(),
            "RAPPORT_WORKER__LEASE": f"{LEASE.total_seconds():g}s",
        }
        service = service_on(stores, client, Topology.model_validate(written), keys)
        workers = ExitStack()
        stack.push_async_callback(asyncio.to_thread, workers.close)  # the sandbox still answers what they have in hand
        yield Floor(directory, environment, service, stores, sandbox, workers)


def busiest_second(instants: list[datetime]) -> int:
    """The most that happened within one second, wherever it begins."""
    ordered = sorted(instants)
    return max(sum(start <= at < start + timedelta(seconds=1) for at in ordered) for start in ordered)


async def test_workers_hand_a_line_over_and_take_it_from_a_dead_one_without_exceeding_its_rate(
    tmp_path: Path, url: str
) -> None:
    line, account = sends_queue(SIDE.line), lookups_queue(SIDE.name)
    async with open_floor(tmp_path, url) as floor:
        first = floor.start_worker()

        async def is_alone() -> bool:
            return await floor.owner(line) is first and await floor.owner(account) is first

        await floor.until(is_alone, "the only worker has everything")
        second = floor.start_worker()
        people = [await floor.engage(number) for number in range(PEOPLE)]

        async def is_shared() -> bool:
            return await floor.owner(line) is second and await floor.owner(account) is first

        await floor.until(is_shared, "the newcomer has the line, the first keeps the account")
        await floor.until_sent(len(await floor.sends()) + 10)

        second.child.send_signal(signal.SIGKILL)

        async def is_followed() -> bool:
            return await floor.owner(line) is first

        await floor.until(is_followed, "the other has the line of the dead one")
        in_hand = 10  # at most: the polls that a worker has open
        await floor.until_sent(PEOPLE - in_hand)
        sends = await floor.sends()

    assert set(Counter(number for number, _ in sends).values()) == {1}, "somebody was written to twice"
    assert {number for number, _ in sends} <= set(people)
    instants = sorted(at for _, at in sends)
    # on a busy machine what left in step arrives in bunches; two workers with a pace each would come to twice the rate
    assert busiest_second(instants) <= 1.25 * RATE
    pause = max(later - earlier for earlier, later in pairwise(instants))
    assert pause > LEASE / 3, "nobody took the dead one's line before its lease was over"
