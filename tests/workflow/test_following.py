"""Follow-ups that a signal starts, and what is looked at again at the moment when one leaves."""

from datetime import timedelta
from decimal import Decimal

import pytest

from domain.errors import ProviderUnavailable
from domain.events import FlowRunChanged, FlowRunStatus, MessageStatus, MessageStatusChanged, TextReceived
from domain.outcomes import EngagementOutcome as Outcome
from domain.sends import TemplateReading, TemplateStatus
from tests.workflow.stage import NUDGE, Play, Stage, plan

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NUDGED = {"name": "nudge_v1", "language": "nl", "id": "template-2", "category": "UTILITY"}
OPENING = {"name": "intake_v1", "language": "nl", "category": "MARKETING"}
OPENED = {"template": OPENING, "flow": {"id": "flow-1"}}


async def told(play: Play, status: MessageStatus) -> None:
    await play.tell(MessageStatusChanged(message_status=status), thread_id="thread-1")
    await play.rest()


async def rules(play: Play) -> list[str]:
    """What the decision log says was decided, in order."""
    return [decision.rule for decision in (await play.snapshot()).decisions]


async def test_a_signal_starts_a_follow_up_once_after_its_delay(stage: Stage) -> None:
    play = await stage.play(plan(follow_ups=({"on": "read", "after": "1d", "template": NUDGED},), silence="5d"))
    await play.rest()
    await play.pass_time(3 * DAY)
    assert len(stage.provider.effects) == 1, "nothing was read"
    await told(play, MessageStatus.READ)
    await play.pass_time(23 * HOUR)
    assert len(stage.provider.effects) == 1
    await play.pass_time(2 * HOUR)
    assert [send.template.name for send in stage.provider.effects] == ["intake_v1", NUDGE.name]
    await play.tell(MessageStatusChanged(message_status=MessageStatus.READ), message_id="message-2")
    await play.pass_time(6 * DAY)
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY
    assert len(stage.provider.effects) == 2, "a second reading starts nothing"


async def test_what_was_read_meanwhile_is_not_sent_again_and_the_log_says_why(stage: Stage) -> None:
    again = {"on": "delivered", "after": "1d", "when": "delivered-not-read", "template": NUDGED}
    play = await stage.play(plan(follow_ups=(again,), silence="3d"))
    await play.rest()
    await told(play, MessageStatus.DELIVERED)
    await told(play, MessageStatus.READ)
    await play.pass_time(2 * DAY)
    skipped = [d for d in (await play.snapshot()).decisions if d.rule == "when-delivered-not-read"]
    assert [d.text for d in skipped] == [
        "follow-up 1 skipped: our latest message is read; this one is for a message that was delivered and not read"
    ]
    assert len(stage.provider.effects) == 1
    await play.pass_time(3 * DAY)
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY


async def test_a_follow_up_that_waits_at_a_gate_is_looked_at_again_before_it_leaves(stage: Stage) -> None:
    play = await stage.play(
        plan(follow_ups=({"after": "1d", "when": "nothing-came", "template": NUDGED},), silence="9d")
    )
    await play.rest()
    stage.provider.shut = {NUDGE.name: TemplateStatus.PENDING}
    await play.pass_time(DAY + 10 * timedelta(minutes=1))
    assert (await play.snapshot()).stage == "held"
    await play.tell(TextReceived(text="I am thinking about it"))
    stage.provider.shut = {}
    await play.pass_time(HOUR)
    assert len(stage.provider.effects) == 1
    assert "when-nothing-came" in await rules(play)
    assert (await play.snapshot()).stage == "awaiting-answer"


async def test_a_follow_up_is_worth_sending_for_as_long_as_it_says_itself(stage: Stage) -> None:
    short = {"after": "1d", "expires": "2h", "template": NUDGED}
    play = await stage.play(plan(follow_ups=(short,), silence="9d", step_expiry="5d"))
    await play.rest()
    stage.provider.shut = {NUDGE.name: TemplateStatus.PENDING}
    await play.pass_time(DAY + HOUR)
    assert (await play.snapshot()).stage == "held"
    await play.pass_time(2 * HOUR)
    settlement = (await play.result()).settlement
    assert settlement.outcome is Outcome.EXPIRED
    assert timedelta(0) <= settlement.at - play.engagement.requested_at - DAY - 2 * HOUR < 10 * timedelta(minutes=1)
    assert len(stage.provider.effects) == 1


async def test_a_follow_up_that_rests_between_two_tries_is_looked_at_again_before_it_leaves(stage: Stage) -> None:
    play = await stage.play(
        plan(follow_ups=({"after": "1d", "when": "nothing-came", "template": NUDGED},), silence="9d")
    )
    await play.rest()
    stage.provider.send_endings = [ProviderUnavailable("down", retry_after=timedelta(hours=7))]
    await play.pass_time(DAY + HOUR)
    await play.tell(TextReceived(text="I am thinking about it"))
    await play.pass_time(DAY)
    assert len(stage.provider.effects) == 1
    assert "when-nothing-came" in await rules(play)


async def test_a_flow_that_began_and_was_not_finished_is_followed_up(stage: Stage) -> None:
    begun = {"on": "flow-started", "after": "4h", "when": "flow-started-not-finished", "template": NUDGED}
    play = await stage.play(plan(follow_ups=(begun,), silence="3d"))
    await play.rest()
    await play.tell(FlowRunChanged(flow_run_status=FlowRunStatus.RUNNING), run_id="run-1")
    await play.pass_time(5 * HOUR)
    assert len(stage.provider.effects) == 2
    await play.finish_run(city="Utrecht")
    assert (await play.result()).settlement.outcome is Outcome.COMPLETED


async def test_a_spent_budget_of_messages_lets_no_follow_up_leave_and_the_silence_still_passes(stage: Stage) -> None:
    ups = (
        {"on": "read", "template": NUDGED},
        {"after": "1d", "template": NUDGED},
    )
    play = await stage.play(plan(follow_ups=ups, silence="2d", budget={"messages": 2}))
    await play.rest()
    await told(play, MessageStatus.READ)
    await play.pass_time(DAY + HOUR)
    assert len(stage.provider.effects) == 2
    assert "budget-messages" in await rules(play)
    await play.pass_time(3 * DAY)
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY


@pytest.mark.parametrize(("country", "messages"), [("NL", 2), ("ES", 1), ("CO", 1)])
async def test_a_budget_in_money_is_spent_by_the_prices_of_the_country(
    stage: Stage, country: str, messages: int
) -> None:
    prices = (
        {"category": "MARKETING", "country": "NL", "price": "0.10"},
        {"category": "UTILITY", "country": "NL", "price": "0.05"},
        {"category": "MARKETING", "country": "ES", "price": "0.10"},
        {"category": "UTILITY", "country": "ES", "price": "0.06"},
    )
    budget = {"money": Decimal("0.15"), "currency": "EUR", "prices": prices}
    its = plan(opening=OPENED, follow_ups=({"after": "1d", "template": NUDGED},), silence="2d", budget=budget)
    play = await stage.play(its, country=country)
    await play.rest()
    await play.pass_time(2 * DAY)
    assert len(stage.provider.effects) == messages
    assert ("budget-money" in await rules(play)) is (messages == 1)


async def test_a_template_that_its_provider_moved_is_paid_for_by_its_new_category(stage: Stage) -> None:
    prices = ({"category": "MARKETING", "price": "0.12"}, {"category": "UTILITY", "price": "0.05"})
    budget = {"money": "0.15", "currency": "EUR", "prices": prices}
    opening = {"template": {**OPENING, "category": "UTILITY"}, "flow": {"id": "flow-1"}}
    its = plan(opening=opening, follow_ups=({"after": "1d", "template": NUDGED},), silence="2d", budget=budget)
    moved = TemplateReading(template_status=TemplateStatus.APPROVED, category="MARKETING")
    stage.provider.templates = [moved]
    play = await stage.play(its)
    await play.rest()
    await play.pass_time(2 * DAY)
    assert "budget-money" in await rules(play)
    assert len(stage.provider.effects) == 1


async def test_an_answer_that_is_followed_up_is_part_of_the_result_however_it_ends(stage: Stage) -> None:
    later = {"on": {"field": "when", "equals": "later"}, "after": "7d", "template": NUDGED, "flow": {"id": "flow-1"}}
    play = await stage.play(plan(follow_ups=(later,), silence="3d"))
    await play.rest()
    await play.finish_run(when="later", city="Utrecht")
    await play.rest()
    assert (await play.snapshot()).settlement is None
    await play.pass_time(7 * DAY + HOUR)
    await play.finish_run("run-2", when="now")
    settlement = (await play.result()).settlement
    assert (settlement.outcome, settlement.answers) == (Outcome.COMPLETED, {"when": "now", "city": "Utrecht"})


async def test_a_signal_too_late_for_its_follow_up_is_a_decision_and_changes_nothing(stage: Stage) -> None:
    slow = {"on": "text", "after": "5d", "template": NUDGED}
    play = await stage.play(plan(follow_ups=(slow,), silence="4d", longest="6d"))
    await play.rest()
    await play.pass_time(2 * DAY)
    await play.tell(TextReceived(text="hello?"))
    await play.rest()
    assert "too-late" in await rules(play)
    await play.pass_time(3 * DAY)
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY
    assert len(stage.provider.effects) == 1


async def test_a_start_that_only_the_provider_asked_tells_is_followed_up_before_silence_is_judged(stage: Stage) -> None:
    begun = {"on": "flow-started", "after": "4h", "when": "flow-started-not-finished", "template": NUDGED}
    play = await stage.play(plan(follow_ups=(begun,), silence="1d"))
    await play.rest()
    await play.pass_time(DAY + HOUR)
    assert (await play.snapshot()).settlement is None, "the provider, asked, says that the flow is under way"
    await play.pass_time(4 * HOUR)
    assert len(stage.provider.effects) == 2
    await play.pass_time(2 * DAY)
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY
