"""What may not leave now leaves when it may: at the opening of its window, under its caps, looked at once more."""

import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from temporalio.testing import TimeSkipper

from domain import names
from domain.caps import Caps
from domain.contacts import OptOut, OptOutScope
from domain.errors import ProviderUnavailable, Scope
from domain.events import FlowRunStatus, MessageStatus, MessageStatusChanged, OptOutReceived
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import Condition, FollowUp, Plan
from domain.sends import TemplateStatus
from domain.windows import SendWindow, is_open
from tests.workflow.scripted import PUSHED, ScriptedProvider
from tests.workflow.stage import NUDGE, TEMPLATE, Play, Stage, open_stage, plan
from tests.workflow.test_operators import worst_second

pytestmark = pytest.mark.asyncio(loop_scope="module")

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
KOLKATA = "Asia/Kolkata"


def daily(opens_in: timedelta, lasts: timedelta = 2 * HOUR, zone: str = KOLKATA) -> SendWindow:
    """Every day at this time from now, by the clock of a zone whose clocks are never moved."""
    opens = opening(opens_in).astimezone(ZoneInfo(zone))
    return SendWindow(hours={"mon-sun": f"{opens:%H:%M}-{opens + lasts:%H:%M}"})


def opening(opens_in: timedelta) -> datetime:
    return (datetime.now(UTC) + opens_in).replace(second=0, microsecond=0)


def noon_zone() -> str:
    """A zone where it is about noon now, so that no test meets a midnight by chance."""
    east = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-east:+d}" if east else "Etc/GMT"


def midnight(zone: str) -> datetime:
    tomorrow = datetime.now(ZoneInfo(zone)).date() + DAY
    return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=ZoneInfo(zone))


async def test_a_zone_that_nothing_in_this_process_read_before_is_read_within_the_workflow(stage: Stage) -> None:
    its = plan(send_window=daily(9 * HOUR, zone="Antarctica/Troll"))
    ZoneInfo.clear_cache()
    play = await stage.play(its, zone="Antarctica/Troll")
    await play.rest()
    assert stage.provider.effects == []
    await play.pass_time(9 * HOUR)
    assert len(stage.provider.effects) == 1


async def overnight(stage: Stage, its: Plan | None = None) -> Play:
    """An engagement whose opening waits for nine hours."""
    play = await stage.play(its or plan(send_window=daily(9 * HOUR)), zone=KOLKATA)
    await play.rest()
    assert stage.provider.effects == []
    return play


async def by_night(stage: Stage) -> Play:
    """An engagement whose follow-up was due two hours ago and waits for the morning."""
    nudge = FollowUp(after=6 * HOUR, template=NUDGE)
    its = plan(follow_ups=(nudge,), send_window=daily(-HOUR, 4 * HOUR), silence="5d")
    play = await stage.play(its, zone=KOLKATA)
    await play.rest()
    await play.pass_time(8 * HOUR)
    assert len(stage.provider.effects) == 1
    hold = (await play.snapshot()).hold
    assert hold is not None
    assert hold.rule == "outside-window"
    return play


async def rules(play: Play) -> list[str]:
    return [decision.rule for decision in (await play.snapshot()).decisions]


async def test_what_is_held_overnight_says_until_when_and_leaves_at_the_opening(stage: Stage) -> None:
    opens = opening(9 * HOUR)
    play = await overnight(stage)
    snapshot = await play.snapshot()
    assert (snapshot.stage, snapshot.until) == ("held", opens)
    assert snapshot.hold is not None
    assert (snapshot.hold.rule, f"{opens:%Y-%m-%d %H:%M} UTC" in snapshot.hold.reason) == ("outside-window", True)
    await play.pass_time(9 * HOUR - 5 * MINUTE)
    assert stage.provider.effects == []
    await play.pass_time(6 * MINUTE)
    (sent,) = stage.provider.effects
    assert (sent.not_after, sent.at >= opens) == (opens + 2 * HOUR, True)
    assert stage.provider.requests.count("read_template") == 2, "the template was looked at again"
    assert (await play.snapshot()).hold is None
    await play.finish_run(city="Pune")
    assert (await play.result()).settlement.outcome is Outcome.COMPLETED


async def test_all_who_were_held_overnight_leave_at_the_pace_of_their_line(
    skipper: TimeSkipper, tmp_path: Path
) -> None:
    left = list[float]()
    provider = ScriptedProvider(on_send=lambda send, its: left.append(time.monotonic()))
    async with open_stage(skipper, tmp_path, provider, line_rate=4) as stage:
        its = plan(send_window=daily(9 * HOUR))
        plays = [await stage.play(its, zone=KOLKATA, phone=f"+3161234560{n}") for n in range(7)]
        await stage.calendar.quiet([play.handle for play in plays])
        assert left == []
        await stage.calendar.pass_time(9 * HOUR + MINUTE, [play.handle for play in plays])
        assert len({send.workflow_id for send in provider.effects}) == len(left) == len(plays)
        for play in plays:
            await play.handle.terminate("end of test")
    assert worst_second(left) <= 4


async def test_inside_its_window_nothing_is_held(stage: Stage) -> None:
    play = await stage.play(plan(send_window=daily(-HOUR)), zone=KOLKATA)
    await play.rest()
    assert len(stage.provider.effects) == 1
    assert "outside-window" not in await rules(play)
    assert stage.provider.requests.count("read_template") == 1


async def test_an_opt_out_overnight_ends_it_and_nothing_is_sent(stage: Stage) -> None:
    play = await overnight(stage)
    await play.tell(OptOutReceived(scope="line", text="STOP"))
    assert (await play.result()).settlement.outcome is Outcome.OPTED_OUT
    assert stage.provider.effects == []


async def test_an_opt_out_overnight_that_the_engagement_did_not_hear_of_stops_the_send_as_it_leaves(
    stage: Stage,
) -> None:
    play = await overnight(stage)
    out = OptOut(scope=OptOutScope.ALL, source="stop-word", at=datetime.now(UTC))
    await stage.stores.contacts.opt_out(play.engagement.contact_id, out)
    await play.pass_time(10 * HOUR)
    assert (await play.result()).settlement.outcome is Outcome.OPTED_OUT
    assert stage.provider.effects == []


async def test_a_stop_overnight_ends_it_and_nothing_is_sent(stage: Stage) -> None:
    play = await overnight(stage)
    await play.command(names.STOP)
    assert (await play.result()).settlement.outcome is Outcome.STOPPED
    assert stage.provider.effects == []


async def test_an_answer_overnight_keeps_the_follow_up_from_leaving(stage: Stage) -> None:
    play = await by_night(stage)
    await play.finish_run(city="Pune")
    assert (await play.result()).settlement.outcome is Outcome.COMPLETED
    assert len(stage.provider.effects) == 1


async def test_an_answer_overnight_whose_webhook_was_lost_is_found_before_the_follow_up_leaves(stage: Stage) -> None:
    play = await by_night(stage)
    stage.provider.become("run-1", FlowRunStatus.FINISHED, city="Pune")
    await play.pass_time(DAY)
    assert (await play.result()).settlement.outcome is Outcome.COMPLETED
    assert len(stage.provider.effects) == 1


async def test_without_an_answer_the_follow_up_leaves_in_the_morning_and_the_silence_counts_from_there(
    stage: Stage,
) -> None:
    play = await by_night(stage)
    await play.pass_time(DAY)
    window = play.engagement.plan.send_window
    assert window is not None
    nudge = stage.provider.effects[1]
    assert is_open(window, ZoneInfo(KOLKATA), nudge.at)
    until = (await play.snapshot()).until
    assert until is not None
    assert timedelta(0) <= until - nudge.at - 5 * DAY < MINUTE


async def test_a_follow_up_whose_condition_fails_by_night_is_skipped_at_once(stage: Stage) -> None:
    nudge = FollowUp(after=6 * HOUR, template=NUDGE, when=Condition.DELIVERED_NOT_READ)
    its = plan(follow_ups=(nudge,), send_window=daily(-HOUR, 4 * HOUR), silence="5d")
    play = await stage.play(its, zone=KOLKATA)
    await play.rest()
    await play.tell(MessageStatusChanged(message_status=MessageStatus.DELIVERED), run_id="run-1")
    await play.pass_time(8 * HOUR)
    assert (await play.snapshot()).stage == "held"
    await play.tell(MessageStatusChanged(message_status=MessageStatus.READ), run_id="run-1")
    await play.rest()
    snapshot = await play.snapshot()
    assert (snapshot.stage, snapshot.hold) == ("awaiting-answer", None)
    await play.pass_time(DAY)
    assert len(stage.provider.effects) == 1


async def test_a_follow_up_with_a_flow_ends_the_earlier_run_in_the_morning_and_not_by_night(stage: Stage) -> None:
    nudge = FollowUp(after=6 * HOUR, template=NUDGE, flow=plan().opening.flow)
    its = plan(follow_ups=(nudge,), send_window=daily(-HOUR, 4 * HOUR), silence="5d")
    play = await stage.play(its, zone=KOLKATA)
    await play.rest()
    await play.pass_time(8 * HOUR)
    assert stage.provider.ended == []
    await play.pass_time(DAY)
    assert [request.run_id for request in stage.provider.ended] == ["run-1"]
    assert len(stage.provider.effects) == 2


async def test_a_template_that_is_paused_overnight_holds_it_in_the_morning(stage: Stage) -> None:
    play = await overnight(stage)
    stage.provider.shut[TEMPLATE.name] = TemplateStatus.PAUSED
    await play.pass_time(9 * HOUR + MINUTE)
    hold = (await play.snapshot()).hold
    assert hold is not None
    assert (hold.rule, hold.gate) == (
        "template-not-approved",
        f"gate:template:{stage.line}:{TEMPLATE.name}:{TEMPLATE.language}",
    )
    assert stage.provider.effects == []


async def test_a_template_that_is_approved_by_night_waits_for_the_morning_after(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = TemplateStatus.PENDING
    window = daily(-HOUR)
    play = await stage.play(plan(send_window=window), zone=KOLKATA)
    await play.rest()
    await play.pass_time(4 * HOUR)
    stage.provider.shut.clear()
    await play.pass_time(6 * HOUR)  # a gate that has looked for four hours looks again within five
    assert stage.provider.effects == []
    assert (await rules(play))[-1] == "outside-window"
    await play.pass_time(DAY)
    (sent,) = stage.provider.effects
    assert is_open(window, ZoneInfo(KOLKATA), sent.at)


async def test_what_the_queue_brings_too_late_waits_for_the_next_opening(stage: Stage) -> None:
    stage.provider.send_endings = [ProviderUnavailable("down", scope=Scope.MESSAGE, retry_after=3 * HOUR)]
    window = daily(-HOUR)
    play = await stage.play(plan(send_window=window), zone=KOLKATA)
    await play.rest()
    await play.pass_time(4 * HOUR)
    hold = (await play.snapshot()).hold
    assert hold is not None
    assert (hold.rule, "too late" in hold.reason) == ("outside-window", True)
    assert stage.provider.requests.count("trigger_flow") == 1, "it was refused before the provider was asked again"
    await play.pass_time(DAY)
    (sent,) = stage.provider.effects
    assert is_open(window, ZoneInfo(KOLKATA), sent.at)
    assert sent.n == 1, "the same send, which never left"


async def test_a_window_that_opens_after_the_step_expired_ends_it_and_says_what_held_it(stage: Stage) -> None:
    today = datetime.now(ZoneInfo(KOLKATA)).date()
    window = daily(9 * HOUR).model_copy(update={"holidays": tuple(today + n * DAY for n in range(3))})
    play = await overnight(stage, plan(send_window=window, step_expiry="23h"))
    await play.pass_time(DAY)
    settlement = (await play.result()).settlement
    assert (settlement.outcome, "outside-window" in settlement.reason) == (Outcome.EXPIRED, True)
    assert stage.provider.effects == []


async def test_who_is_resumed_by_night_still_waits_for_the_morning(stage: Stage) -> None:
    play = await overnight(stage)
    await play.command(names.PAUSE, "c-1")
    await play.pass_time(10 * HOUR)
    assert stage.provider.effects == []
    await play.pass_time(3 * HOUR)
    await play.command(names.RESUME, "c-2")
    await play.rest()
    hold = (await play.snapshot()).hold
    assert hold is not None
    assert hold.rule == "outside-window"
    await play.pass_time(DAY)
    assert len(stage.provider.effects) == 1


@pytest.mark.parametrize("month", [3, 10], ids=["spring", "autumn"])
async def test_in_the_night_when_clocks_are_moved_it_leaves_by_the_clock_on_the_wall(stage: Stage, month: int) -> None:
    now = datetime.now(UTC)
    nights = [last_sunday(year, month) for year in (now.year, now.year + 1)]
    night = next(night for night in nights if night - DAY > now.date())
    before = tuple(now.date() + n * DAY for n in range((night - now.date()).days))
    window = SendWindow(hours={"sun": "02:30-05:00"}, holidays=before)
    its = plan(send_window=window, step_expiry="380d", longest="400d")
    play = await stage.play(its, zone="Europe/Amsterdam")
    await play.rest()
    # 02:30 never is in spring, when 02:00 becomes 03:00; in autumn it is twice, and 03:00 becomes 02:00 in between
    opens = datetime(night.year, night.month, night.day, 1 if month == 3 else 0, 0 if month == 3 else 30, tzinfo=UTC)
    assert (await play.snapshot()).until == opens
    await play.pass_time(opens - stage.calendar.now + MINUTE)
    (sent,) = stage.provider.effects
    assert sent.not_after == opens + (2 * HOUR if month == 3 else 30 * MINUTE)


def last_sunday(year: int, month: int) -> date:
    return next(day for n in range(31, 24, -1) if (day := date(year, month, n)).weekday() == 6)


async def test_who_had_the_days_messages_is_held_until_the_next_day_and_goes_on(stage: Stage) -> None:
    zone = noon_zone()
    stage.provider.capabilities = PUSHED
    stage.caps["acme"] = Caps(candidate_per_day=1)
    first = await stage.play(zone=zone)
    await first.rest()
    second = await stage.play(zone=zone)
    await second.rest()
    assert len(stage.provider.effects) == 1
    snapshot = await second.snapshot()
    assert (snapshot.stage, snapshot.until) == ("held", midnight(zone))
    assert snapshot.hold is not None
    assert snapshot.hold.rule == "capped"
    await second.pass_time(14 * HOUR)
    assert [sent.workflow_id for sent in stage.provider.effects] == [first.handle.id, second.handle.id]


async def test_another_person_is_not_held_by_it(stage: Stage) -> None:
    zone = noon_zone()
    stage.caps["acme"] = Caps(candidate_per_day=1)
    await (await stage.play(zone=zone)).rest()
    await (await stage.play(zone=zone, phone="+31612345670")).rest()
    assert len(stage.provider.effects) == 2


async def test_who_is_capped_past_the_steps_expiry_ends_and_is_told_why(stage: Stage) -> None:
    zone = noon_zone()
    stage.provider.capabilities = PUSHED
    stage.caps["acme"] = Caps(candidate_per_week=1)
    await (await stage.play(zone=zone)).rest()
    second = await stage.play(plan(step_expiry="2h"), zone=zone)
    await second.rest()
    await second.pass_time(3 * HOUR)
    settlement = (await second.result()).settlement
    assert (settlement.outcome, "capped" in settlement.reason) == (Outcome.EXPIRED, True)
    assert len(stage.provider.effects) == 1


async def test_a_cap_that_frees_at_midnight_still_waits_for_the_window(stage: Stage) -> None:
    zone = noon_zone()
    stage.provider.capabilities = PUSHED
    stage.caps["acme"] = Caps(tenant_per_day=1, zone=zone)
    window = SendWindow(hours={"mon-sun": "10:00-18:00"})
    await (await stage.play(plan(send_window=window), zone=zone)).rest()
    second = await stage.play(plan(send_window=window), zone=zone, phone="+31612345670")
    await second.rest()
    await second.pass_time(15 * HOUR)
    snapshot = await second.snapshot()
    assert snapshot.hold is not None
    assert (snapshot.hold.rule, snapshot.until) == ("outside-window", midnight(zone) + 10 * HOUR)
    await second.pass_time(9 * HOUR)
    assert len(stage.provider.effects) == 2


async def test_an_answer_while_capped_ends_it_and_nothing_more_is_sent(stage: Stage) -> None:
    zone = noon_zone()
    stage.caps["acme"] = Caps(candidate_per_week=1)
    play = await stage.play(plan(follow_ups=(FollowUp(after=HOUR, template=NUDGE),)), zone=zone)
    await play.rest()
    await play.pass_time(2 * HOUR)
    hold = (await play.snapshot()).hold
    assert hold is not None
    assert hold.rule == "capped"
    await play.finish_run(city="Pune")
    assert (await play.result()).settlement.outcome is Outcome.COMPLETED
    assert len(stage.provider.effects) == 1
