"""Master keys change while engagements are open, and workers that lack one do no harm: real server, real workers."""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus, WorkflowHistory
from temporalio.testing import TimeSkipper, TimeSkippingConfig
from temporalio.worker import Replayer

from domain.errors import SetupError
from domain.outcomes import EngagementOutcome, EngagementResult
from domain.sends import LedgerState
from domain.topology import Account, Line, Tenant, Topology
from runtime.codec import ENCODING
from runtime.dev_server import DevServer
from runtime.keyed_codec import KeyedCodec
from runtime.processes import open_process, temporal_plugin
from runtime.settings import Settings, WorkerSettings, load_settings
from runtime.temporal import connect
from starter.cli.keys import rewrapped
from starter.cli.run.gateway import serve_gateway
from store.candidate_keys import KEPT_SECONDS, DataKeys
from store.keys import KeyRing
from store.master_keys import require_master_keys
from store.stores import Stores
from tests.calendar import Calendar
from tests.logged import logging_put_back
from tests.unit.runtime.test_keyed_codec import payloads_in
from tests.workflow.scripted import HeardNotices, OneAccount, ScriptedProvider
from tests.workflow.stage import Play, Stage
from worker import Workers, run_worker
from workflows import search_attributes
from workflows.engagement import EngagementWorkflow
from workflows.gate import GateWorkflow

pytestmark = [pytest.mark.server, pytest.mark.asyncio(loop_scope="module")]

OLD, NEW, WRONG, PEPPER = b"o" * 32, b"n" * 32, b"w" * 32, bytes(range(32))
BEFORE, AFTER, STRANGER = KeyRing(OLD, PEPPER), KeyRing(NEW, PEPPER), KeyRing(WRONG, PEPPER)
SOON = 30.0


@dataclass
class Clock:
    """A monotonic clock that a test moves."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class House:
    """One store and one Temporal server; processes with one ring of keys or another come and go."""

    server: DevServer
    url: str
    line: str
    provider: ScriptedProvider = field(default_factory=ScriptedProvider)
    ats: HeardNotices = field(default_factory=HeardNotices)

    @asynccontextmanager
    async def process(self, ring: KeyRing, clock: Clock | None = None) -> AsyncIterator[Stage]:
        """A process that has started with these keys; what it works on is for the test to say."""
        topology = Topology(
            tenants=(Tenant(slug="acme"),),
            accounts=(
                Account(slug=self.line, provider="scripted", credential="env:X", webhook_secrets=("env:X",), rate=1e4),
            ),
            lines=(Line(slug=self.line, account=self.line, tenants=("acme",), rate=1e4),),
        )
        async with Stores.open(self.url, ring) as opened:
            keys = DataKeys(opened.database, ring, clock=clock or Clock())
            stores = dataclasses.replace(opened, data_keys=keys)
            client = await connect(temporal_plugin(keys, ring), address=self.server.address)
            skipper = TimeSkipper(client, config=TimeSkippingConfig(enabled=False, max_session_skip_count=100))
            accounts = OneAccount(self.provider)
            workers = Workers(client, stores, accounts, self.ats, WorkerSettings())
            yield Stage(
                skipper, stores, self.provider, self.ats, Calendar(skipper), self.line, workers, topology, accounts, {}
            )

    @asynccontextmanager
    async def worker(self, ring: KeyRing, clock: Clock | None = None) -> AsyncIterator[Stage]:
        """A worker process that does everything."""
        async with self.process(ring, clock) as stage, stage.workers.polling(stage.topology):
            yield stage

    def settings(self, monkeypatch: pytest.MonkeyPatch, master: bytes, former: bytes | None = None) -> Settings:
        """What a process finds in its environment."""
        given = {"MASTER": master, "PEPPER": PEPPER} | ({"FORMER": former} if former else {})
        for name, key in given.items():
            monkeypatch.setenv(f"RAPPORT_KEYS__{name}", key.hex())
        monkeypatch.setenv("RAPPORT_STORE__URL", self.url)
        monkeypatch.setenv("RAPPORT_CONFIG", str(Path(__file__).parents[2] / "deploy" / "rapport.example.yaml"))
        monkeypatch.setenv("TEMPORAL_ADDRESS", self.server.address)
        return load_settings()


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A process sets its own logging up."""
    with logging_put_back():
        yield


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[DevServer]:
    """One for each test: what a test leaves open there is sealed under keys that no worker of another test has."""
    async with await DevServer.start(search_attributes=search_attributes.ALL) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def house(server: DevServer, migrated_file: Path, tmp_path: Path) -> House:
    file = tmp_path / "store.sqlite3"
    file.write_bytes(migrated_file.read_bytes())
    return House(server, f"sqlite:///{file}", f"line-{tmp_path.name[-12:].strip('_').replace('_', '-')}")


def seen_from(stage: Stage, play: Play) -> Play:
    """The same engagement, as another process sees it."""
    handle = stage.skipper.client.get_workflow_handle(play.handle.id, result_type=EngagementResult)
    return Play(stage, handle, play.engagement, told=play.told)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON):
        while not await holds():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.02)


async def failed_tasks(play: Play) -> list[str]:
    """What the failed workflow tasks of an engagement say, as Temporal UI shows them."""
    history = await play.handle.fetch_history()
    return [
        one.workflow_task_failed_event_attributes.failure.message
        for one in history.events
        if one.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    ]


async def status_of(play: Play) -> WorkflowExecutionStatus | None:
    return (await play.handle.describe()).status


def raw_of(history: WorkflowHistory) -> bytes:
    return b"".join(event.SerializeToString() for event in history.events)


async def test_an_engagement_goes_on_over_a_rotation_and_its_whole_history_still_opens(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house.worker(BEFORE) as stage:
        play = await stage.play(phone="+31612345678")
        await play.rest()
        assert [send.step for send in house.provider.effects] == ["opening"]

    assert (await rewrapped(house.settings(monkeypatch, NEW, OLD)))["data keys"] >= 2

    async with house.worker(AFTER) as stage:
        await require_master_keys(stage.stores.database, AFTER)
        later = seen_from(stage, play)
        await later.finish_run(city="Utrecht")
        result = await later.result()
        history = await later.handle.fetch_history()
        await Replayer(
            workflows=[EngagementWorkflow, GateWorkflow], plugins=[temporal_plugin(stage.stores.data_keys, AFTER)]
        ).replay_workflow(history)
        found = [payload for event in history.events for _, payload in payloads_in(event)]
        sealed = [one for one in found if one.metadata.get("encoding") == ENCODING]
        opened = await KeyedCodec(DataKeys(stage.stores.database, AFTER), AFTER).decode(sealed)
    assert (result.settlement.outcome, len(house.provider.effects)) == (EngagementOutcome.COMPLETED, 1)
    assert {one.metadata["encoding"] for one in opened} <= {b"json/plain", b"binary/null"}
    assert len(sealed) > 15
    assert b"Utrecht" in b"".join(one.data for one in opened)
    assert not any(word in raw_of(history) for word in (b"31612345678", b"Utrecht", b"Ada"))
    async with house.process(BEFORE) as stage:
        with pytest.raises(SetupError, match="was not given"):
            await require_master_keys(stage.stores.database, BEFORE)


async def test_a_worker_without_the_key_fails_loudly_and_the_right_one_carries_on(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    async with house.worker(BEFORE) as stage:
        play = await stage.play()
        await play.rest()

    requests = list(house.provider.requests)
    async with house.process(BEFORE) as outside:
        seen = seen_from(outside, play)
        with caplog.at_level(logging.WARNING):
            async with house.worker(STRANGER):
                await seen.finish_run(city="Utrecht")
                await until(lambda: _some(failed_tasks(seen)))
        (message, *_) = await failed_tasks(seen)
        assert f"needs master key {BEFORE.current_id}" in message
        assert any(f"needs master key {BEFORE.current_id}" in (record.exc_text or "") for record in caplog.records)
        assert "Utrecht" not in message + caplog.text
        assert await status_of(seen) == WorkflowExecutionStatus.RUNNING
        assert (house.provider.requests, len(house.provider.effects)) == (requests, 1)

    async with house.worker(BEFORE) as stage:
        result = await seen_from(stage, play).result()
    assert (result.settlement.outcome, result.settlement.answers, len(house.provider.effects)) == (
        EngagementOutcome.COMPLETED,
        {"city": "Utrecht"},
        1,
    )


async def _some(found: Awaitable[list[str]]) -> bool:
    return bool(await found)


async def test_a_line_worker_without_the_key_sends_nothing_and_spends_nothing(house: House) -> None:
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(house.process(BEFORE))
        stranger = await stack.enter_async_context(house.process(STRANGER))
        await stack.enter_async_context(stage.workers.engagements())
        await stack.enter_async_context(stage.workers.lookups(house.line, 1e4))
        async with stranger.workers.line(house.line, 1e4):
            play = await stage.play()
            await until(lambda: _was_tried(play))
            assert house.provider.effects == []
            assert await status_of(play) == WorkflowExecutionStatus.RUNNING
        async with stage.workers.line(house.line, 1e4):
            await until(lambda: _is_out(house))
            await play.rest()
            await play.finish_run(city="Utrecht")
            result = await play.result()
    assert (result.settlement.outcome, len(house.provider.effects)) == (EngagementOutcome.COMPLETED, 1)


async def _was_tried(play: Play) -> bool:
    described = await play.handle.describe()
    return any(one.attempt > 1 for one in described.raw_description.pending_activities)


async def _is_out(house: House) -> bool:
    return bool(house.provider.effects)


async def test_a_worker_that_loses_its_key_while_a_send_is_out_does_not_send_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer cannot be sealed, so Temporal tries again; what was claimed once is not sent twice."""
    clock, pause = Clock(), (asyncio.Event(), asyncio.Event())
    reached, go_on = pause
    house.provider.pause_after = pause
    async with house.worker(BEFORE, clock) as stage:
        play = await stage.play()
        await reached.wait()
        await rewrapped(house.settings(monkeypatch, NEW, OLD))
        clock.now += KEPT_SECONDS
        house.provider.pause_after = None
        go_on.set()
        await until(lambda: _was_tried(play))
    async with house.worker(AFTER) as stage:
        later = seen_from(stage, play)
        await until(lambda: _is_told(later))
        await later.finish_run(city="Utrecht")
        result = await later.result()
    assert (result.settlement.outcome, len(house.provider.effects)) == (EngagementOutcome.COMPLETED, 1)


async def _is_told(play: Play) -> bool:
    """Whether the engagement has the receipt of its send: before that the flow run of an event says nothing to it."""
    return all(send.send_state is LedgerState.SENT for send in (await play.snapshot()).sends)


async def opened(settings: Settings) -> None:
    async with open_process(settings, lazy=True):
        pass


@pytest.mark.parametrize("begin", [run_worker, serve_gateway, opened], ids=["worker", "gateway", "a command"])
async def test_no_process_begins_without_a_master_key_of_its_store(
    house: House, monkeypatch: pytest.MonkeyPatch, begin: Callable[[Settings], Awaitable[None]]
) -> None:
    async with house.process(BEFORE) as stage:
        await stage.stores.data_keys.service_key()
    monkeypatch.setattr("runtime.processes.temporal_runtime", lambda bind: None)  # a process has one: the tests'
    with pytest.raises(SetupError, match=f"{BEFORE.current_id}, which was not given: give it in RAPPORT_KEYS__FORMER"):
        await asyncio.wait_for(begin(house.settings(monkeypatch, WRONG)), SOON)
    async with house.process(BEFORE) as stage:
        await require_master_keys(stage.stores.database, BEFORE)  # it made nothing of its own
