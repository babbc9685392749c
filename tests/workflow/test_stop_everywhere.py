"""A candidate who opts out, at each moment of each step of a plan, hears nothing more from us."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from domain import names
from domain.contacts import ContactChange, OptOut, OptOutScope
from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, Scope
from domain.events import OptOutReceived
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import FollowUp, TemplateRef
from domain.sends import TemplateStatus
from tests.workflow.stage import FLOW, NUDGE, TEMPLATE, Play, Stage, plan

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
AGAIN = TemplateRef(name="again_v1", language="nl", id="template-3")
PLAN = plan(
    follow_ups=(FollowUp(after=DAY, template=NUDGE), FollowUp(after=DAY, template=AGAIN, flow=FLOW)), silence="3d"
)
STEPS = {"opening": TEMPLATE, "follow-up-1": NUDGE, "follow-up-2": AGAIN}


@dataclass(frozen=True)
class Case:
    """One step on one stage."""

    stage: Stage
    step: str

    @property
    def number(self) -> int:
        return list(STEPS).index(self.step)

    async def begin(self) -> Play:
        """The engagement up to the instant before the step."""
        assert self.number > 0, "the opening has no instant before it"
        play = await self.stage.play(PLAN)
        await play.rest()
        for _ in range(self.number - 1):
            await play.pass_time(DAY + timedelta(minutes=1))
        assert len(self.stage.provider.effects) == self.number
        return play

    async def reach(self, prepare: Callable[[], Awaitable[None]]) -> Play:
        """The engagement at the step, on a stage that ``prepare`` made difficult just before."""
        if self.number == 0:
            await prepare()
            play = await self.stage.play(PLAN)
            await play.rest()
        else:
            play = await self.begin()
            await prepare()
            await play.pass_time(DAY + timedelta(minutes=1))
        return play


async def template_pending(case: Case) -> Play:
    async def prepare() -> None:
        template = STEPS[case.step]
        case.stage.provider.shut[template.name] = TemplateStatus.PENDING
        await case.stage.stores.templates.mark_stale(case.stage.line, template.id)

    return await case.reach(prepare)


async def account_held(case: Case) -> Play:
    async def prepare() -> None:
        case.stage.provider.send_endings = [ProviderRejected("no credit", scope=Scope.ACCOUNT, code="402")]

    return await case.reach(prepare)


async def provider_away(case: Case) -> Play:
    async def prepare() -> None:
        case.stage.provider.send_endings = [ProviderUnavailable("down", retry_after=HOUR)]

    return await case.reach(prepare)


async def answer_lost(case: Case) -> Play:
    async def prepare() -> None:
        case.stage.provider.send_endings = [OutcomeUnknown("the answer was lost")]
        case.stage.provider.lost_without_effect = True

    return await case.reach(prepare)


async def has_left(case: Case) -> Play:
    async def prepare() -> None:
        return None

    return await case.reach(prepare)


RESTING = {
    "template-pending": template_pending,
    "account-held": account_held,
    "provider-away": provider_away,
    "answer-lost": answer_lost,
    "has-left": has_left,
}


async def by_word(play: Play) -> None:
    """As the gateway does: the opt-out stands in the store before the engagement hears of it."""
    line = play.stage.line
    opt_out = OptOut(scope=OptOutScope.LINE, scope_value=line, source="whatsapp-opt-out", at=datetime.now(UTC))
    await play.stage.stores.contacts.opt_out(play.engagement.contact_id, opt_out)
    await play.tell(OptOutReceived(scope="line", text="STOP"))


async def by_hand(play: Play) -> None:
    """As the command line does."""
    opt_out = OptOut(scope=OptOutScope.TENANT, scope_value="acme", source="olga: by telephone", at=datetime.now(UTC))
    await play.stage.stores.contacts.opt_out(play.engagement.contact_id, opt_out)
    await play.handle.signal(names.CONTACT_CHANGED, ContactChange(key="opt-out:1", opt_out=opt_out, actor="olga"))


async def unheard(play: Play) -> None:
    """The opt-out is recorded and nobody wakes the engagement: the claim of the next send finds it."""
    opt_out = OptOut(scope=OptOutScope.ALL, source="import", at=datetime.now(UTC))
    await play.stage.stores.contacts.opt_out(play.engagement.contact_id, opt_out)


@pytest.mark.parametrize(
    ("step", "moment", "way"),
    [
        pytest.param(
            step, moment, way, marks=[] if (s + m + w) % 2 == 0 else [pytest.mark.long], id=f"{step}-{moment}-{name}"
        )
        for s, step in enumerate(STEPS)
        for m, moment in enumerate(RESTING)
        for w, (name, way) in enumerate({"by-word": by_word, "by-hand": by_hand}.items())
    ],
)
async def test_nothing_leaves_after_an_opt_out_while_a_step_waits(
    stage: Stage, step: str, moment: str, way: Callable[[Play], Awaitable[None]]
) -> None:
    play = await RESTING[moment](Case(stage, step))
    sent = len(stage.provider.effects)
    await way(play)
    result = await play.result()
    assert result.settlement.outcome is Outcome.OPTED_OUT
    assert len(stage.provider.effects) == sent
    assert await stage.stores.contacts.open_engagements(play.engagement.contact_id) == ()


@pytest.mark.parametrize("when", ["before-the-request", "before-the-answer"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_message_that_is_on_its_way_is_the_last_one(stage: Stage, step: str, when: str) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    case = Case(stage, step)

    def hold_up() -> None:
        if STEPS[step] is NUDGE:
            stage.provider.pause_message = (reached, go_on)
        elif when == "before-the-request":
            stage.provider.pause_before = (reached, go_on)
        else:
            stage.provider.pause_after = (reached, go_on)

    if case.number == 0:
        hold_up()
        play = await stage.play(PLAN)
        passing = None
    else:
        play = await case.begin()
        hold_up()
        passing = asyncio.create_task(play.pass_time(DAY + timedelta(minutes=1)))
    await reached.wait()
    await by_word(play)
    go_on.set()
    result = await play.result()
    if passing is not None:
        await passing
    assert result.settlement.outcome is Outcome.OPTED_OUT
    assert len(stage.provider.effects) == case.number + 1


@pytest.mark.parametrize("step", ["follow-up-1", "follow-up-2"])
async def test_an_opt_out_that_nobody_heard_of_is_found_when_the_next_step_is_about_to_leave(
    stage: Stage, step: str
) -> None:
    case = Case(stage, step)
    play = await case.begin()
    await unheard(play)
    await play.pass_time(DAY + timedelta(minutes=1))
    assert (await play.result()).settlement.outcome is Outcome.OPTED_OUT
    assert len(stage.provider.effects) == case.number
