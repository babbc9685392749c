"""Thirty days with the whole product, on every provider alike: personas answer, or do not, on the sandbox's clock."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from domain.outcomes import EngagementOutcome as Outcome
from tests.e2e.sides import SIDES, Side
from tests.e2e.town import Town, open_town

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

Table = dict[str, tuple[str, Outcome, list[str]]]

ONCE, TWICE = ["invitation"], ["invitation", "reminder"]
PERSONAS: Table = {
    "answers": ("00", Outcome.COMPLETED, ONCE),
    "answers-later": ("91", Outcome.COMPLETED, ONCE),
    "declines": ("92", Outcome.DECLINED, ONCE),
    "silent": ("93", Outcome.NO_REPLY, TWICE),
    "silent-without-session": ("99", Outcome.NO_REPLY, TWICE),
    "unreachable": ("94", Outcome.UNREACHABLE, []),
    "texts": ("95", Outcome.NO_REPLY, TWICE),
    "stops": ("96", Outcome.OPTED_OUT, ONCE),
    "abandons": ("97", Outcome.NO_REPLY, TWICE),
    "answers-after-follow-up": ("98", Outcome.COMPLETED, TWICE),
    "presses-decline": ("71", Outcome.DECLINED, ONCE),
    "changes-answer": ("72", Outcome.COMPLETED, ONCE),
    "blocks": ("73", Outcome.NO_REPLY, TWICE),
}
"""Persona (the last digits of the number), how it ends, and the messages on the phone."""

SEATED: dict[str, tuple[str, dict[str, object]]] = {
    "presses-decline": ("declines", {"by_button": True}),
    "changes-answer": ("changes-answer", {}),
    "blocks": ("blocks", {}),
}
"""Personas that no number means by itself."""

DIFFERENT: dict[str, Table] = {
    # who blocks the line gets nothing more there; the other two cannot tell a block from silence
    "meta": {"blocks": ("73", Outcome.NO_REPLY, ONCE)},
    # Truora tells that a process failed and not why, so a person looks
    "truora": {"unreachable": ("94", Outcome.HANDED_OVER, [])},
}
PREFIX = {"recrubo": "+316000000", "meta": "+316100000", "truora": "+5731400000"}
"""People of their own for each provider, without the two digits that decide who it is."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """One town for all of these tests: they use other people."""
    async with open_town(Path(tmp_path_factory.mktemp("town"))) as opened:
        yield opened


@pytest.fixture(params=list(SIDES))
def side(request: pytest.FixtureRequest) -> Side:
    """Each provider in turn."""
    return SIDES[request.param]


def number(side: Side, last: str) -> str:
    """One of this provider's people by the last two digits of the number, which decide who it is."""
    return PREFIX[side.name] + last


async def test_everybody_comes_to_their_own_end_within_thirty_days(town: Town, side: Side) -> None:
    table = {**PERSONAS, **DIFFERENT.get(side.name, {})}
    phones = {persona: number(side, last) for persona, (last, _, _) in table.items()}
    for persona, (played, options) in SEATED.items():
        await town.seat(phones[persona], played, **options)
    for persona, phone in phones.items():
        await town.engage(side, f"{side.name}-{persona}", phone)
    await town.pass_time(timedelta(days=30))
    ends = {persona: (await town.result(f"{side.name}-{persona}")).settlement.outcome for persona in table}
    assert ends == {persona: outcome for persona, (_, outcome, _) in table.items()}
    received = {persona: await town.received(phone) for persona, phone in phones.items()}
    assert received == {persona: messages for persona, (_, _, messages) in table.items()}
    heard = [event["data"]["reference"] for event in await town.heard_by_ats()]
    expected = sorted(f"{side.name}-{persona}" for persona in table)
    assert sorted(reference for reference in heard if reference in expected) == expected, "each outcome once"


async def test_the_answers_come_back_without_anything_of_ours_in_them(town: Town, side: Side) -> None:
    await town.engage(side, f"{side.name}-words", number(side, "61"))
    await town.pass_time(timedelta(days=1))
    assert (await town.result(f"{side.name}-words")).settlement.answers == {"available": "yes", "city": "Utrecht"}


async def test_an_answer_whose_webhook_was_lost_is_found_before_silence_is_declared(town: Town) -> None:
    side, phone = SIDES["recrubo"], number(SIDES["recrubo"], "11")
    await town.fault(side, "drop", operation="webhook:flowRuns:finished", number=phone[1:])
    await town.engage(side, "lost-webhook", phone, side.plan(follow_ups=()))
    await town.pass_time(timedelta(days=6))
    assert (await town.result("lost-webhook")).settlement.outcome is Outcome.COMPLETED
    assert await town.received(phone) == ONCE


@pytest.mark.parametrize(("kind", "last"), [("cut-after", "21"), ("error-after", "22")])
async def test_a_lost_answer_of_the_provider_becomes_one_message(town: Town, side: Side, kind: str, last: str) -> None:
    phone = number(side, last)
    await town.fault(side, kind, number=phone[1:])
    await town.engage(side, f"{side.name}-{kind}", phone)
    await town.pass_time(timedelta(days=1))
    assert await town.received(phone) == ONCE
    assert (await town.result(f"{side.name}-{kind}")).settlement.outcome is Outcome.COMPLETED


async def test_a_throttled_request_is_made_again(town: Town, side: Side) -> None:
    phone = number(side, "32")
    await town.fault(side, "throttle", number=phone[1:], options={"retry_after": 600})
    await town.engage(side, f"{side.name}-throttled", phone)
    await town.pass_time(timedelta(days=1))
    assert (await town.result(f"{side.name}-throttled")).settlement.outcome is Outcome.COMPLETED
    assert await town.received(phone) == ONCE


async def test_a_request_that_never_took_effect_is_made_again_where_the_provider_can_be_asked(town: Town) -> None:
    side, phone = SIDES["recrubo"], number(SIDES["recrubo"], "31")
    await town.fault(side, "cut-before", number=phone[1:])
    await town.engage(side, "no-effect", phone)
    await town.pass_time(timedelta(days=1))
    assert (await town.result("no-effect")).settlement.outcome is Outcome.COMPLETED
    assert await town.received(phone) == ONCE


@pytest.mark.parametrize("name", ["meta", "truora"])
async def test_what_nobody_can_be_asked_about_goes_to_a_person_and_is_not_repeated(town: Town, name: str) -> None:
    side, phone = SIDES[name], number(SIDES[name], "33")
    await town.fault(side, "cut-before", number=phone[1:])
    await town.engage(side, f"{name}-unknown", phone)
    await town.pass_time(timedelta(days=1))
    view = await town.service.get("acme", f"{name}-unknown")
    assert view.snapshot is not None
    assert (view.snapshot.needs_human, view.snapshot.stage) == (True, "reconciling")
    assert await town.received(phone) == []
    await town.leave(f"{name}-unknown")


@pytest.mark.parametrize(("kind", "last"), [("duplicate", "41"), ("reorder", "42"), ("before-answer", "43")])
async def test_webhooks_twice_early_or_in_disorder_change_nothing(town: Town, side: Side, kind: str, last: str) -> None:
    phone = number(side, last)
    await town.fault(side, kind, operation="webhook", number=phone[1:], times=6)
    await town.engage(side, f"{side.name}-hooks-{kind}", phone)
    await town.pass_time(timedelta(days=1))
    result = await town.result(f"{side.name}-hooks-{kind}")
    assert (result.settlement.outcome, result.sends) == (Outcome.COMPLETED, 1)


async def test_a_wrong_credential_holds_everybody_and_fails_nobody(town: Town, side: Side) -> None:
    phone, reference = number(side, "51"), f"{side.name}-held"
    await town.fault(side, "unauthorized", number=phone[1:])
    await town.engage(side, reference, phone)
    await town.settled()
    view = await town.service.get("acme", reference)
    assert view.snapshot is not None
    assert view.snapshot.hold is not None
    assert (view.snapshot.hold.rule, view.snapshot.needs_human) == ("account-held", False)
    assert view.snapshot.hold.gate == f"gate:account:{side.name}", "the gate asks for a person, once for all"
    await town.pass_time(timedelta(days=1))
    assert (await town.result(reference)).settlement.outcome is Outcome.COMPLETED
    assert await town.received(phone) == ONCE
