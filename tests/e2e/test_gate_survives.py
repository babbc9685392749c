"""A gate whose worker dies in the middle of a release and which continues as new all the while: everybody goes once."""

import asyncio
import base64
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.api.history.v1 import HistoryEvent

from domain import names
from domain.errors import Scope
from domain.gates import Gate, GateJoin, JoinRequest, ReleasePage
from domain.plans import TemplateRef
from domain.sends import TemplateReading, TemplateStatus
from runtime.gates import TemporalGates
from sandbox.settings import RecruboAccount, TemplateSettings
from tests.e2e.gate_town import Build, GateHandle, GateTown, insist, open_gate_town
from tests.e2e.sides import SANDBOX_SECRETS, SIDES
from tests.figures import Show
from tests.processes import Process, bare_environment, started

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
CROWD, DIES_AFTER = 100, 40
THRONG, PAGE, GROUP = 1001, 500, 50
SERVER = ("--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=10")
"""A gate continues as new after every few who join."""
TIMING = {
    "template_poll": "1h",
    "template_poll_ceiling": "1h",
    "send_start_to_close": "9s",
    "reconcile_settle": "3s",
}


def account(webhook_url: str) -> RecruboAccount:
    """An account whose templates are under review."""
    own = SIDES["recrubo"].account(webhook_url)
    assert isinstance(own, RecruboAccount)
    templates = tuple(
        TemplateSettings(id=f"tpl-{name}", name=name, body="Hi {{1}}!", status="PENDING") for name in ("mass", "pages")
    )
    return own.model_copy(update={"templates": templates, "start_delay": 0.2, "delivery_delay": 3600.0})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GateTown]:
    """A town whose worker is a process of its own."""
    build = Build(SIDES["recrubo"], account, SERVER, works=False)
    async with open_gate_town(Path(tmp_path_factory.mktemp("survives")), build) as opened:
        yield opened


@contextmanager
def working(town: GateTown, name: str, *words: str) -> Iterator[Process]:
    """A worker process on the town's server and store, while the block lasts."""
    config = town.directory / "rapport.json"
    config.write_text(json.dumps(town.topology.model_dump(mode="json", exclude_defaults=True)))
    master, pepper = (base64.b64encode(key).decode() for key in town.keys)
    environment = {
        **bare_environment(),
        **{ref.removeprefix("env:"): value for ref, value in SANDBOX_SECRETS.items()},
        "PYTHONPATH": str(ROOT),
        "TEMPORAL_ADDRESS": town.server.address,
        "RAPPORT_CONFIG": str(config),
        "RAPPORT_STATE_DIR": str(town.directory),
        "RAPPORT_STORE__URL": f"sqlite:///{town.directory / 'store.sqlite3'}",
        "RAPPORT_WORKER__LEASE": "5s",
        "RAPPORT_KEYS__MASTER": master,
        "RAPPORT_KEYS__PEPPER": pepper,
    }
    log = town.directory / f"{name}.log"
    with started(name, [sys.executable, "-m", *words], log, environment, cwd=ROOT) as process:
        yield process


async def pages_by_run(town: GateTown, gate: GateHandle) -> list[list[tuple[str, ...]]]:
    """Whom each page of a gate's releases was for, in order, for each of its runs."""
    return [[await whom(town, event) for event in run if is_release(event)] for run in await town.histories(gate)]


def is_release(event: HistoryEvent) -> bool:
    """Whether a page of a release was begun."""
    return event.activity_task_scheduled_event_attributes.activity_type.name == names.RELEASE_WAITERS


async def whom(town: GateTown, event: HistoryEvent) -> tuple[str, ...]:
    """The workflow ids of a page."""
    payloads = event.activity_task_scheduled_event_attributes.input.payloads
    (page,) = await town.client.data_converter.decode(payloads, [ReleasePage])
    ids: tuple[str, ...] = page.workflow_ids
    return ids


async def test_everybody_gets_one_message_although_the_worker_dies_in_the_release(town: GateTown, show: Show) -> None:
    gate = town.gate("mass")
    with working(town, "first", "tests.e2e.dying_worker", str(DIES_AFTER)) as first:
        await town.engage("mass", CROWD, None, **TIMING)
        await town.wait_for(gate, CROWD)
        assert len(await town.lengths(gate)) > 1, "it continued as new while they joined"
        assert await town.messages() == []
        await town.judge("mass", "APPROVED")
        await asyncio.to_thread(first.child.wait, 300)
        assert first.child.returncode == -signal.SIGKILL, first.output()
    with working(town, "second", "worker"):
        messages = await town.wait_for_messages(CROWD, "mass")
        result = await gate.result()
        lengths = await town.lengths(gate)
    assert messages.most_on_one_phone() == 1
    assert (result.joined, result.released, result.left) == (CROWD, CROWD, 0)
    show(f"gate, {CROWD} and a worker killed: {len(messages)} messages, {len(lengths)} runs of the gate")


async def test_pages_that_are_told_between_two_runs_leave_nobody_out_and_nobody_twice(town: GateTown) -> None:
    now = datetime.now(UTC)
    template = TemplateRef(name="pages", language="en", id="tpl-pages", variables=("first_name",))
    gate = Gate(scope=Scope.TEMPLATE, account="recrubo", template=template, flow=None)
    pending = TemplateReading(template_status=TemplateStatus.PENDING, raw_status="PENDING")
    people = [f"engagement:acme:nobody-{n}" for n in range(THRONG)]
    gates, handle = TemporalGates(town.client), town.gate("pages")
    with working(town, "third", "worker"):
        for n in range(0, THRONG, GROUP):
            joins = [GateJoin(workflow_id=one, at=now, reading=pending, read_at=now) for one in people[n : n + GROUP]]
            requests = [JoinRequest(gate=gate, join=join) for join in joins]
            await asyncio.gather(*(insist(partial(gates.join, request)) for request in requests))
        await town.wait_for(handle, THRONG)
        await town.judge("pages", "APPROVED")
        await town.command(handle, names.RECHECK, "no engagement has read this template, so no webhook finds it")
        result = await handle.result()
    runs = [pages for pages in await pages_by_run(town, handle) if pages]
    assert len(runs) > 1, "it continued as new between two pages"
    pages = [page for run in runs for page in run]
    assert [len(page) for page in pages] == [PAGE, PAGE, THRONG - 2 * PAGE]
    told = [one for page in pages for one in page]
    assert sorted(told) == sorted(people)
    assert (result.joined, result.released, result.left) == (THRONG, 0, 0), "nobody of them exists any more"
