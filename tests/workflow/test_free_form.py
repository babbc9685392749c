"""In the candidate's 24 hours a message leaves in the plan's own words, outside them as template; never as both."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.contacts import OptOut, OptOutScope
from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, Scope
from domain.events import MessageStatus, MessageStatusChanged, TextReceived
from domain.free_form import FreeForm, MessageForm
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import Condition, FollowUp, Opening, Plan
from domain.sends import LedgerState, TemplateStatus
from tests.workflow.scripted import PUSHED
from tests.workflow.stage import FLOW, NUDGE, TEMPLATE, Play, Stage, plan

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CLOSED = ProviderRejected("the 24-hour window is closed: use a template", code="131047")
NUDGED = FollowUp(after=2 * HOUR, template=NUDGE, free_form=FreeForm(text="Still there, {{first_name}}?"))
OFFERED = FollowUp(
    after=2 * HOUR, template=NUDGE, flow=FLOW, free_form=FreeForm(text="The form is still open", button="Open form")
)


@pytest.fixture(autouse=True)
def pushed(stage: Stage) -> None:
    """The provider of these tests takes messages without a template, and cannot be asked how a run stands."""
    stage.provider.capabilities = PUSHED.model_copy(update={"free_form_window": True, "free_form_flows": True})


def nudged(follow_up: FollowUp = NUDGED) -> Plan:
    return plan(follow_ups=(follow_up,), silence="3d")


async def opened(stage: Stage, its: Plan | None = None) -> Play:
    play = await stage.play(its or nudged())
    await play.rest()
    return play


async def writes(play: Play, ago: timedelta = timedelta(0)) -> None:
    """The candidate writes, and the inbox keeps when."""
    at = datetime.now(UTC) - ago
    await play.stage.stores.contacts.record_inbound(play.engagement.contact_id, play.stage.line, at)


async def forms(play: Play) -> list[tuple[str, int, MessageForm | None, LedgerState]]:
    return [(send.step, send.n, send.form, send.send_state) for send in (await play.snapshot()).sends]


async def logged(play: Play, rule: str) -> list[str]:
    return [decision.text for decision in (await play.snapshot()).decisions if decision.rule == rule]


async def fails(play: Play, send: int = -1, *, window_closed: bool = True) -> None:
    """The provider tells that a message was not delivered."""
    its = (await play.snapshot()).sends[send]
    body = MessageStatusChanged(
        message_status=MessageStatus.FAILED, codes=("131047",), recipient_fault=False, window_closed=window_closed
    )
    await play.tell(body, send_key=its.key, reference=its.reference)
    await play.rest()


def free(stage: Stage) -> list[bool]:
    """Of each request for a message: was it without a template?"""
    sends = ("trigger_flow", "send_message", "send_free_form")
    return [request == "send_free_form" for request in stage.provider.requests if request in sends]


@pytest.mark.parametrize("follow_up", [NUDGED, OFFERED], ids=["text", "flow"])
async def test_inside_the_window_the_plans_own_words_leave_and_the_log_says_why(
    stage: Stage, follow_up: FollowUp
) -> None:
    play = await opened(stage, nudged(follow_up))
    await writes(play)
    await play.pass_time(2.5 * HOUR)
    assert free(stage) == [False, True]
    message = stage.provider.effects[1].free_form
    assert message is not None
    assert "{{" not in message.text
    assert await forms(play) == [
        ("opening", 1, None, LedgerState.SENT),
        ("follow-up-1", 1, MessageForm.FREE_FORM, LedgerState.SENT),
    ]
    said = (await logged(play, "sent"))[1]
    assert said == "follow-up-1 #1: free text was taken by the provider; the candidate wrote 2 hours ago"


@pytest.mark.parametrize("wrote", [True, False])
async def test_outside_it_the_template_leaves_and_the_log_says_why(stage: Stage, *, wrote: bool) -> None:
    play = await opened(stage)
    if wrote:
        await writes(play, ago=22 * HOUR)
    await play.pass_time(2.5 * HOUR)
    assert free(stage) == [False, False]
    assert (await forms(play))[1] == ("follow-up-1", 1, MessageForm.TEMPLATE, LedgerState.SENT)
    said = (await logged(play, "sent"))[1]
    why = "wrote 1 day ago" if wrote else "has not written to this line"
    assert said.endswith(f"{NUDGE.name} was taken by the provider; the 24-hour window is closed, the candidate {why}")


async def test_an_opening_may_leave_in_the_plans_own_words_too(stage: Stage) -> None:
    words = FreeForm(text="Hi {{first_name}}, thanks for writing", button="Start")
    its = plan(opening=Opening(template=TEMPLATE, flow=FLOW, free_form=words))
    first = await stage.play(its)
    await first.rest()
    await writes(first)
    second = await stage.play(its)
    await second.rest()
    assert free(stage) == [False, True]
    message = stage.provider.effects[1].free_form
    assert message is not None
    assert (message.text, message.button) == ("Hi Ada, thanks for writing", "Start")


async def test_when_the_provider_finds_the_window_closed_at_once_the_template_leaves_under_a_new_key(
    stage: Stage,
) -> None:
    play = await opened(stage)
    await writes(play)
    stage.provider.send_endings = [CLOSED]
    await play.pass_time(2.5 * HOUR)
    assert free(stage) == [False, True, False]
    assert len(stage.provider.effects) == 2, "the opening, and one message of the follow-up"
    assert (await forms(play))[1:] == [
        ("follow-up-1", 1, None, LedgerState.REJECTED),
        ("follow-up-1", 2, None, LedgerState.SENT),
    ]
    assert stage.provider.effects[1].free_form is None
    assert await logged(play, "template-follows") == ["follow-up-1: free text was not taken; its template leaves"]
    await play.pass_time(4 * DAY)
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY
    assert len(stage.provider.effects) == 2


async def test_when_it_is_told_later_that_the_window_was_closed_the_template_leaves_once(stage: Stage) -> None:
    play = await opened(stage, nudged(OFFERED))
    await writes(play)
    await play.pass_time(2.5 * HOUR)
    await fails(play)
    await fails(play, 1)  # told twice, as webhooks are
    assert free(stage) == [False, True, False]
    assert (await forms(play))[1:] == [
        ("follow-up-1", 1, MessageForm.FREE_FORM, LedgerState.REJECTED),
        ("follow-up-1", 2, None, LedgerState.SENT),
    ]
    snapshot = await play.snapshot()
    assert (snapshot.needs_human, snapshot.follow_ups_left, snapshot.settlement) == (False, 0, None)
    await play.pass_time(4 * DAY)
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY
    assert free(stage) == [False, True, False]


async def test_the_opening_follows_as_template_too_when_its_words_did_not_arrive(stage: Stage) -> None:
    words = FreeForm(text="Hi {{first_name}}", button="Start")
    its = plan(opening=Opening(template=TEMPLATE, flow=FLOW, free_form=words))
    await writes(await opened(stage, its))
    play = await opened(stage, its)
    await fails(play)
    assert free(stage) == [False, True, False]
    assert [send[:2] for send in await forms(play)] == [("opening", 1), ("opening", 2)]


async def test_a_failure_that_is_not_the_windows_is_not_repeated(stage: Stage) -> None:
    play = await opened(stage)
    await writes(play)
    await play.pass_time(2.5 * HOUR)
    await fails(play, window_closed=False)
    assert free(stage) == [False, True]
    assert (await play.snapshot()).needs_human


async def test_a_failure_that_is_told_before_the_answer_to_the_send_is_not_lost(stage: Stage) -> None:
    play = await opened(stage)
    await writes(play)
    stage.provider.send_endings = [OutcomeUnknown("the answer was lost")]
    stage.provider.lost_without_effect = True
    await play.pass_time(2 * HOUR + timedelta(seconds=5))
    sends = (await play.snapshot()).sends
    assert sends[1].send_state is LedgerState.UNKNOWN
    entry = await stage.stores.ledger.find(sends[1].key)
    assert entry is not None
    body = MessageStatusChanged(message_status=MessageStatus.FAILED, recipient_fault=False, window_closed=True)
    await play.tell(body, send_key=entry.key, reference=entry.reference, message_id="message-9")
    await play.rest()
    assert free(stage) == [False, True, False]
    assert len(stage.provider.effects) == 2


async def test_a_lost_answer_is_never_followed_by_the_template_of_itself(stage: Stage) -> None:
    play = await opened(stage)
    await writes(play)
    stage.provider.send_endings = [OutcomeUnknown("the answer was lost")]
    await play.pass_time(DAY)
    assert free(stage) == [False, True]
    assert len(stage.provider.effects) == 2
    assert (await play.snapshot()).needs_human


async def test_what_a_provider_says_of_the_person_ends_it_in_either_form(stage: Stage) -> None:
    play = await opened(stage)
    await writes(play)
    stage.provider.send_endings = [ProviderRejected("undeliverable", scope=Scope.RECIPIENT, code="131026")]
    await play.pass_time(2.5 * HOUR)
    assert (await play.result()).settlement.outcome is Outcome.UNREACHABLE
    assert free(stage) == [False, True]


async def test_what_is_tried_again_the_next_day_leaves_as_template(stage: Stage) -> None:
    play = await opened(stage)
    await writes(play)
    stage.provider.send_endings = [ProviderUnavailable("limited", retry_after=30 * HOUR, scope=Scope.LINE)]
    await play.pass_time(34 * HOUR)
    assert free(stage) == [False, True, False]
    assert (await forms(play))[1][1:] == (1, MessageForm.TEMPLATE, LedgerState.SENT)


async def test_it_waits_for_its_template_as_ever_because_nobody_knows_before_which_will_leave(stage: Stage) -> None:
    play = await opened(stage)
    await writes(play)
    stage.provider.shut[NUDGE.name] = TemplateStatus.PENDING
    await play.pass_time(3 * HOUR)
    assert free(stage) == [False]
    hold = (await play.snapshot()).hold
    assert hold is not None
    assert hold.rule == "template-not-approved"


async def test_an_opt_out_stops_it_in_either_form(stage: Stage) -> None:
    play = await opened(stage)
    await writes(play)
    out = OptOut(scope=OptOutScope.LINE, scope_value=stage.line, source="stop-word", at=datetime.now(UTC))
    await stage.stores.contacts.opt_out(play.engagement.contact_id, out)
    await play.pass_time(2.5 * HOUR)
    assert (await play.result()).settlement.outcome is Outcome.OPTED_OUT
    assert free(stage) == [False]


async def test_the_condition_is_looked_at_again_before_the_template_follows(stage: Stage) -> None:
    play = await opened(stage, nudged(NUDGED.model_copy(update={"when": Condition.NOTHING_CAME})))
    await writes(play)
    await play.pass_time(2.5 * HOUR)
    await play.tell(TextReceived(text="sorry, busy"))
    await fails(play)
    assert free(stage) == [False, True]
    assert (await logged(play, "when-nothing-came"))[0].startswith("follow-up-1 skipped before it left")


def two_of_three_paid() -> Plan:
    """A budget for two messages that cost something, and three messages."""
    prices = ({"category": "UTILITY", "price": "0.05"},)
    priced = NUDGE.model_copy(update={"category": "UTILITY"})
    opening = Opening(template=TEMPLATE.model_copy(update={"category": "UTILITY"}), flow=FLOW)
    ups = tuple(NUDGED.model_copy(update={"template": priced}) for _ in range(2))
    budget = {"money": "0.11", "currency": "EUR", "prices": prices}
    return plan(opening=opening, follow_ups=ups, budget=budget)


async def test_a_message_that_failed_leaves_its_place_in_the_budget_to_the_next(stage: Stage) -> None:
    play = await stage.play(two_of_three_paid())
    await play.rest()
    await fails(play, window_closed=False)
    await play.pass_time(5 * HOUR)
    assert free(stage) == [False, False, False]


async def test_only_what_arrived_counts_into_the_budget(stage: Stage) -> None:
    play = await stage.play(two_of_three_paid())
    await play.rest()
    await writes(play)
    await play.pass_time(5 * HOUR)
    assert free(stage) == [False, True, True], "without a template they cost nothing"
