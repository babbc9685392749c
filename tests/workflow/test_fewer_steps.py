"""What an engagement does without a step of its own, and when it takes one all the same."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import WorkflowHistory

import activities.records
from domain import names
from domain.calls import AtsNotice
from domain.contacts import OptOut, OptOutScope
from domain.engagements import Engagement
from domain.errors import PolicyRefused, ProviderUnavailable
from domain.events import MessageStatus, MessageStatusChanged
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import FollowUp, Opening, Signal, TemplateRef
from domain.sends import TemplateStatus
from tests.workflow.conftest import DAY
from tests.workflow.scripted import ScriptedProvider
from tests.workflow.stage import FLOW, NUDGE, TEMPLATE, Play, Stage, plan

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


async def steps(play: Play) -> list[str]:
    """The activities of its history, in order."""
    history = await play.handle.fetch_history()
    scheduled = (event.activity_task_scheduled_event_attributes for event in history.events)
    return [its.activity_type.name for its in scheduled if its.activity_type.name]


async def events(play: Play) -> Counter[str]:
    """How many events of each kind its history has."""
    history: WorkflowHistory = await play.handle.fetch_history()
    return Counter(event.WhichOneof("attributes") or "" for event in history.events)


async def test_a_template_that_was_read_lately_needs_no_step(stage: Stage, provider: ScriptedProvider) -> None:
    await stage.read_for_others(TEMPLATE)
    play = await stage.play()
    await play.rest()
    await play.finish_run(city="Utrecht")
    assert (await play.result()).settlement.outcome is Outcome.COMPLETED
    opened = [names.OPEN_THREAD, names.TRIGGER_FLOW]
    assert await steps(play) == [*opened, names.CHECK_FLOW_RUN, names.CLOSE_ENGAGEMENT]
    assert "read_template" not in provider.requests


async def test_one_that_was_admitted_when_it_was_registered_asks_no_more_and_says_so(stage: Stage) -> None:
    play = await stage.play()
    await play.rest()
    assert names.ADMIT_ENGAGEMENT not in await steps(play)
    assert "admitted" in [decision.rule for decision in (await play.snapshot()).decisions]
    assert (await events(play))["marker_recorded_event_attributes"] == 0, "the input says which steps it takes"
    row = await stage.stores.registry.get("acme", play.engagement.reference)
    assert row is not None
    assert row.admitted_at == row.created_at


async def test_one_that_an_earlier_release_started_asks_by_itself(stage: Stage) -> None:
    await stage.read_for_others(TEMPLATE)
    play = await stage.play(by_earlier_release=True)
    await play.rest()
    assert await steps(play) == [names.ADMIT_ENGAGEMENT, names.OPEN_THREAD, names.TRIGGER_FLOW]
    assert (await events(play))["marker_recorded_event_attributes"] == 1, "what it does is said by a patch"


async def test_one_against_whom_something_stood_asks_by_itself_and_is_refused(
    stage: Stage, provider: ScriptedProvider
) -> None:
    play = await stage.play(consent=False)
    settlement = (await play.result()).settlement
    assert (settlement.outcome, settlement.rule) == (Outcome.REFUSED, "no-consent")
    assert (await steps(play))[0] == names.ADMIT_ENGAGEMENT
    assert provider.requests == []


async def test_one_that_waits_for_another_asks_by_itself_until_that_is_over(
    stage: Stage, provider: ScriptedProvider
) -> None:
    first, second = await stage.play(), await stage.play(plan(when_busy="queue"))
    await first.rest()
    await second.rest()
    assert len(provider.effects) == 1
    await first.command(names.STOP)
    await first.result()
    await second.rest()
    assert (await steps(second)).count(names.ADMIT_ENGAGEMENT) == 2
    assert len(provider.effects) == 2


async def test_who_opts_out_between_registration_and_start_gets_nothing(
    stage: Stage, provider: ScriptedProvider
) -> None:
    async def opt_out(engagement: Engagement) -> None:
        assert engagement.admission is not None
        now = datetime.now(UTC)
        await stage.stores.contacts.opt_out(engagement.contact_id, OptOut(scope=OptOutScope.ALL, source="word", at=now))

    play = await stage.play(before_start=opt_out)
    assert (await play.result()).settlement.outcome is Outcome.OPTED_OUT
    assert provider.effects == []


async def test_one_that_starts_long_after_it_was_registered_asks_how_its_template_stands(stage: Stage) -> None:
    await stage.read_for_others(TEMPLATE)
    play = await stage.play(requested_at=datetime.now(UTC) - 2 * MINUTE)
    await play.rest()
    assert await steps(play) == [names.ENSURE_TEMPLATE_APPROVED, names.OPEN_THREAD, names.TRIGGER_FLOW]


@pytest.mark.parametrize(
    "known",
    ["read-long-ago", "changed-since", "of-another-id", "never-read"],
)
async def test_a_template_of_which_too_little_is_known_is_asked_about(
    stage: Stage, provider: ScriptedProvider, known: str
) -> None:
    now = datetime.now(UTC)
    if known == "read-long-ago":
        await stage.read_for_others(TEMPLATE, now - HOUR - MINUTE)
    if known == "changed-since":
        await stage.read_for_others(TEMPLATE, now - MINUTE)
        await stage.stores.templates.mark_stale(stage.line, TEMPLATE.id)
    if known == "of-another-id":
        await stage.read_for_others(TEMPLATE.model_copy(update={"id": "template-0"}), now)
    play = await stage.play()
    await play.rest()
    assert names.ENSURE_TEMPLATE_APPROVED in await steps(play)
    assert provider.requests.count("read_template") == 1
    assert len(provider.effects) == 1


async def test_a_template_that_is_known_not_to_be_approved_is_waited_for_before_a_thread_is_opened(
    stage: Stage, provider: ScriptedProvider
) -> None:
    await stage.read_for_others(TEMPLATE, template_status=TemplateStatus.PAUSED)
    provider.shut[TEMPLATE.name] = TemplateStatus.PAUSED
    play = await stage.play()
    await play.rest()
    hold = (await play.snapshot()).hold
    assert hold is not None
    assert hold.rule == "template-not-approved"
    assert "open_thread" not in provider.requests
    assert provider.effects == []


@pytest.mark.parametrize("after", [TemplateStatus.APPROVED, TemplateStatus.PAUSED, TemplateStatus.REJECTED])
async def test_what_happens_to_the_template_between_admission_and_send_is_seen_before_anything_leaves(
    stage: Stage, provider: ScriptedProvider, after: TemplateStatus
) -> None:
    await stage.read_for_others(TEMPLATE)
    reached, go_on = provider.pause_at["open_thread"] = (asyncio.Event(), asyncio.Event())
    play = await stage.play()
    await reached.wait()
    await stage.stores.templates.mark_stale(stage.line, TEMPLATE.id)
    if after is not TemplateStatus.APPROVED:
        provider.shut[TEMPLATE.name] = after
    go_on.set()
    await play.rest()
    told = await play.snapshot()
    assert "template" in [decision.rule for decision in told.decisions], "the claim refused it"
    assert provider.requests.count("read_template") >= 1
    if after is TemplateStatus.APPROVED:
        assert (told.stage, len(provider.effects)) == ("awaiting-answer", 1)
    elif after is TemplateStatus.PAUSED:
        assert told.hold is not None
        assert (told.hold.rule, provider.effects) == ("template-not-approved", [])
    else:
        assert ((await play.result()).settlement.outcome, provider.effects) == (Outcome.TEMPLATE_REJECTED, [])


async def test_what_is_known_of_a_template_is_judged_as_what_the_provider_says(
    stage: Stage, provider: ScriptedProvider
) -> None:
    await stage.read_for_others(TEMPLATE, variables=3)
    result = await (await stage.play()).result()
    assert (result.settlement.outcome, result.settlement.rule) == (Outcome.MISCONFIGURED, "template-variables")
    assert provider.effects == []


async def test_a_template_without_an_id_in_the_plan_leaves_by_the_one_that_is_known(
    stage: Stage, provider: ScriptedProvider
) -> None:
    named = TemplateRef(name="intake_v2", language="nl", variables=("first_name",))
    await stage.read_for_others(named, provider_id="template-9")
    play = await stage.play(plan(opening=Opening(template=named, flow=FLOW)))
    await play.rest()
    assert [send.template.id for send in provider.effects] == ["template-9"]
    assert "read_template" not in provider.requests


async def test_a_follow_up_takes_the_question_whether_something_came_and_the_send(stage: Stage) -> None:
    await stage.read_for_others(TEMPLATE)
    play = await stage.play(plan(follow_ups=(FollowUp(after=DAY, template=NUDGE),)))
    await play.rest()
    before = await steps(play)
    await play.pass_time(DAY - MINUTE)
    await stage.read_for_others(NUDGE)
    await play.pass_time(2 * MINUTE)
    assert (await steps(play))[len(before) :] == [names.CHECK_FLOW_RUN, names.SEND_MESSAGE]


async def test_a_follow_up_whose_template_was_read_when_the_engagement_began_asks_anew(
    stage: Stage, provider: ScriptedProvider
) -> None:
    for template in (TEMPLATE, NUDGE):
        await stage.read_for_others(template)
    play = await stage.play(plan(follow_ups=(FollowUp(after=DAY, template=NUDGE),)))
    await play.rest()
    provider.shut[NUDGE.name] = TemplateStatus.PAUSED
    await play.pass_time(DAY + MINUTE)
    assert len(provider.effects) == 1
    assert names.ENSURE_TEMPLATE_APPROVED in await steps(play)


async def test_the_outcome_is_told_with_the_close_when_it_is_final_and_the_person_free(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = await stage.play()
    await play.rest()
    as_ever, seen = stage.ats.notify, list[tuple[object, tuple[str, ...]]]()

    async def look(tenant: str, notice: AtsNotice) -> None:
        row = await stage.stores.registry.get(tenant, play.engagement.reference)
        seen.append((row and row.outcome, await stage.stores.contacts.open_engagements(play.engagement.contact_id)))
        await as_ever(tenant, notice)

    monkeypatch.setattr(stage.ats, "notify", look)
    await play.finish_run(city="Utrecht")
    await play.result()
    assert seen == [(Outcome.COMPLETED, ())]
    assert [notice.event_id for notice in stage.ats.notices] == [f"{play.handle.id}:outcome"]
    assert names.NOTIFY_ATS not in await steps(play)


@pytest.mark.parametrize("fault", [ProviderUnavailable("ATS is down"), PolicyRefused("odd"), ValueError("a defect")])
async def test_a_system_that_does_not_take_the_outcome_at_once_is_told_by_a_step_of_its_own(
    stage: Stage, fault: Exception
) -> None:
    stage.ats.endings = [fault]
    play = await stage.play()
    await play.rest()
    await play.command(names.STOP)
    assert (await play.result()).settlement.outcome is Outcome.STOPPED
    assert (await steps(play))[-2:] == [names.CLOSE_ENGAGEMENT, names.NOTIFY_ATS]
    assert [notice.event_id for notice in stage.ats.notices] == [f"{play.handle.id}:outcome"]
    assert await stage.stores.letters.list("acme", undelivered=True) == ()


async def test_a_system_that_does_not_answer_holds_no_close_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activities.records, "ATS_AT_ONCE", 0.05)
    as_ever, asked = stage.ats.notify, list[str]()

    async def slow(tenant: str, notice: AtsNotice) -> None:
        asked.append(notice.event_id)
        if len(asked) == 1:
            await asyncio.Event().wait()
        await as_ever(tenant, notice)

    monkeypatch.setattr(stage.ats, "notify", slow)
    play = await stage.play()
    await play.rest()
    await play.command(names.STOP)
    await play.result()
    assert asked == [f"{play.handle.id}:outcome"] * 2, "told again under the same id"
    assert (await steps(play)).count(names.CLOSE_ENGAGEMENT) == 1


async def test_nobody_is_told_where_the_tenant_has_no_system(stage: Stage) -> None:
    play = await stage.play(notify_ats=False)
    await play.rest()
    await play.command(names.STOP)
    await play.result()
    assert stage.ats.notices == []
    assert (await steps(play))[-1] == names.CLOSE_ENGAGEMENT


async def test_news_that_change_no_deadline_set_no_timer_and_the_deadline_stands(
    stage: Stage, provider: ScriptedProvider
) -> None:
    play = await stage.play(plan(silence="3d"))
    await play.rest()
    reference = (await play.snapshot()).sends[0].reference
    until = (await play.snapshot()).until
    for status in (MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ):
        await play.tell(MessageStatusChanged(message_status=status), reference=reference)
        await play.rest()
    its = await events(play)
    assert (its["timer_started_event_attributes"], its["timer_canceled_event_attributes"]) == (1, 0)
    assert (await play.snapshot()).until == until
    await play.pass_time(3 * DAY + MINUTE)
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY


async def test_another_deadline_sets_another_timer(stage: Stage) -> None:
    play = await stage.play(plan(follow_ups=(FollowUp(on=Signal.TEXT, after=HOUR, template=NUDGE),), silence="3d"))
    await play.rest()
    await play.command(names.PAUSE)
    await play.rest()
    await play.pass_time(DAY)
    await play.command(names.RESUME, "c-2")
    await play.rest()
    its = await events(play)
    assert its["timer_started_event_attributes"] - its["timer_canceled_event_attributes"] == 1
    await play.pass_time(3 * DAY - MINUTE)
    assert (await play.snapshot()).settlement is None, "the deadline has moved by the length of the pause"
    await play.pass_time(2 * MINUTE)
    assert (await play.result()).settlement.outcome is Outcome.NO_REPLY
