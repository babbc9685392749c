"""The tenant's system both ways, contacts that change meanwhile, and one person with two applications."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from domain import names
from domain.ats import AtsEvent, AtsStatus, AtsWord, NoticeState
from domain.contacts import ContactChange, ContactFree, OptOut, OptOutScope, job_value
from domain.engagements import Timing
from domain.errors import ProviderRejected, ProviderUnavailable
from domain.events import MessageStatus, MessageStatusChanged, OptOutReceived
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import FollowUp, WhenBusy
from domain.sends import TemplateStatus
from tests.workflow.scripted import PUSHED
from tests.workflow.stage import NUDGE, TEMPLATE, TIMING, Play, Stage, plan

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NUDGED = plan(follow_ups=(FollowUp(after=DAY, template=NUDGE),), silence="2d")


async def told(play: Play, status: AtsWord, command_id: str = "ats-1", job: str = "") -> Any:
    return await play.command(names.ATS_STATUS, command_id, model=AtsStatus, status=status, job=job)


@pytest.mark.parametrize("status", [AtsWord.HIRED, AtsWord.WITHDRAWN, AtsWord.REQUISITION_CLOSED])
async def test_a_status_that_ends_the_application_ends_the_engagement_with_its_reason(
    stage: Stage, status: AtsWord
) -> None:
    play = await stage.play(NUDGED)
    await play.rest()
    assert (await told(play, status)).accepted
    result = await play.result()
    assert (result.settlement.outcome, result.settlement.rule) == (Outcome.WITHDRAWN, f"ats-{status}")
    assert "because" in result.settlement.reason
    assert len(stage.provider.effects) == 1


async def test_a_status_recalls_a_message_that_has_not_left(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = TemplateStatus.PENDING
    play = await stage.play(NUDGED)
    await play.rest()
    await told(play, AtsWord.WITHDRAWN)
    assert (await play.result()).settlement.outcome is Outcome.WITHDRAWN
    assert stage.provider.effects == []


async def test_a_move_is_noted_and_the_engagement_goes_on(stage: Stage) -> None:
    play = await stage.play(NUDGED)
    await play.rest()
    await told(play, AtsWord.MOVED)
    await play.rest()
    assert "ats-moved" in [decision.rule for decision in (await play.snapshot()).decisions]
    await play.pass_time(4 * DAY)
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY


async def test_a_status_of_another_job_is_refused(stage: Stage) -> None:
    play = await stage.play(NUDGED, job="job-88")
    await play.rest()
    with pytest.raises(WorkflowUpdateFailedError):
        await told(play, AtsWord.WITHDRAWN, "other", job="job-89")
    await told(play, AtsWord.WITHDRAWN, "same", job="job-88")
    assert (await play.result()).settlement.outcome is Outcome.WITHDRAWN


async def test_the_tenants_system_hears_of_progress_where_it_asked_and_of_the_outcome_last(stage: Stage) -> None:
    play = await stage.play(NUDGED, ats_events=(AtsEvent.OPENED.value, AtsEvent.DELIVERED.value))
    await play.rest()
    reference = (await play.snapshot()).sends[0].reference
    await play.tell(MessageStatusChanged(message_status=MessageStatus.DELIVERED), reference=reference)
    await play.rest()
    await play.finish_run(city="Utrecht")
    await play.result()
    heard = [notice.event_type for notice in stage.ats.notices]
    assert sorted(heard) == ["engagement.closed", "engagement.delivered", "engagement.opened"]
    assert heard[-1] == "engagement.closed"
    assert stage.ats.notices[0].about.reference == play.engagement.reference


async def test_progress_that_is_not_taken_holds_nothing_up(stage: Stage) -> None:
    stage.ats.endings = [ProviderUnavailable("ATS is down") for _ in range(3)]
    play = await stage.play(NUDGED, ats_events=(AtsEvent.OPENED.value,))
    await play.rest()
    assert (await play.snapshot()).stage == "awaiting-answer"
    await play.finish_run(city="Utrecht")
    await play.pass_time(DAY)
    assert (await play.result()).settlement.outcome is Outcome.COMPLETED
    assert {notice.event_type for notice in stage.ats.notices} == {"engagement.opened", "engagement.closed"}


async def test_a_notice_that_was_refused_is_kept_and_one_that_went_through_later_is_delivered(stage: Stage) -> None:
    stage.ats.endings = [ProviderRejected("410: no such hook", code="410")]
    refused = await stage.play(NUDGED)
    await refused.rest()
    await refused.finish_run()
    await refused.result()
    (letter,) = await stage.stores.letters.list("acme", undelivered=True)
    assert (letter.state, letter.reference, letter.code) == (NoticeState.REFUSED, refused.engagement.reference, "410")
    notice = await stage.stores.letters.open("acme", letter.event_id)
    assert notice.result is not None
    assert notice.result.settlement.outcome is Outcome.COMPLETED


@pytest.mark.parametrize("budget", [8 * HOUR, pytest.param(7 * DAY, marks=pytest.mark.long)], ids=["hours", "days"])
async def test_a_system_that_stays_away_is_tried_to_the_end_and_its_notice_is_kept_for_a_person(
    stage: Stage, budget: timedelta
) -> None:
    assert Timing().ats_budget == 7 * DAY
    stage.ats.endings = [ProviderUnavailable("ATS is down") for _ in range(1000)]
    play = await stage.play(NUDGED, timing=TIMING.model_copy(update={"ats_budget": budget}))
    await play.rest()
    await play.finish_run(city="Utrecht")
    await play.rest()
    row = await stage.stores.registry.get("acme", play.engagement.reference)
    assert row is not None
    assert row.outcome is Outcome.COMPLETED, "the outcome is final and the person free before anybody is told"
    await play.pass_time(budget - 2 * HOUR)
    assert await _is_open(play), "Temporal goes on trying"
    tried = 1000 - len(stage.ats.endings)
    assert budget / HOUR - 3 <= tried <= budget / HOUR + 20, "about once an hour, more often only at first"
    await play.pass_time(4 * HOUR)
    assert (await play.result()).settlement.outcome is Outcome.COMPLETED
    assert stage.ats.notices == []
    (letter,) = await stage.stores.letters.list("acme", undelivered=True)
    assert (letter.reference, letter.state) == (play.engagement.reference, NoticeState.FAILING)
    assert letter.gives_up_at is not None
    assert abs(letter.gives_up_at - play.engagement.requested_at - budget) < timedelta(minutes=5)


async def test_an_opt_out_recorded_elsewhere_ends_what_it_covers_at_once(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = TemplateStatus.PENDING
    play = await stage.play(NUDGED, job="job-88")
    await play.rest()
    at = datetime.now(UTC)
    other = OptOut(scope=OptOutScope.JOB, scope_value=job_value("acme", "job-89"), source="x", at=at)
    await play.handle.signal(names.CONTACT_CHANGED, ContactChange(key="1", opt_out=other, actor="olga"))
    await play.rest()
    assert (await play.snapshot()).settlement is None, "an opt-out from another job ends nothing here"
    its = OptOut(scope=OptOutScope.JOB, scope_value=job_value("acme", "job-88"), source="olga: by phone", at=at)
    await play.handle.signal(names.CONTACT_CHANGED, ContactChange(key="2", opt_out=its, actor="olga"))
    result = await play.result()
    assert (result.settlement.outcome, result.settlement.rule) == (Outcome.OPTED_OUT, "opt-out-job")
    assert stage.provider.effects == []


async def test_a_preference_against_marketing_ends_nothing_until_a_marketing_message_is_due(stage: Stage) -> None:
    stage.provider.capabilities = PUSHED
    play = await stage.play(NUDGED)
    await play.rest()
    await play.tell(OptOutReceived(scope="marketing"))
    await play.rest()
    assert (await play.snapshot()).settlement is None
    stop = OptOut(scope=OptOutScope.MARKETING, scope_value=stage.line, source="preference", at=datetime.now(UTC))
    await stage.stores.contacts.opt_out(play.engagement.contact_id, stop)
    await play.pass_time(DAY + timedelta(minutes=1))
    assert (await play.result()).settlement.outcome is Outcome.OPTED_OUT
    assert len(stage.provider.effects) == 1, "a template of unknown category counts as marketing"


async def test_a_message_that_failed_because_of_a_stop_of_marketing_opts_out(stage: Stage) -> None:
    stage.provider.capabilities = PUSHED
    play = await stage.play(NUDGED)
    await play.rest()
    reference = (await play.snapshot()).sends[0].reference
    await play.tell(OptOutReceived(scope="marketing"), reference=reference)
    assert (await play.result()).settlement.outcome is Outcome.OPTED_OUT


async def test_a_second_application_is_refused_where_the_plan_says_so(stage: Stage) -> None:
    stage.provider.capabilities = PUSHED
    first = await stage.play(NUDGED)
    await first.rest()
    refusing = await stage.play(NUDGED.model_copy(update={"when_busy": WhenBusy.REFUSE}))
    result = await refusing.result()
    assert (result.settlement.outcome, result.settlement.rule) == (Outcome.REFUSED, "already-busy")
    beside = await stage.play(NUDGED)
    await beside.rest()
    assert (await beside.snapshot()).stage == "awaiting-answer", "by default both run, where the provider can"


async def test_a_second_application_waits_for_the_first_to_end_and_then_goes_on(stage: Stage) -> None:
    first = await stage.play(NUDGED)
    await first.rest()
    second = await stage.play(NUDGED.model_copy(update={"when_busy": WhenBusy.QUEUE}))
    await second.rest()
    waiting = await second.snapshot()
    assert waiting.hold is not None
    assert (waiting.stage, waiting.hold.rule) == ("held", "queued")
    await first.command(names.STOP)
    await first.result()
    assert len(stage.provider.effects) == 1
    await second.pass_time(timedelta(hours=2))
    assert (await second.snapshot()).stage == "awaiting-answer"
    assert len(stage.provider.effects) == 2


async def test_who_waits_for_another_engagement_is_told_when_it_ends_and_only_one_goes_on(stage: Stage) -> None:
    first = await stage.play(NUDGED)
    await first.rest()
    queued = [await stage.play(NUDGED.model_copy(update={"when_busy": WhenBusy.QUEUE})) for _ in range(3)]
    for play in queued:
        await play.rest()
    for ends in range(3):
        (open_one,) = [play for play in (first, *queued) if await _is_open(play) and (await play.snapshot()).sends]
        await open_one.command(names.STOP)
        await open_one.result()
        await stage.calendar.quiet([play.handle for play in queued])
        assert len(stage.provider.effects) == ends + 2, "the next left, without any time having passed, and only that"


async def _is_open(play: Play) -> bool:
    return (await play.handle.describe()).close_time is None


async def test_to_hear_that_the_person_is_free_changes_nothing_for_one_that_is_under_way(stage: Stage) -> None:
    play = await stage.play(NUDGED)
    await play.rest()
    before = await play.snapshot()
    for _ in range(2):
        await play.handle.signal(names.CONTACT_FREE, ContactFree(workflow_id="engagement:acme:other"))
    await play.rest()
    after = await play.snapshot()
    assert (after.stage, after.until, after.decisions) == (before.stage, before.until, before.decisions)
    assert len(stage.provider.effects) == 1


async def test_a_queue_is_no_longer_than_the_opening_is_worth(stage: Stage) -> None:
    first = await stage.play(plan(silence="20d"))
    await first.rest()
    second = await stage.play(NUDGED.model_copy(update={"when_busy": WhenBusy.QUEUE, "step_expiry": DAY}))
    await second.pass_time(DAY + timedelta(hours=2))
    result = await second.result()
    assert (result.settlement.outcome, result.sends) == (Outcome.EXPIRED, 0)


async def test_an_opt_out_ends_an_engagement_in_the_queue(stage: Stage) -> None:
    first = await stage.play(NUDGED)
    await first.rest()
    second = await stage.play(NUDGED.model_copy(update={"when_busy": WhenBusy.QUEUE}))
    await second.rest()
    contact_id = second.engagement.contact_id
    assert second.handle.id in await stage.stores.contacts.open_engagements(contact_id), "it hears of opt-outs"
    every = OptOut(scope=OptOutScope.ALL, source="olga: by phone", at=datetime.now(UTC))
    await second.handle.signal(names.CONTACT_CHANGED, ContactChange(key="1", opt_out=every))
    assert (await second.result()).settlement.outcome is Outcome.OPTED_OUT
