"""What happens at the same instant, and what a fresh run takes over."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.api.enums.v1 import EventType
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from domain import names
from domain.events import FlowRunChanged, FlowRunStatus, FormAnswered, ProviderEvent, ProviderEvents, TextReceived, Ties
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import FollowUp
from runtime.codec import AesGcmCodec
from runtime.dev_server import DevServer
from runtime.temporal import connect, data_converter, plugin
from tests.workflow.conftest import TEST_KEYS
from tests.workflow.scripted import PUSHED, ScriptedProvider
from tests.workflow.stage import NUDGE, Play, Stage, open_stage, plan
from workflows import search_attributes

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTINUE_EARLY = ("--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=60")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def short_histories() -> AsyncIterator[TimeSkipper]:
    """A server that asks for a fresh run after sixty events."""
    async with await DevServer.start(search_attributes=search_attributes.ALL, extra=CONTINUE_EARLY) as server:
        its_plugin = plugin(data_converter(AesGcmCodec(TEST_KEYS)), strict_imports=True)
        client = await connect(its_plugin, address=server.address)
        yield TimeSkipper(client, config=TimeSkippingConfig(enabled=False, max_session_skip_count=10_000))


@pytest_asyncio.fixture(loop_scope="module")
async def short_stage(short_histories: TimeSkipper, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage on it."""
    async with open_stage(short_histories, tmp_path, ScriptedProvider(capabilities=PUSHED)) as opened:
        yield opened


async def test_an_answer_and_a_stop_together_end_it_once_and_nothing_is_sent_after(stage: Stage) -> None:
    play = await stage.play()
    await play.rest()
    stage.provider.become("run-1", FlowRunStatus.FINISHED, city="Utrecht")
    told, _ = await asyncio.gather(
        play.tell(FlowRunChanged(flow_run_status=FlowRunStatus.FINISHED), run_id="run-1"),
        play.command(names.STOP),
        return_exceptions=True,
    )
    assert told is None
    assert (await play.result()).settlement.outcome in (Outcome.COMPLETED, Outcome.STOPPED)
    assert len(stage.provider.effects) == 1


async def test_a_repeated_stop_after_the_end_answers_as_the_first_did(stage: Stage) -> None:
    play = await stage.play()
    await play.rest()
    first, again = await asyncio.gather(play.command(names.STOP), play.command(names.STOP))
    assert first == again


async def test_thousands_of_events_survive_fresh_runs_and_the_answer_is_found(short_stage: Stage) -> None:
    play = await short_stage.play()
    await play.rest()
    for batch in range(40):
        events = tuple(
            ProviderEvent(
                key=f"msg:{batch}-{n}", occurred_at=datetime.now(UTC), ties=Ties(), body=TextReceived(text="hello?")
            )
            for n in range(50)
        )
        await play.handle.signal(names.PROVIDER_EVENTS, ProviderEvents(events=events))
        await play.rest()
    assert (await play.handle.describe()).run_id != play.handle.first_execution_run_id, "it went on in a fresh run"
    await play.tell(FormAnswered(answers={"city": "Quito"}))
    result = await play.result()
    assert (result.settlement.outcome, result.sends) == (Outcome.COMPLETED, 1)
    assert len(short_stage.provider.effects) == 1, "a fresh run repeats no step"


async def test_a_deadline_keeps_its_instant_across_fresh_runs(short_stage: Stage) -> None:
    play = await short_stage.play(plan(follow_ups=(FollowUp(after=timedelta(days=2), template=NUDGE),), silence="4d"))
    await play.rest()
    before = (await play.snapshot()).until
    for n in range(40):
        await play.tell(TextReceived(text="hello?"), key=f"msg:{n}")
        await play.rest()
    assert (await play.snapshot()).until == before
    await play.pass_time(timedelta(days=7))
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY
    assert len(short_stage.provider.effects) == 2


@pytest_asyncio.fixture(loop_scope="module")
async def unattended(skipper: TimeSkipper, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage on which nobody runs workflows unless the test does: what happens meanwhile comes in one task."""
    provider = ScriptedProvider(capabilities=PUSHED)
    async with open_stage(skipper, tmp_path, provider, engagements=False) as opened:
        yield opened


async def happened(play: Play, wanted: EventType.ValueType, times: int = 1) -> None:
    """Come back when the server has written so many events of this type."""
    async with asyncio.timeout(30):
        while True:
            history = await play.handle.fetch_history()
            if [event.event_type for event in history.events].count(wanted) >= times:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("answer_first", [True, False])
async def test_an_answer_in_the_same_task_as_the_deadline_wins_in_either_order(
    unattended: Stage, *, answer_first: bool
) -> None:
    async with unattended.workers.engagements():
        play = await unattended.play(plan(silence="2s"))
        await play.rest()
    if answer_first:
        await play.tell(FormAnswered(answers={"city": "Quito"}))
        await happened(play, EventType.EVENT_TYPE_TIMER_FIRED)
    else:
        await happened(play, EventType.EVENT_TYPE_TIMER_FIRED)
        await play.tell(FormAnswered(answers={"city": "Quito"}))
    async with unattended.workers.engagements():
        assert (await play.result()).settlement.outcome is Outcome.COMPLETED


async def test_a_deadline_alone_is_silence(unattended: Stage) -> None:
    async with unattended.workers.engagements():
        play = await unattended.play(plan(silence="1s"))
        assert (await play.result()).settlement.outcome is Outcome.NO_REPLY


async def test_an_answer_during_a_follow_ups_send_ends_it_and_nothing_more_is_sent(stage: Stage) -> None:
    nudges = (FollowUp(after=timedelta(days=1), template=NUDGE), FollowUp(after=timedelta(days=1), template=NUDGE))
    play = await stage.play(plan(follow_ups=nudges))
    await play.rest()
    reached, go_on = stage.provider.pause_message = asyncio.Event(), asyncio.Event()
    passing = asyncio.create_task(play.pass_time(timedelta(days=1, minutes=1)))
    await reached.wait()
    await play.finish_run(city="Utrecht")
    go_on.set()
    result = await play.result()
    await passing
    assert (result.settlement.outcome, result.sends) == (Outcome.COMPLETED, 2)
    assert len(stage.provider.effects) == 2, "the follow-up under way counts, the next one never leaves"


@pytest.mark.parametrize("cancel_first", [True, False])
async def test_a_cancel_in_the_same_task_as_the_sends_own_ending_is_not_swallowed(
    unattended: Stage, *, cancel_first: bool
) -> None:
    reached, go_on = unattended.provider.pause_before = asyncio.Event(), asyncio.Event()
    async with unattended.workers.engagements():
        play = await unattended.play()
        await reached.wait()
    if cancel_first:
        await play.handle.cancel(reason="somebody pressed the button")
    go_on.set()
    await happened(play, EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, 2)
    if not cancel_first:
        await play.handle.cancel(reason="somebody pressed the button")
    await happened(play, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
    async with unattended.workers.engagements():
        result = await play.result()
    assert (result.settlement.outcome, result.sends) == (Outcome.STOPPED, 1)


async def test_a_cancel_while_the_request_is_under_way_keeps_what_was_sent(stage: Stage) -> None:
    reached, go_on = stage.provider.pause_after = asyncio.Event(), asyncio.Event()
    play = await stage.play()
    await reached.wait()
    await play.handle.cancel(reason="somebody pressed the button")
    go_on.set()
    result = await play.result()
    assert (result.settlement.outcome, result.settlement.rule, result.sends) == (Outcome.STOPPED, "cancelled", 1)
