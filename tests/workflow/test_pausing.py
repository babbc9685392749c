"""An operator's pause: nothing leaves, whatever the engagement was doing; it is heard, and goes on as it would have."""

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from domain import names
from domain.calls import MarkAnswered
from domain.events import OptOutReceived
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import FollowUp
from domain.sends import TemplateStatus
from tests.workflow.moments import DAY, HOUR, MOMENTS, PLAN, heal, let_go
from tests.workflow.stage import FLOW, NUDGE, TEMPLATE, Play, Stage, plan
from workflows import search_attributes as found_by

pytestmark = pytest.mark.asyncio(loop_scope="module")
EACH = pytest.mark.parametrize("moment", MOMENTS)


def each(turn: int) -> pytest.MarkDecorator:
    """Every moment, of which every other one is short: two tests that take turns have each moment between them."""
    marks = {n: [] if n % 2 == turn else [pytest.mark.long] for n in range(len(MOMENTS))}
    return pytest.mark.parametrize("moment", [pytest.param(its, marks=marks[n]) for n, its in enumerate(MOMENTS)])


async def paused(stage: Stage, moment: str) -> tuple[Play, int]:
    """An engagement that was paused at a moment, three days later; and how many messages had left by then."""
    its = MOMENTS[moment]
    play = await its.reach(stage)
    await play.command(names.PAUSE, "pause-1")
    let_go(stage)
    await play.rest()
    left = len(stage.provider.effects)
    assert its.sent in (None, left)
    await play.pass_time(3 * DAY)
    assert len(stage.provider.effects) == left, "nothing leaves while it is paused"
    snapshot = await play.snapshot()
    assert snapshot.stage == "paused"
    assert snapshot.pause is not None
    assert (snapshot.pause.actor, snapshot.pause.reason) == ("olga", "because")
    return play, left


async def resumed(stage: Stage, moment: str) -> tuple[Play, int]:
    play, left = await paused(stage, moment)
    await heal(stage)
    await play.command(names.RESUME, "resume-1")
    await play.rest()
    await play.pass_time(4 * HOUR)
    return play, left


@each(0)
async def test_resumed_it_goes_on_and_the_answer_completes_it(stage: Stage, moment: str) -> None:
    play, left = await resumed(stage, moment)
    effects = stage.provider.effects
    assert effects, "the opening left in the end"
    assert len({send.key for send in effects}) == len(effects)
    assert len([send for send in effects if send.step == "opening"]) == 1
    assert len(effects) >= max(left, 1)
    await play.finish_run(city="Utrecht")
    assert (await play.result()).settlement.outcome is Outcome.COMPLETED


@each(1)
async def test_an_opt_out_ends_it_while_it_is_paused_and_nothing_leaves_after_it(stage: Stage, moment: str) -> None:
    play, left = await paused(stage, moment)
    await play.tell(OptOutReceived(scope="line", text="STOP"))
    assert (await play.result()).settlement.outcome is Outcome.OPTED_OUT
    await heal(stage)
    await play.rest()
    assert len(stage.provider.effects) == left


@pytest.mark.long
@EACH
async def test_resumed_it_follows_up_once_and_silence_ends_it(stage: Stage, moment: str) -> None:
    play, _ = await resumed(stage, moment)
    await play.pass_time(10 * DAY)
    result = await play.result()
    assert (result.settlement.outcome, result.sends) == (Outcome.NO_REPLY, 2)
    assert [send.step for send in stage.provider.effects] == ["opening", "follow-up-1"]


@pytest.mark.long
@EACH
async def test_stopped_while_it_is_paused_nothing_leaves_any_more(stage: Stage, moment: str) -> None:
    play, left = await paused(stage, moment)
    await play.command(names.STOP, "stop-1")
    assert (await play.result()).settlement.outcome is Outcome.STOPPED
    assert len(stage.provider.effects) == left


@pytest.mark.long
@EACH
async def test_never_resumed_it_ends_by_its_longest_duration_or_its_expiry(stage: Stage, moment: str) -> None:
    play, left = await paused(stage, moment)
    await play.pass_time(60 * DAY)
    settlement = (await play.result()).settlement
    assert settlement.outcome in (Outcome.NO_REPLY, Outcome.EXPIRED)
    assert len(stage.provider.effects) == left


async def test_deadlines_move_by_the_length_of_the_pause(stage: Stage) -> None:
    play = await stage.play(PLAN)
    await play.rest()
    due = (await play.snapshot()).until
    await play.pass_time(DAY)
    await play.command(names.PAUSE, "p-1")
    await play.rest()
    await play.pass_time(5 * DAY)
    await play.command(names.RESUME, "r-1")
    await play.rest()
    spent = [d.at for d in (await play.snapshot()).decisions if d.rule in (names.PAUSE, names.RESUME)]
    assert due is not None
    assert (await play.snapshot()).until == due + (spent[1] - spent[0])
    await play.pass_time(0.9 * DAY)
    assert len(stage.provider.effects) == 1
    await play.pass_time(0.2 * DAY)
    assert len(stage.provider.effects) == 2


async def test_the_longest_duration_does_not_move(stage: Stage) -> None:
    play = await stage.play(plan(follow_ups=(FollowUp(after=2 * DAY, template=NUDGE),), silence="3d", longest="6d"))
    await play.rest()
    await play.command(names.PAUSE, "p-1")
    await play.pass_time(5 * DAY)
    await play.command(names.RESUME, "r-1")
    await play.rest()
    await play.pass_time(1.1 * DAY)
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY
    assert len(stage.provider.effects) == 1, "the follow-up would be due only after the end"


async def test_a_steps_expiry_does_not_move(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = TemplateStatus.PENDING
    play = await stage.play(plan(step_expiry="2d"))
    await play.rest()
    await play.command(names.PAUSE, "p-1")
    await play.pass_time(3 * DAY)
    settlement = (await play.result()).settlement
    assert (settlement.outcome, "paused" in settlement.reason) == (Outcome.EXPIRED, True)


async def test_an_answer_completes_it_while_it_is_paused(stage: Stage) -> None:
    play, left = await paused(stage, "waiting")
    await play.finish_run(city="Quito")
    settlement = (await play.result()).settlement
    assert (settlement.outcome, settlement.answers) == (Outcome.COMPLETED, {"city": "Quito"})
    assert len(stage.provider.effects) == left


async def test_paused_before_a_new_flow_replaces_the_old_one_the_old_one_can_still_be_answered(stage: Stage) -> None:
    reached, go_on = stage.provider.pause_at["read_flow_run"] = (asyncio.Event(), asyncio.Event())
    again = FollowUp(after=timedelta(milliseconds=100), template=TEMPLATE, flow=FLOW)
    play = await stage.play(plan(follow_ups=(again,)))
    await reached.wait()
    await play.command(names.PAUSE, "p-1")
    go_on.set()
    await play.rest()
    assert stage.provider.ended == []
    await play.finish_run(city="Quito")
    assert (await play.result()).settlement.outcome is Outcome.COMPLETED


async def test_who_waits_at_a_gate_leaves_it_so_that_others_are_not_held_up(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = TemplateStatus.PENDING
    play = await stage.play(PLAN)
    await play.rest()
    gate = await play.gate_handle()
    await play.command(names.PAUSE, "p-1")
    assert (await gate.result())["left"] == 1
    await play.rest()
    assert (await play.snapshot()).hold is None


async def test_it_can_be_found_while_it_is_paused_and_not_after(stage: Stage) -> None:
    play = await stage.play(PLAN)
    await play.rest()
    for name, stands in ((names.PAUSE, "paused"), (names.RESUME, "awaiting-answer")):
        await play.command(name, f"{name}-1")
        await play.rest()
        assert (await play.handle.describe()).typed_search_attributes.get(found_by.STAGE) == stands


async def refusal(play: Play, name: str, command_id: str) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await play.command(name, command_id)
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == names.NOT_ALLOWED
    return refused.value.cause.message


async def test_commands_that_do_not_fit_are_refused_with_the_reason(stage: Stage) -> None:
    play = await stage.play(PLAN)
    await play.rest()
    assert "not paused" in await refusal(play, names.RESUME, "r-0")
    await play.command(names.PAUSE, "p-1")
    assert "paused already, by olga: because" in await refusal(play, names.PAUSE, "p-2")
    await play.command(names.STOP, "s-1")
    await play.result()


async def test_a_repeated_command_is_answered_as_before_and_pauses_nothing_again(stage: Stage) -> None:
    play = await stage.play(PLAN)
    await play.rest()
    first = await play.command(names.PAUSE, "p-1")
    await play.command(names.RESUME, "r-1")
    assert await play.command(names.PAUSE, "p-1") == first
    await play.rest()
    assert (await play.snapshot()).pause is None


async def test_a_pause_and_its_end_together_leave_it_going_on(stage: Stage) -> None:
    play = await stage.play(PLAN)
    await play.rest()
    await asyncio.gather(play.command(names.PAUSE, "p-1"), _soon(play))
    await play.rest()
    assert (await play.snapshot()).stage == "awaiting-answer"


async def _soon(play: Play) -> None:
    for attempt in range(100):
        try:
            await play.command(names.RESUME, f"r-{attempt}")
        except WorkflowUpdateFailedError:
            continue
        return
    raise AssertionError("never resumed")


async def test_what_a_person_says_was_answered_completes_it_and_the_providers_flow_ends(stage: Stage) -> None:
    play = await stage.play(PLAN)
    await play.rest()
    told = {"city": "Cali"}
    await play.command(names.MARK_ANSWERED, "m-1", model=MarkAnswered, answers=told, text="by telephone")
    settlement = (await play.result()).settlement
    assert (settlement.outcome, settlement.rule) == (Outcome.COMPLETED, "mark-answered")
    assert (settlement.answers, settlement.text, settlement.reason) == (told, "by telephone", "because")
    assert [ended.run_id for ended in stage.provider.ended] == ["run-1"], "its bot does not go on with the candidate"
    decisions = (await play.snapshot()).decisions
    assert [d.actor for d in decisions if d.rule == "mark-answered"] == ["olga"]


async def test_what_a_person_says_was_answered_counts_before_anything_was_sent(stage: Stage) -> None:
    play, left = await paused(stage, "template-pending")
    await play.command(names.MARK_ANSWERED, "m-1", model=MarkAnswered, text="came to the office")
    result = await play.result()
    assert (result.settlement.outcome, result.sends, left) == (Outcome.COMPLETED, 0, 0)
