"""A candidate whom nothing reaches on the first line is tried once on the fallback line; nobody else ever is."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from domain import names
from domain.contacts import ContactChange, OptOut, OptOutScope
from domain.errors import OutcomeUnknown, ProviderRejected, Scope
from domain.events import (
    FlowRunChanged,
    FlowRunStatus,
    FormAnswered,
    MessageStatus,
    MessageStatusChanged,
    OptOutReceived,
    TextReceived,
)
from domain.ids import engagement_workflow_id
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import Plan
from domain.sends import TemplateStatus
from tests.workflow.scripted import PUSHED, THREADED
from tests.workflow.second_line import SecondLine, open_second_line
from tests.workflow.stage import NUDGE, TEMPLATE, Play, Stage, plan
from workflows import search_attributes as found_by

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FAILED = MessageStatusChanged(message_status=MessageStatus.FAILED, codes=("131026",))
NOT_THE_PERSONS = FAILED.model_copy(update={"recipient_fault": False})
OPENING = {"template": {"name": "retry_v1", "language": "nl", "variables": ("first_name",)}, "flow": {"id": "form-9"}}
LONG = pytest.mark.long
LAST_ENDS = [("close", Outcome.NO_REPLY), pytest.param("hand-over", Outcome.HANDED_OVER, marks=LONG)]
NOT_LOST = [
    pytest.param(None, marks=LONG),
    MessageStatus.SENT,
    MessageStatus.DELIVERED,
    pytest.param(MessageStatus.READ, marks=LONG),
]
LATER = {"on": "text", "after": "1d", "template": NUDGE}


@pytest_asyncio.fixture(loop_scope="module")
async def second(stage: Stage) -> AsyncIterator[SecondLine]:
    """The other line of the tenant."""
    async with open_second_line(stage) as line:
        yield line


def planned(second: SecondLine, *, then: str = "close", otherwise: str = "hand-over", **more: object) -> Plan:
    """Three days on the first line, two on the second."""
    over = {"line": second.name, "opening": OPENING, "silence": {"after": "2d", "then": then}}
    silence = {"after": "3d", "then": "fallback-line", "fallback": over, "otherwise": otherwise}
    return Plan.model_validate({**plan().model_dump(), "silence": silence, **more})


async def gone_over(second: SecondLine, its: Plan | None = None) -> Play:
    """An engagement whose opening failed, and that was opened on the second line."""
    play = await second.play(its or planned(second))
    await play.rest()
    await play.tell(FAILED, thread_id="thread-1")
    await play.rest()
    return play


async def rules(play: Play) -> list[str]:
    return [decision.rule for decision in (await play.snapshot()).decisions]


async def ended(play: Play) -> tuple[Outcome, str]:
    settlement = (await play.result()).settlement
    return settlement.outcome, settlement.rule


async def test_a_failed_message_is_tried_on_the_other_line_and_the_answer_there_ends_it(second: SecondLine) -> None:
    stage = second.stage
    play = await gone_over(second)
    assert [request.run_id for request in stage.provider.ended] == ["run-1"], "what ran on the first line was ended"
    (send,) = second.provider.effects
    assert (send.template.name, send.line, send.account, send.step) == (
        "retry_v1",
        second.name,
        second.name,
        "fallback-opening",
    )
    assert send.thread_id == "", "the first line's thread stays there"
    kept = await stage.stores.ledger.find(send.key)
    assert kept is not None
    assert (kept.account, kept.line) == (second.name, second.name)
    row = await stage.stores.registry.find(play.handle.id)
    assert row is not None
    assert (row.line, row.account, row.provider) == (second.name, second.name, "other")
    seen = (await play.handle.describe()).typed_search_attributes
    assert (seen.get(found_by.LINE), seen.get(found_by.PROVIDER)) == (second.name, "other")
    snapshot = await play.snapshot()
    assert (snapshot.line, snapshot.stage) == (second.name, "awaiting-answer")
    (over,) = [d for d in snapshot.decisions if d.rule == "fallback-line"]
    assert over.text == f"the message could not be delivered; the plan goes on on {second.name}"
    await play.tell(FormAnswered(answers={"city": "Utrecht"}), send_key=send.key)
    result = await play.result()
    assert (result.settlement.outcome, result.settlement.answers) == (Outcome.COMPLETED, {"city": "Utrecht"})
    assert len(stage.provider.effects) == 1


@pytest.mark.parametrize(("then", "outcome"), LAST_ENDS)
async def test_silence_on_the_other_line_ends_as_the_plan_says_of_that_line(
    second: SecondLine, then: str, outcome: Outcome
) -> None:
    play = await gone_over(second, planned(second, then=then, otherwise="close"))
    await play.pass_time(2 * DAY - HOUR)
    assert (await play.snapshot()).settlement is None
    await play.pass_time(2 * HOUR)
    assert await ended(play) == (outcome, "silence")


@pytest.mark.long
async def test_what_fails_on_the_other_line_too_makes_the_person_unreachable(second: SecondLine) -> None:
    play = await gone_over(second)
    await play.tell(FAILED, message_id="", send_key=(await play.snapshot()).sends[-1].key)
    assert await ended(play) == (Outcome.UNREACHABLE, "undeliverable")
    assert (len(second.stage.provider.effects), len(second.provider.effects)) == (1, 1)


@pytest.mark.parametrize("told", NOT_LOST)
async def test_silence_after_a_message_that_is_not_known_as_lost_ends_on_the_first_line(
    second: SecondLine, told: MessageStatus | None
) -> None:
    play = await second.play(planned(second))
    await play.rest()
    if told is not None:
        await play.tell(MessageStatusChanged(message_status=told), thread_id="thread-1")
    await play.pass_time(3 * DAY + HOUR)
    assert await ended(play) == (Outcome.HANDED_OVER, "silence")
    assert second.provider.requests == []


@pytest.mark.long
async def test_a_failure_that_is_not_the_persons_waits_for_the_silence_and_goes_over_then(second: SecondLine) -> None:
    play = await second.play(planned(second))
    await play.rest()
    await play.tell(NOT_THE_PERSONS, thread_id="thread-1")
    await play.pass_time(2 * DAY)
    assert second.provider.requests == []
    assert (await play.snapshot()).needs_human
    await play.pass_time(DAY + HOUR)
    assert len(second.provider.effects) == 1
    assert not (await play.snapshot()).needs_human


async def test_a_line_that_refuses_the_recipient_is_left_at_once(second: SecondLine) -> None:
    second.stage.provider.send_endings = [ProviderRejected("not on WhatsApp", scope=Scope.RECIPIENT, code="131026")]
    play = await second.play(planned(second))
    await play.rest()
    assert (len(second.stage.provider.effects), len(second.provider.effects)) == (0, 1)
    await play.pass_time(2 * DAY + HOUR)
    assert await ended(play) == (Outcome.NO_REPLY, "silence")


async def test_an_opening_that_its_line_kept_back_until_it_expired_is_tried_on_the_other(second: SecondLine) -> None:
    second.stage.provider.shut = {TEMPLATE.name: TemplateStatus.PENDING}
    play = await second.play(planned(second, step_expiry="1d"))
    await play.rest()
    gate = (await play.snapshot()).hold
    assert gate is not None
    await play.pass_time(DAY + HOUR)
    assert (len(second.stage.provider.effects), len(second.provider.effects)) == (0, 1)
    assert (await play.snapshot()).hold is None
    waiting = await second.stage.skipper.client.get_workflow_handle(gate.gate).query(names.SNAPSHOT)
    assert waiting["waiting"] == 0, "it waits no longer at the gate of the first line"


@pytest.mark.long
async def test_what_an_operator_kept_back_until_it_expired_is_not_tried_elsewhere(second: SecondLine) -> None:
    second.stage.provider.shut = {TEMPLATE.name: TemplateStatus.PENDING}
    play = await second.play(planned(second, step_expiry="1d"))
    await play.rest()
    await play.command(names.PAUSE)
    await play.pass_time(DAY + HOUR)
    assert await ended(play) == (Outcome.EXPIRED, "expired")
    assert second.provider.requests == []


@pytest.mark.parametrize("reads", [pytest.param(True, marks=LONG), False])
async def test_a_send_whose_outcome_stays_unknown_is_never_tried_elsewhere(second: SecondLine, *, reads: bool) -> None:
    provider = second.stage.provider
    provider.capabilities = THREADED.model_copy(update={"can_read_runs": reads})
    provider.send_endings, provider.find_endings = [OutcomeUnknown("the answer was lost")], []
    provider.extra_runs = []
    if reads:  # several runs fit, so nobody can say which is ours
        provider.on_send = lambda send, its: provider.find_endings.append(ProviderRejected("too many", code="400"))
    play = await second.play(planned(second, longest="9d"))
    await play.pass_time(8 * DAY)
    assert (await play.snapshot()).stage == "reconciling"
    await play.pass_time(2 * DAY)
    assert await ended(play) == (Outcome.EXPIRED, "outcome-unknown")
    assert second.provider.requests == []


async def test_a_follow_up_that_left_meanwhile_may_have_arrived_so_the_other_line_is_not_opened(
    second: SecondLine,
) -> None:
    stage = second.stage
    reached, go_on = stage.provider.pause_message = (asyncio.Event(), asyncio.Event())
    its = planned(second, follow_ups=({"after": timedelta(milliseconds=100), "template": NUDGE},))
    play = await second.play(its)
    await reached.wait()
    await play.tell(FAILED, send_key=(await play.snapshot()).sends[0].key)
    go_on.set()
    assert await ended(play) == (Outcome.UNREACHABLE, "undeliverable")
    assert len(stage.provider.effects) == 2
    assert second.provider.requests == []


@pytest.mark.long
async def test_a_run_that_turns_out_to_be_finished_when_it_is_to_be_ended_is_the_answer(second: SecondLine) -> None:
    play = await second.play(planned(second))
    await play.rest()
    second.stage.provider.become("run-1", FlowRunStatus.FINISHED, city="Utrecht")
    await play.tell(FAILED, thread_id="thread-1")
    settlement = (await play.result()).settlement
    assert (settlement.outcome, settlement.answers) == (Outcome.COMPLETED, {"city": "Utrecht"})
    assert second.provider.requests == []


@pytest.mark.parametrize("form", [True, pytest.param(False, marks=LONG)])
async def test_an_answer_that_still_comes_on_the_first_line_ends_it(second: SecondLine, *, form: bool) -> None:
    provider = second.stage.provider
    provider.capabilities = PUSHED if form else THREADED.model_copy(update={"can_cancel_runs": False})
    play = await second.play(planned(second))
    await play.rest()
    first = (await play.snapshot()).sends[0].key
    await play.tell(FAILED, send_key=first)
    await play.rest()
    assert len(second.provider.effects) == 1
    asked = provider.requests.count("read_flow_run")
    if form:
        await play.tell(FormAnswered(answers={"city": "Utrecht"}), send_key=first)
    else:
        await play.finish_run(city="Utrecht")
    settlement = (await play.result()).settlement
    assert (settlement.outcome, settlement.answers) == (Outcome.COMPLETED, {"city": "Utrecht"})
    assert (provider.requests.count("read_flow_run") - asked, "read_flow_run" in second.provider.requests) == (
        0 if form else 1,
        False,
    )


@pytest.mark.long
async def test_what_else_comes_late_from_the_first_line_decides_nothing(second: SecondLine) -> None:
    second.stage.provider.capabilities = THREADED.model_copy(update={"can_cancel_runs": False, "confirms_ends": False})
    play = await gone_over(second)
    for status in (FlowRunStatus.FAILED, FlowRunStatus.CANCELLED, FlowRunStatus.TIMED_OUT):
        await play.tell(FlowRunChanged(flow_run_status=status), run_id="run-1")
    await play.tell(MessageStatusChanged(message_status=MessageStatus.SENT), thread_id="thread-1")
    await play.pass_time(2 * DAY - HOUR)
    snapshot = await play.snapshot()
    assert (snapshot.settlement, snapshot.needs_human) == (None, False)
    assert snapshot.sends[1].message_status is None, "the first thread tells nothing of the second line"
    await play.tell(OptOutReceived(scope="line", text="STOP"))
    assert await ended(play) == (Outcome.OPTED_OUT, "opt-out-line")


@pytest.mark.parametrize(
    ("scope", "of_first", "outcome"),
    [
        (OptOutScope.LINE, True, None),
        pytest.param(OptOutScope.LINE, False, Outcome.OPTED_OUT, marks=LONG),
        (OptOutScope.TENANT, True, Outcome.OPTED_OUT),
    ],
)  # fmt: skip
async def test_an_opt_out_counts_for_the_line_that_it_goes_on_by(
    second: SecondLine, *, scope: OptOutScope, of_first: bool, outcome: Outcome | None
) -> None:
    play = await gone_over(second)
    line = second.stage.line if of_first else second.name
    value = "acme" if scope is OptOutScope.TENANT else line
    opt_out = OptOut(scope=scope, scope_value=value, source="cli", at=datetime.now(UTC))
    await play.handle.signal(names.CONTACT_CHANGED, ContactChange(key="opt-out:1", opt_out=opt_out, actor="olga"))
    await play.rest()
    settlement = (await play.snapshot()).settlement
    assert (settlement.outcome if settlement else None) is outcome


@pytest.mark.parametrize("of_first", [pytest.param(True, marks=LONG), False])
async def test_who_opted_out_of_the_other_line_is_not_written_to_there(second: SecondLine, *, of_first: bool) -> None:
    play = await second.play(planned(second))
    await play.rest()
    line = second.stage.line if of_first else second.name
    opt_out = OptOut(scope=OptOutScope.LINE, scope_value=line, source="cli", at=datetime.now(UTC))
    await second.stage.stores.contacts.opt_out(play.engagement.contact_id, opt_out)
    await play.tell(FAILED, thread_id="thread-1")
    await play.rest()
    assert len(second.provider.effects) == of_first
    settlement = (await play.snapshot()).settlement
    assert (settlement.outcome if settlement else None) is (None if of_first else Outcome.OPTED_OUT)


@pytest.mark.long
async def test_who_is_busy_on_the_other_line_is_unreachable_and_the_reason_says_both(second: SecondLine) -> None:
    second.provider.capabilities = THREADED
    stage, play = second.stage, await second.play(planned(second))
    await play.rest()
    other = await second.play(planned(second))
    await other.rest()
    assert await ended(other) == (Outcome.REFUSED, "already-busy"), "the first line has one live run per thread"
    stage.provider.capabilities = PUSHED
    third = await second.play(planned(second))
    await third.rest()
    await third.tell(FAILED, send_key=(await third.snapshot()).sends[0].key)
    await third.rest()
    await play.tell(FAILED, thread_id="thread-1")
    settlement = (await play.result()).settlement
    assert (settlement.outcome, settlement.rule) == (Outcome.UNREACHABLE, "undeliverable")
    assert settlement.reason == (
        f"the message could not be delivered; {second.name} was refused: "
        f"the contact has another open engagement on line {second.name}"
    )


async def test_a_stop_on_the_way_over_lets_nothing_leave_on_the_other_line(second: SecondLine) -> None:
    reached, go_on = second.provider.pause_at["read_template"] = (asyncio.Event(), asyncio.Event())
    play = await second.play(planned(second))
    await play.rest()
    await play.tell(FAILED, thread_id="thread-1")
    await reached.wait()
    await play.command(names.STOP)
    go_on.set()
    assert await ended(play) == (Outcome.STOPPED, "stop")
    assert second.provider.effects == []


async def test_a_pause_keeps_the_message_on_the_other_line_back_until_it_is_resumed(second: SecondLine) -> None:
    play = await second.play(planned(second))
    await play.rest()
    await play.command(names.PAUSE)
    await play.tell(FAILED, thread_id="thread-1")
    await play.pass_time(DAY)
    snapshot = await play.snapshot()
    assert (snapshot.stage, snapshot.line, second.provider.effects) == ("paused", second.name, [])
    await play.command(names.RESUME, "c-2")
    await play.rest()
    assert len(second.provider.effects) == 1


@pytest.mark.long
async def test_the_follow_ups_of_the_plan_are_of_the_first_line_alone(second: SecondLine) -> None:
    its = planned(second, follow_ups=({"after": "1d", "template": NUDGE}, LATER))
    play = await gone_over(second, its)
    await play.tell(TextReceived(text="hello?"))
    await play.pass_time(DAY + 2 * HOUR)
    snapshot = await play.snapshot()
    assert ([send.template for send in snapshot.sends], snapshot.follow_ups_left) == (["intake_v1", "retry_v1"], 0)


@pytest.mark.long
async def test_the_longest_duration_bounds_both_lines(second: SecondLine) -> None:
    its = planned(second, longest="6d")
    play = await second.play(its)
    await play.rest()
    await play.command(names.PAUSE)
    await play.pass_time(5 * DAY)
    await play.command(names.RESUME, "c-2")
    await play.tell(FAILED, thread_id="thread-1")
    await play.rest()
    assert len(second.provider.effects) == 1
    await play.pass_time(DAY + HOUR)
    assert await ended(play) == (Outcome.NO_REPLY, "silence")


@pytest.mark.long
async def test_a_plan_that_was_resolved_to_another_line_ends_as_without_one(second: SecondLine) -> None:
    its = planned(second)
    assert its.fallback is not None
    away = its.fallback.model_copy(update={"line": "elsewhere"})
    moved = its.model_copy(update={"silence": its.silence.model_copy(update={"fallback": away})})
    play = await gone_over(second, moved)
    assert await ended(play) == (Outcome.UNREACHABLE, "undeliverable")
    assert engagement_workflow_id("acme", play.engagement.reference) == play.handle.id
