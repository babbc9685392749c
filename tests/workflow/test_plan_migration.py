"""Open engagements that go on by a new version of their plan: from where they stand, and by its deadlines."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from domain import names
from domain.calls import CommandResult, MigratePlan, NewPlan
from domain.events import TextReceived
from domain.migration import MigrationView
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import FollowUp, Opening, Plan, WhenBusy
from domain.sends import TemplateStatus
from domain.windows import SendWindow
from runtime.codec import AesGcmCodec
from runtime.dev_server import DevServer
from runtime.temporal import connect, data_converter, plugin
from tests.workflow.conftest import TEST_KEYS
from tests.workflow.scripted import PUSHED, ScriptedProvider
from tests.workflow.stage import FLOW, NUDGE, TEMPLATE, Play, Stage, open_stage, plan
from tests.workflow.test_races import CONTINUE_EARLY
from workflows import search_attributes

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY = timedelta(days=1)
MOMENT = timedelta(milliseconds=100)
OTHER = NUDGE.model_copy(update={"name": "nudge_v2", "id": "template-3"})
NEW_OPENING = Opening(template=TEMPLATE.model_copy(update={"name": "intake_v2", "id": "template-4"}), flow=FLOW)


def later(*ups: FollowUp, silence: str = "9d", **more: Any) -> Plan:
    """The stage's plan in a later version."""
    return plan(follow_ups=ups, silence=silence, version=2, **more)


def nudge(after: timedelta, template: object = NUDGE) -> FollowUp:
    return FollowUp.model_validate({"after": after, "template": template})


async def move(play: Play, its: Plan, command_id: str = "m-1", **more: int) -> CommandResult:
    return await play.command(names.MIGRATE_PLAN, command_id, model=MigratePlan, plan=its, **more)


async def refusal(play: Play, its: Plan, command_id: str = "m-1", **more: int) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await move(play, its, command_id, **more)
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == names.NOT_ALLOWED
    return refused.value.cause.message


async def asked(play: Play, its: Plan) -> MigrationView:
    view: MigrationView = await play.handle.query(names.MAY_MIGRATE, NewPlan(plan=its), result_type=MigrationView)
    return view


def left(stage: Stage) -> Sequence[tuple[str, str]]:
    return [(send.step, send.template.name) for send in stage.provider.effects]


async def test_moved_while_it_waits_the_new_follow_up_leaves_at_its_new_instant(stage: Stage) -> None:
    play = await stage.play(plan(follow_ups=(nudge(10 * DAY),), silence="9d"))
    await play.rest()
    before = (await play.snapshot()).until
    its = later(nudge(2 * DAY, OTHER), nudge(DAY))
    moved = await move(play, its)
    await play.rest()
    snapshot = await play.snapshot()
    assert before is not None
    assert (snapshot.plan_version, snapshot.until) == (2, before - 8 * DAY)
    described = await play.handle.describe()
    assert described.typed_search_attributes.get(search_attributes.NEXT_ACTION_AT) == snapshot.until
    (said,) = [decision for decision in snapshot.decisions if decision.rule == names.MIGRATE_PLAN]
    assert said.actor == "olga"
    assert said.text.startswith("plan intake v1 → v2: because; next: ")
    assert moved.text.startswith("plan intake v1 → v2; next: an answer, else follow-up 1 of 2 (")
    await play.pass_time(1.9 * DAY)
    assert len(left(stage)) == 1
    await play.pass_time(1.2 * DAY)
    assert left(stage) == [("opening", TEMPLATE.name), ("follow-up-1", OTHER.name), ("follow-up-2", NUDGE.name)]
    await play.pass_time(9 * DAY)
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY


async def test_refused_with_every_reason_nothing_changes(stage: Stage) -> None:
    play = await stage.play(plan(follow_ups=(nudge(DAY), nudge(2 * DAY)), silence="9d"))
    await play.rest()
    await play.pass_time(1.1 * DAY)
    before = await play.snapshot()
    its = later(nudge(DAY, OTHER), opening=NEW_OPENING)
    reasons = ("the opening has left, and is another", "follow-up 1 has left, and is another")
    told = await refusal(play, its)
    assert [reason in told for reason in reasons] == [True, True], told
    assert "it goes by version 1, not by 7" in await refusal(play, later(nudge(DAY)), "m-2", from_version=7)
    assert await play.snapshot() == before
    await play.pass_time(2 * DAY)
    assert len(left(stage)) == 3


async def test_what_it_would_mean_is_told_without_a_trace_in_history(stage: Stage) -> None:
    play = await stage.play(plan(follow_ups=(nudge(10 * DAY),), silence="9d"))
    await play.rest()
    events = (await play.handle.describe()).history_length
    view = await asked(play, later(nudge(2 * DAY)))
    assert view.after is not None
    assert view.after.at is not None
    assert (view.may_move, view.version, view.changes) == (True, 1, ("follow-up 1: after",))
    assert view.before.at == view.after.at + 8 * DAY
    assert (await asked(play, later(opening=NEW_OPENING))).may_move is False
    assert (await play.handle.describe()).history_length == events
    assert (await play.snapshot()).plan_version == 1


async def test_the_same_command_twice_moves_once_and_another_one_finds_it_moved(stage: Stage) -> None:
    play = await stage.play(plan(follow_ups=(nudge(10 * DAY),), silence="9d"))
    await play.rest()
    its = later(nudge(2 * DAY))
    assert await move(play, its) == await move(play, its)
    assert "it goes by version 2 already" in await refusal(play, its, "m-2")
    said = [decision.rule for decision in (await play.snapshot()).decisions]
    assert said.count(names.MIGRATE_PLAN) == 1


async def test_an_opening_that_is_held_stays_and_what_follows_it_may_change(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = TemplateStatus.PENDING
    play = await stage.play(plan(follow_ups=(nudge(10 * DAY),), silence="9d"))
    await play.rest()
    assert "the opening is on its way" in await refusal(play, later(opening=NEW_OPENING))
    await move(play, later(nudge(DAY, OTHER)))
    stage.provider.shut.clear()
    await play.pass_time(1.5 * DAY)
    assert left(stage) == [("opening", TEMPLATE.name), ("follow-up-1", OTHER.name)]


async def test_while_it_waits_for_the_person_to_be_free_even_the_opening_may_change(stage: Stage) -> None:
    other = await stage.play()
    await other.rest()
    play = await stage.play(plan().model_copy(update={"when_busy": WhenBusy.QUEUE}))
    await play.rest()
    await move(play, later(opening=NEW_OPENING, when_busy="queue", step_expiry="3d"))
    await play.rest()
    await other.command(names.STOP)
    await other.result()
    await play.pass_time(DAY)
    assert left(stage)[-1] == ("opening", "intake_v2")


async def test_a_follow_up_that_is_being_sent_leaves_once_as_it_is_and_the_plan_goes_on_behind_it(stage: Stage) -> None:
    play = await stage.play(plan(follow_ups=(nudge(DAY),), silence="9d"))
    await play.rest()
    reached, go_on = stage.provider.pause_message = asyncio.Event(), asyncio.Event()
    passing = asyncio.create_task(play.pass_time(1.1 * DAY))
    await reached.wait()
    assert "follow-up 1 is on its way, and is another" in await refusal(play, later(nudge(DAY, OTHER)))
    await move(play, later(nudge(5 * DAY), nudge(DAY, OTHER)))
    stage.provider.pause_message = None
    go_on.set()
    await passing
    await play.rest()
    await play.pass_time(1.1 * DAY)
    assert left(stage)[1:] == [("follow-up-1", NUDGE.name), ("follow-up-2", OTHER.name)]


async def test_what_waits_for_its_window_is_looked_at_again_by_the_new_one(stage: Stage) -> None:
    in_ten_hours = datetime.now(UTC) + timedelta(hours=10)
    hours = f"{in_ten_hours:%H}:00-{in_ten_hours:%H}:30"
    play = await stage.play(plan(send_window=SendWindow.model_validate({"hours": {"mon-sun": hours}, "zone": "UTC"})))
    await play.rest()
    assert ((await play.snapshot()).stage, left(stage)) == ("held", [])
    await move(play, later())
    await play.rest()
    assert left(stage) == [("opening", TEMPLATE.name)]


async def test_moved_while_the_provider_is_asked_silence_is_judged_by_the_new_plan(stage: Stage) -> None:
    reached, go_on = stage.provider.pause_at["read_flow_run"] = (asyncio.Event(), asyncio.Event())
    play = await stage.play(plan().model_copy(update={"silence": plan().silence.model_copy(update={"after": MOMENT})}))
    await reached.wait()
    await move(play, later(silence="3d"))
    go_on.set()
    await play.rest()
    assert (await play.snapshot()).settlement is None
    await play.pass_time(3.1 * DAY)
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY


async def test_moved_while_it_is_paused_nothing_leaves_before_it_is_resumed(stage: Stage) -> None:
    play = await stage.play(plan(follow_ups=(nudge(10 * DAY),), silence="9d"))
    await play.rest()
    await play.command(names.PAUSE, "p-1")
    await move(play, later(nudge(DAY, OTHER)))
    await play.rest()
    await play.pass_time(2 * DAY)
    assert len(left(stage)) == 1
    await play.command(names.RESUME, "r-1")
    await play.rest()
    await play.pass_time(1.1 * DAY)
    assert left(stage)[1:] == [("follow-up-1", OTHER.name)]


async def test_one_that_is_over_is_refused(stage: Stage) -> None:
    play = await stage.play()
    await play.rest()
    await play.command(names.STOP)
    await play.result()
    assert (await asked(play, later())).reasons == ("the engagement is over: STOPPED",)


@pytest_asyncio.fixture(loop_scope="module")
async def short_stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage on a server that asks for a fresh run after sixty events."""
    async with await DevServer.start(search_attributes=search_attributes.ALL, extra=CONTINUE_EARLY) as server:
        its_plugin = plugin(data_converter(AesGcmCodec(TEST_KEYS)), strict_imports=True)
        client = await connect(its_plugin, address=server.address)
        skipper = TimeSkipper(client, config=TimeSkippingConfig(enabled=False, max_session_skip_count=10_000))
        async with open_stage(skipper, tmp_path, ScriptedProvider(capabilities=PUSHED)) as opened:
            yield opened


async def test_a_fresh_run_goes_on_by_the_plan_that_it_was_moved_to(short_stage: Stage) -> None:
    play = await short_stage.play(plan(follow_ups=(nudge(10 * DAY),), silence="9d"))
    await play.rest()
    moved = await move(play, later(nudge(2 * DAY, OTHER)))
    for n in range(20):
        await play.tell(TextReceived(text="hello?"), key=f"msg:{n}")
        await play.rest()
    assert (await play.handle.describe()).run_id != play.handle.first_execution_run_id, "it went on in a fresh run"
    assert (await play.snapshot()).plan_version == 2
    assert await move(play, later(nudge(2 * DAY, OTHER))) == moved, "the fresh run knows the command"
    await play.pass_time(2.1 * DAY)
    assert left(short_stage)[1:] == [("follow-up-1", OTHER.name)]
    await play.handle.terminate("end of test")
