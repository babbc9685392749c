"""Paused at each moment of each step of a plan it sends nothing, is heard, and goes on exactly where it was."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest

from domain import names
from domain.calls import ResolveSend
from domain.events import OptOutReceived
from domain.outcomes import Decision
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import FollowUp, Plan
from domain.sends import LedgerState
from domain.windows import is_open
from store.holds import Pause, PauseScope
from tests.workflow.moments import heal, let_go
from tests.workflow.stage import FLOW, NUDGE, Play, Stage, plan
from tests.workflow.test_stop_everywhere import AGAIN, PLAN, RESTING, STEPS, Case

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
PAUSED_FOR = 2 * DAY
SLACK = 6 * HOUR
"""For whatever else kept a step back to end: a gate that looks from time to time, a provider that asks for an hour."""
SILENCE = 3 * DAY


@dataclass
class Moment:
    """An engagement at one moment of one step, and what still runs there."""

    play: Play
    passing: asyncio.Task[None] | None = None
    slack: timedelta = SLACK

    async def go_on(self) -> None:
        """What was held up there goes on."""
        let_go(self.play.stage)
        if self.passing is not None:
            await self.passing
        await self.play.rest()


Reach = Callable[[Stage, str], Awaitable[Moment]]


async def resting(stage: Stage, step: str, *, moment: str) -> Moment:
    return Moment(await RESTING[moment](Case(stage, step)))


async def line_flagged(stage: Stage, step: str) -> Moment:
    async def prepare() -> None:
        flag = Pause(scope=PauseScope.LINE, scope_value=stage.line, reason="audit", actor="ina", at=datetime.now(UTC))
        await stage.stores.holds.pause(flag)

    return Moment(await Case(stage, step).reach(prepare))


async def _until_reached(stage: Stage, step: str, reached: asyncio.Event, hold_up: Callable[[], None]) -> Moment:
    """Held up at the step itself: the opening runs into it, the others when time passes."""
    case = Case(stage, step)
    if case.number == 0:
        hold_up()
        play, passing = await stage.play(PLAN), None
    else:
        play = await case.begin()
        hold_up()
        passing = asyncio.create_task(play.pass_time(DAY + MINUTE))
    await reached.wait()
    return Moment(play, passing)


async def in_flight(stage: Stage, step: str) -> Moment:
    reached, go_on = asyncio.Event(), asyncio.Event()

    def hold_up() -> None:
        if STEPS[step] is NUDGE:
            stage.provider.pause_message = (reached, go_on)
        else:
            stage.provider.pause_before = (reached, go_on)

    return await _until_reached(stage, step, reached, hold_up)


async def while_asking(stage: Stage, step: str, *, request: str) -> Moment:
    """The provider is being asked: for the thread, for the template, or how the run stands before a follow-up."""
    reached, go_on = asyncio.Event(), asyncio.Event()
    return await _until_reached(
        stage, step, reached, lambda: stage.provider.pause_at.update({request: (reached, go_on)})
    )


async def silence_being_judged(stage: Stage, step: str) -> Moment:
    play = await Case(stage, "follow-up-2").begin()
    await play.pass_time(DAY + MINUTE)
    reached, go_on = asyncio.Event(), asyncio.Event()
    stage.provider.pause_at["read_flow_run"] = (reached, go_on)
    passing = asyncio.create_task(play.pass_time(SILENCE + MINUTE))
    await reached.wait()
    return Moment(play, passing)


async def before_admission(stage: Stage, step: str) -> Moment:
    return Moment(await stage.play(PLAN))


def nightly() -> Plan:
    """The same steps by a plan that is closed now, and again when the first follow-up is due."""
    now = datetime.now(UTC)
    opens, closes = ((now + length).strftime("%H:%M") for length in (6 * HOUR, 12 * HOUR))
    nudged = FollowUp(after=DAY + 9 * HOUR, template=NUDGE)
    again = FollowUp(after=DAY, template=AGAIN, flow=FLOW)
    window = {"hours": {"mon-sun": f"{opens}-{closes}"}, "zone": "UTC"}
    return plan(follow_ups=(nudged, again), silence="3d", send_window=window)


async def overnight(stage: Stage, step: str) -> Moment:
    play = await stage.play(nightly())
    await play.rest()
    if step != "opening":
        await play.pass_time(6 * HOUR + MINUTE + DAY + 9 * HOUR + MINUTE)
    assert (await play.snapshot()).stage == "held"
    assert len(stage.provider.effects) == list(STEPS).index(step)
    return Moment(play, slack=DAY)


EACH_STEP: dict[str, Reach] = {
    **{name: partial(resting, moment=name) for name in RESTING},
    "line-flagged": line_flagged,
    "in-flight": in_flight,
    "template-being-read": partial(while_asking, request="read_template"),
}
CASES: dict[tuple[str, str], Reach] = {
    **{(step, name): reach for step in STEPS for name, reach in EACH_STEP.items()},
    ("opening", "before-admission"): before_admission,
    ("opening", "thread-being-opened"): partial(while_asking, request="open_thread"),
    ("opening", "overnight"): overnight,
    ("follow-up-1", "overnight"): overnight,
    ("follow-up-1", "provider-asked-first"): partial(while_asking, request="read_flow_run"),
    ("follow-up-2", "provider-asked-first"): partial(while_asking, request="read_flow_run"),
    ("silence", "provider-asked-first"): silence_being_judged,
}
ALWAYS = {
    ("opening", "overnight"),
    ("follow-up-1", "line-flagged"),
    ("follow-up-1", "has-left"),
    ("follow-up-1", "overnight"),
    ("follow-up-2", "template-pending"),
    ("follow-up-2", "answer-lost"),
    ("silence", "provider-asked-first"),
}
EACH = pytest.mark.parametrize(
    ("step", "moment"),
    [pytest.param(*case, marks=[] if case in ALWAYS else [pytest.mark.long], id="-".join(case)) for case in CASES],
)


async def paused(stage: Stage, step: str, moment: str) -> Moment:
    """Paused there for two days, in which nothing left."""
    at = await CASES[step, moment](stage, step)
    await at.play.command(names.PAUSE, "pause-1")
    await at.go_on()
    left = len(stage.provider.effects)
    await at.play.pass_time(PAUSED_FOR)
    assert len(stage.provider.effects) == left, "nothing leaves while it is paused"
    assert (await at.play.snapshot()).stage == "paused"
    return at


@EACH
async def test_resumed_it_goes_on_where_it_was_and_every_deadline_has_moved_by_the_pause(
    stage: Stage, step: str, moment: str
) -> None:
    at = await paused(stage, step, moment)
    await heal(stage)
    await at.play.command(names.RESUME, "resume-1")
    await at.play.rest()
    await _say_what_arrived(at.play)
    await at.play.pass_time(12 * DAY)
    settlement = (await at.play.result()).settlement
    assert settlement.outcome is Outcome.NO_REPLY
    assert [send.step for send in stage.provider.effects] == list(STEPS), "each step once, in its order"
    _check_deadlines((await at.play.snapshot()).decisions, at, settlement.at)


@pytest.mark.long
@EACH
async def test_what_comes_in_while_it_is_paused_is_heard(stage: Stage, step: str, moment: str) -> None:
    at = await paused(stage, step, moment)
    left = len(stage.provider.effects)
    await at.play.tell(OptOutReceived(scope="line", text="STOP"))
    assert (await at.play.result()).settlement.outcome is Outcome.OPTED_OUT
    assert len(stage.provider.effects) == left


async def _say_what_arrived(play: Play) -> None:
    """Where nobody but a person can know: what the provider's own records say."""
    snapshot = await play.snapshot()
    there = {send.key for send in play.stage.provider.effects}
    for send in snapshot.sends:
        if snapshot.needs_human and send.send_state is LedgerState.UNKNOWN:
            await play.command(
                names.RESOLVE_SEND, "told-1", model=ResolveSend, send_key=send.key, was_sent=send.key in there
            )
            await play.rest()


def _check_deadlines(decisions: tuple[Decision, ...], at: Moment, ended: datetime) -> None:
    """Between two steps as much time passed in which it was not paused as the plan says; windows stayed in place."""
    its_plan = at.play.engagement.plan
    since, until = (next(d.at for d in decisions if d.rule == rule) for rule in (names.PAUSE, names.RESUME))
    sent = [d.at for d in decisions if d.rule == "sent"]
    assert until - since >= PAUSED_FOR - MINUTE

    def running(begin: datetime, end: datetime) -> timedelta:
        return (end - begin) - max(timedelta(0), min(end, until) - max(begin, since))

    waits = [*(follow_up.after or timedelta(0) for follow_up in its_plan.follow_ups), its_plan.silence.after]
    instants = [*sent, ended]
    assert len(instants) == len(waits) + 1
    for n, wait in enumerate(waits):
        slack = at.slack if n < len(its_plan.follow_ups) else HOUR
        assert wait <= running(instants[n], instants[n + 1]) <= wait + slack, f"step {n + 1}"
    if its_plan.send_window is not None:
        assert all(is_open(its_plan.send_window, ZoneInfo("UTC"), instant) for instant in sent)
