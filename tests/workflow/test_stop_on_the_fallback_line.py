"""Who opts out, or is stopped, while the fallback line is being opened hears nothing more on either line."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from domain import names
from domain.contacts import ContactChange, OptOut, OptOutScope
from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, Scope
from domain.events import MessageStatus, MessageStatusChanged, OptOutReceived
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import Plan
from domain.sends import TemplateStatus
from tests.workflow.scripted import ScriptedProvider
from tests.workflow.second_line import SecondLine, open_second_line
from tests.workflow.stage import Play, Stage, plan

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
FAILED = MessageStatusChanged(message_status=MessageStatus.FAILED, codes=("131026",))
TEMPLATE = "retry_v1"


@pytest_asyncio.fixture(loop_scope="module")
async def second(stage: Stage) -> AsyncIterator[SecondLine]:
    """The other line of the tenant."""
    async with open_second_line(stage) as line:
        yield line


def planned(second: SecondLine) -> Plan:
    """Three days on the first line, two on the second."""
    opening = {"template": {"name": TEMPLATE, "language": "nl"}, "flow": {"id": "form-9"}}
    over = {"line": second.name, "opening": opening, "silence": {"after": "2d", "then": "close"}}
    silence = {"after": "3d", "then": "fallback-line", "fallback": over}
    return Plan.model_validate({**plan().model_dump(), "silence": silence})


async def going_over(second: SecondLine) -> Play:
    """An engagement that has just heard that its opening on the first line failed."""
    play = await second.play(planned(second))
    await play.rest()
    await play.tell(FAILED, thread_id="thread-1")
    return play


def template_pending(its: ScriptedProvider) -> None:
    its.shut[TEMPLATE] = TemplateStatus.PENDING


def account_held(its: ScriptedProvider) -> None:
    its.send_endings = [ProviderRejected("no credit", scope=Scope.ACCOUNT, code="402")]


def provider_away(its: ScriptedProvider) -> None:
    its.send_endings = [ProviderUnavailable("down", retry_after=HOUR)]


def answer_lost(its: ScriptedProvider) -> None:
    its.send_endings, its.lost_without_effect = [OutcomeUnknown("the answer was lost")], True


def has_left(its: ScriptedProvider) -> None:
    """Nothing stands in the way."""


MOMENTS = {
    "template-pending": (template_pending, 0),
    "account-held": (account_held, 0),
    "provider-away": (provider_away, 0),
    "answer-lost": (answer_lost, 0),
    "has-left": (has_left, 1),
}
"""What makes the second line difficult, and how many messages have left there by then."""


async def by_word(second: SecondLine, play: Play) -> Outcome:
    """As the gateway does: the opt-out stands in the store before the engagement hears of it."""
    opt_out = OptOut(scope=OptOutScope.LINE, scope_value=second.name, source="whatsapp-opt-out", at=datetime.now(UTC))
    await play.stage.stores.contacts.opt_out(play.engagement.contact_id, opt_out)
    await play.tell(OptOutReceived(scope="line", text="STOP"))
    return Outcome.OPTED_OUT


async def by_hand(second: SecondLine, play: Play) -> Outcome:
    """As the command line does."""
    opt_out = OptOut(scope=OptOutScope.TENANT, scope_value="acme", source="olga: by telephone", at=datetime.now(UTC))
    await play.stage.stores.contacts.opt_out(play.engagement.contact_id, opt_out)
    await play.handle.signal(names.CONTACT_CHANGED, ContactChange(key="opt-out:1", opt_out=opt_out, actor="olga"))
    return Outcome.OPTED_OUT


async def by_operator(second: SecondLine, play: Play) -> Outcome:
    """As an operator stops it; the person may be written to as before."""
    await play.command(names.STOP)
    return Outcome.STOPPED


Way = Callable[[SecondLine, Play], Awaitable[Outcome]]
WAYS: dict[str, Way] = {"by-word": by_word, "by-hand": by_hand, "by-operator": by_operator}


def left(second: SecondLine) -> tuple[int, int]:
    """How many messages left on the first line and on the second."""
    return len(second.stage.provider.effects), len(second.provider.effects)


@pytest.mark.parametrize(
    ("moment", "way"),
    [
        pytest.param(moment, way, marks=[] if (m + w) % 2 else [pytest.mark.long], id=f"{moment}-{name}")
        for m, moment in enumerate(MOMENTS)
        for w, (name, way) in enumerate(WAYS.items())
    ],
)
async def test_nothing_leaves_on_either_line_after_a_stop_while_the_second_is_opened(
    second: SecondLine, moment: str, way: Way
) -> None:
    prepare, there = MOMENTS[moment]
    prepare(second.provider)
    play = await going_over(second)
    await play.rest()
    snapshot = await play.snapshot()
    assert (snapshot.line, snapshot.settlement, left(second)) == (second.name, None, (1, there))
    outcome = await way(second, play)
    assert (await play.result()).settlement.outcome is outcome
    assert left(second) == (1, there)
    assert await second.stage.stores.contacts.open_engagements(play.engagement.contact_id) == ()


@pytest.mark.parametrize(
    ("when", "way"),
    [
        pytest.param(when, way, marks=[] if (n, name) == (0, "by-word") else [pytest.mark.long], id=f"{when}-{name}")
        for n, when in enumerate(("before-the-request", "before-the-answer"))
        for name, way in WAYS.items()
    ],
)
async def test_a_message_that_is_on_its_way_on_the_second_line_is_the_last_one(
    second: SecondLine, when: str, way: Way
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    if when == "before-the-request":
        second.provider.pause_before = (reached, go_on)
    else:
        second.provider.pause_after = (reached, go_on)
    play = await going_over(second)
    await reached.wait()
    outcome = await way(second, play)
    go_on.set()
    assert (await play.result()).settlement.outcome is outcome
    assert left(second) == (1, 1)


async def test_an_opt_out_that_nobody_heard_of_is_found_when_the_second_line_is_about_to_open(
    second: SecondLine,
) -> None:
    template_pending(second.provider)
    play = await going_over(second)
    await play.rest()
    opt_out = OptOut(scope=OptOutScope.ALL, source="import", at=datetime.now(UTC))
    await second.stage.stores.contacts.opt_out(play.engagement.contact_id, opt_out)
    second.provider.shut.clear()
    await play.pass_time(DAY)
    assert (await play.result()).settlement.outcome is Outcome.OPTED_OUT
    assert left(second) == (1, 0)
