"""Every end that an engagement can come to, on a real server with a real store; weeks pass in seconds."""

from datetime import timedelta

import pytest

from domain import names
from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, Scope
from domain.events import (
    FlowRunChanged,
    FlowRunStatus,
    MessageStatus,
    MessageStatusChanged,
    OptOutReceived,
    TextReceived,
)
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import FollowUp, UnexpectedText
from domain.sends import TemplateStatus
from tests.workflow.scripted import ScriptedProvider
from tests.workflow.stage import FLOW, NUDGE, TEMPLATE, Stage, plan

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY = timedelta(days=1)
DECLINED_WHEN = ({"field": "available", "equals": "no"},)


async def test_an_answer_completes_the_engagement_and_the_ats_hears_it(stage: Stage) -> None:
    play = await stage.play()
    await play.rest()
    await play.finish_run(available="yes", city="Utrecht")
    result = await play.result()
    assert result.settlement.outcome is Outcome.COMPLETED
    assert result.settlement.answers == {"available": "yes", "city": "Utrecht"}
    assert [n.result.settlement.outcome for n in stage.ats.notices if n.result] == [Outcome.COMPLETED]
    assert len(stage.provider.effects) == 1


async def test_an_answer_that_says_no_by_the_plan_declines(stage: Stage) -> None:
    play = await stage.play(plan(declined_when=DECLINED_WHEN))
    await play.rest()
    await play.finish_run(available="No")
    assert (await play.result()).settlement.outcome is Outcome.DECLINED


async def test_ten_days_of_silence_end_as_no_reply_only_after_the_provider_was_asked(stage: Stage) -> None:
    play = await stage.play(plan(silence="10d"))
    await play.rest()
    await play.pass_time(9 * DAY)
    assert "read_flow_run" not in stage.provider.requests
    assert (await play.snapshot()).stage == "awaiting-answer"
    await play.pass_time(2 * DAY)
    settlement = (await play.result()).settlement
    assert settlement.outcome is Outcome.NO_REPLY
    assert stage.provider.requests.count("read_flow_run") == 1
    assert [e.run_id for e in stage.provider.ended] == ["run-1"], "the provider's own flow must not go on"


async def test_an_answer_whose_webhook_was_lost_is_found_before_silence_is_declared(stage: Stage) -> None:
    play = await stage.play(plan(silence="2d"))
    await play.rest()
    stage.provider.become("run-1", FlowRunStatus.FINISHED, city="Utrecht")
    await play.pass_time(3 * DAY)
    settlement = (await play.result()).settlement
    assert (settlement.outcome, settlement.answers) == (Outcome.COMPLETED, {"city": "Utrecht"})


async def test_silence_hands_over_where_the_plan_says_so(stage: Stage) -> None:
    play = await stage.play(plan(silence="2d", then="hand-over"))
    await play.rest()
    await play.pass_time(3 * DAY)
    assert (await play.result()).settlement.outcome is Outcome.HANDED_OVER


async def test_a_follow_up_goes_out_after_silence_and_its_answer_counts(stage: Stage) -> None:
    play = await stage.play(plan(follow_ups=(FollowUp(after=2 * DAY, template=NUDGE),), silence="4d"))
    await play.rest()
    await play.pass_time(2.5 * DAY)
    assert [s.template.name for s in stage.provider.effects] == [TEMPLATE.name, NUDGE.name]
    await play.finish_run(city="Utrecht")
    result = await play.result()
    assert (result.settlement.outcome, result.sends) == (Outcome.COMPLETED, 2)


async def test_a_follow_up_with_a_flow_first_ends_the_run_that_is_still_live(stage: Stage) -> None:
    play = await stage.play(plan(follow_ups=(FollowUp(after=2 * DAY, template=TEMPLATE, flow=FLOW),), silence="4d"))
    await play.rest()
    await play.pass_time(2.5 * DAY)
    assert [e.run_id for e in stage.provider.ended] == ["run-1"]
    await play.tell(FlowRunChanged(flow_run_status=FlowRunStatus.CANCELLED), run_id="run-1")
    await play.rest()
    assert (await play.snapshot()).settlement is None, "what we cancelled ourselves is nobody's decision"
    await play.finish_run("run-2", city="Utrecht")
    assert (await play.result()).settlement.outcome is Outcome.COMPLETED


async def test_nobody_is_followed_up_whose_flow_finished_unheard(stage: Stage) -> None:
    play = await stage.play(plan(follow_ups=(FollowUp(after=2 * DAY, template=NUDGE),), silence="4d"))
    await play.rest()
    stage.provider.become("run-1", FlowRunStatus.FINISHED, city="Utrecht")
    await play.pass_time(3 * DAY)
    assert (await play.result()).settlement.outcome is Outcome.COMPLETED
    assert len(stage.provider.effects) == 1


async def test_a_flow_that_timed_out_at_the_provider_ends_the_last_wait(stage: Stage) -> None:
    play = await stage.play(plan(silence="30d"))
    await play.rest()
    stage.provider.become("run-1", FlowRunStatus.TIMED_OUT)
    await play.tell(FlowRunChanged(flow_run_status=FlowRunStatus.TIMED_OUT), run_id="run-1")
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY


@pytest.mark.parametrize("run_first", [True, False])
async def test_an_undeliverable_message_means_unreachable_in_either_order(stage: Stage, *, run_first: bool) -> None:
    play = await stage.play()
    await play.rest()
    stage.provider.become("run-1", FlowRunStatus.FAILED)
    failed_run = FlowRunChanged(flow_run_status=FlowRunStatus.FAILED)
    failed_message = MessageStatusChanged(message_status=MessageStatus.FAILED, codes=("131026",))
    if run_first:
        await play.tell(failed_run, run_id="run-1")
        await play.rest()
        await play.tell(failed_message, thread_id="thread-1")
    else:
        await play.tell(failed_message, thread_id="thread-1")
    assert (await play.result()).settlement.outcome is Outcome.UNREACHABLE


async def test_a_failed_flow_that_nothing_explains_goes_to_a_person(stage: Stage) -> None:
    play = await stage.play()
    await play.rest()
    stage.provider.become("run-1", FlowRunStatus.FAILED)
    await play.tell(FlowRunChanged(flow_run_status=FlowRunStatus.FAILED), run_id="run-1")
    await play.pass_time(timedelta(minutes=1))
    assert (await play.result()).settlement.rule == "flow-failed"


async def test_a_stop_word_opts_out_and_silences_the_providers_bot(stage: Stage) -> None:
    play = await stage.play()
    await play.rest()
    await play.tell(OptOutReceived(scope="line", text="STOP"))
    assert (await play.result()).settlement.outcome is Outcome.OPTED_OUT
    assert [(e.run_id, e.pause_thread) for e in stage.provider.ended] == [("run-1", True)]


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [(UnexpectedText.ANSWER, Outcome.COMPLETED), (UnexpectedText.HAND_OVER, Outcome.HANDED_OVER)],
)
async def test_a_free_text_means_what_the_plan_says(stage: Stage, rule: UnexpectedText, outcome: Outcome) -> None:
    play = await stage.play(plan(unexpected_text=rule))
    await play.rest()
    await play.tell(TextReceived(text="Can I call you?"))
    settlement = (await play.result()).settlement
    assert (settlement.outcome, settlement.text) == (outcome, "Can I call you?")


async def test_a_free_text_does_not_end_the_wait_by_default(stage: Stage) -> None:
    play = await stage.play()
    await play.rest()
    await play.tell(TextReceived(text="Can I call you?"))
    await play.rest()
    assert (await play.snapshot()).settlement is None


@pytest.mark.parametrize(
    ("scope", "suppress", "outcome"),
    [
        (Scope.MESSAGE, False, Outcome.MISCONFIGURED),
        (Scope.RECIPIENT, False, Outcome.UNREACHABLE),
        (Scope.RECIPIENT, True, Outcome.OPTED_OUT),
    ],
)
async def test_a_refusal_of_this_message_or_person_ends_the_engagement(
    stage: Stage, *, scope: Scope, suppress: bool, outcome: Outcome
) -> None:
    stage.provider.send_endings = [ProviderRejected("no", scope=scope, code="x", suppress=suppress)]
    play = await stage.play()
    assert (await play.result()).settlement.outcome is outcome
    assert stage.provider.effects == []


async def test_a_template_that_is_rejected_ends_the_engagement_without_a_send(stage: Stage) -> None:
    stage.provider.templates = [TemplateStatus.REJECTED]
    play = await stage.play()
    assert (await play.result()).settlement.outcome is Outcome.TEMPLATE_REJECTED
    assert stage.provider.effects == []


async def test_a_template_under_review_holds_until_it_is_approved(stage: Stage) -> None:
    stage.provider.templates = [TemplateStatus.PENDING] * 3
    play = await stage.play()
    await play.rest()
    snapshot = await play.snapshot()
    assert (snapshot.stage, snapshot.hold and snapshot.hold.rule) == ("held", "template-not-approved")
    assert stage.provider.effects == []
    await play.pass_time(timedelta(minutes=20))
    assert len(stage.provider.effects) == 1
    assert (await play.snapshot()).hold is None


async def test_a_hold_past_the_steps_expiry_ends_expired_without_a_send(stage: Stage) -> None:
    stage.provider.templates = [TemplateStatus.PENDING] * 1000
    play = await stage.play(plan(step_expiry="2h"))
    await play.rest()
    await play.pass_time(timedelta(hours=3))
    assert (await play.result()).settlement.outcome is Outcome.EXPIRED
    assert stage.provider.effects == []


async def test_no_consent_means_refused(stage: Stage) -> None:
    play = await stage.play(consent=False)
    settlement = (await play.result()).settlement
    assert (settlement.outcome, settlement.rule) == (Outcome.REFUSED, "no-consent")
    assert stage.provider.requests == []


async def test_a_person_who_is_busy_on_the_line_is_not_asked_twice(stage: Stage) -> None:
    first = await stage.play()
    await first.rest()
    second = await stage.play()
    settlement = (await second.result()).settlement
    assert (settlement.outcome, settlement.rule) == (Outcome.REFUSED, "already-busy")
    await first.finish_run(city="Utrecht")
    await first.result()
    third = await stage.play()
    await third.rest()
    assert (await third.snapshot()).stage == "awaiting-answer", "the close released the person"


@pytest.mark.parametrize(("name", "outcome"), [(names.STOP, Outcome.STOPPED), (names.HAND_OVER, Outcome.HANDED_OVER)])
async def test_an_operator_ends_it_with_actor_and_reason_in_the_log(stage: Stage, name: str, outcome: Outcome) -> None:
    play = await stage.play()
    await play.rest()
    first = await play.command(name)
    settlement = (await play.result()).settlement
    assert (settlement.outcome, settlement.reason) == (outcome, "because")
    assert first.accepted
    archived = await stage.stores.registry.archive_of("acme", play.engagement.reference)
    assert archived is not None
    assert "olga" in archived


async def test_a_cancel_in_temporal_is_a_stop_that_releases_the_person(stage: Stage) -> None:
    play = await stage.play()
    await play.rest()
    await play.handle.cancel()
    assert (await play.result()).settlement.outcome is Outcome.STOPPED
    row = await stage.stores.registry.get("acme", play.engagement.reference)
    assert row is not None
    assert row.outcome is Outcome.STOPPED


async def test_an_ats_that_does_not_answer_does_not_hold_the_outcome_up(stage: Stage) -> None:
    stage.ats.endings = [ProviderUnavailable("down")] * 3
    play = await stage.play()
    await play.rest()
    await play.finish_run(city="Utrecht")
    await play.rest()
    row = await stage.stores.registry.get("acme", play.engagement.reference)
    assert row is not None
    assert row.outcome is Outcome.COMPLETED
    await play.pass_time(timedelta(hours=1))
    await play.result()
    assert len(stage.ats.notices) == 1


async def test_a_lost_answer_is_reconciled_and_never_sent_again(stage: Stage, provider: ScriptedProvider) -> None:
    provider.send_endings = [OutcomeUnknown("the answer was lost")]
    play = await stage.play()
    await play.rest()
    await play.pass_time(timedelta(minutes=2))
    assert len(provider.effects) == 1
    assert (await play.snapshot()).sends[0].run_id == "run-1"
    await play.finish_run(city="Utrecht")
    assert (await play.result()).settlement.outcome is Outcome.COMPLETED


async def test_a_run_that_the_provider_does_not_know_proves_nothing_and_ends_nothing(stage: Stage) -> None:
    play = await stage.play(plan(silence="2d"))
    await play.rest()
    key = (await play.snapshot()).sends[0].key
    finished = FlowRunChanged(flow_run_status=FlowRunStatus.FINISHED, answers={"city": "Utrecht"})
    await play.tell(finished, send_key=key, run_id="made-up")
    await play.rest()
    assert (await play.snapshot()).settlement is None
    await play.pass_time(3 * DAY)
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY
