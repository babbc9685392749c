"""Thirty days with the whole product: personas answer, or do not, on the sandbox's clock."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from domain.outcomes import EngagementOutcome as Outcome
from tests.e2e.town import Town, open_town, plan

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

PERSONAS = {
    "answers": ("+31600000001", Outcome.COMPLETED, ["invitation"]),
    "answers-later": ("+31600000091", Outcome.COMPLETED, ["invitation"]),
    "declines": ("+31600000092", Outcome.DECLINED, ["invitation"]),
    "silent": ("+31600000093", Outcome.NO_REPLY, ["invitation", "reminder"]),
    "silent-without-session": ("+31600000099", Outcome.NO_REPLY, ["invitation", "reminder"]),
    "unreachable": ("+31600000094", Outcome.UNREACHABLE, []),
    "texts": ("+31600000095", Outcome.NO_REPLY, ["invitation", "reminder"]),
    "stops": ("+31600000096", Outcome.OPTED_OUT, ["invitation"]),
    "abandons": ("+31600000097", Outcome.NO_REPLY, ["invitation", "reminder"]),
    "answers-after-follow-up": ("+31600000098", Outcome.COMPLETED, ["invitation", "reminder"]),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """One town for all of these tests: they use other people."""
    async with open_town(Path(tmp_path_factory.mktemp("town"))) as opened:
        yield opened


async def test_everybody_comes_to_their_own_end_within_thirty_days(town: Town) -> None:
    for persona, (phone, _, _) in PERSONAS.items():
        await town.engage(persona, phone)
    await town.pass_time(timedelta(days=30))
    ends = {persona: (await town.result(persona)).settlement.outcome for persona in PERSONAS}
    assert ends == {persona: outcome for persona, (_, outcome, _) in PERSONAS.items()}
    received = {persona: await town.received(phone) for persona, (phone, _, _) in PERSONAS.items()}
    assert received == {persona: messages for persona, (_, _, messages) in PERSONAS.items()}
    heard = [event["data"]["reference"] for event in await town.heard_by_ats()]
    assert sorted(reference for reference in heard if reference in PERSONAS) == sorted(PERSONAS), "each outcome once"


async def test_an_answer_that_the_provider_lost_on_the_way_is_found_before_silence_is_declared(town: Town) -> None:
    phone = "+31600000011"
    await town.fault("drop", operation="webhook:flowRuns:finished", number=phone[1:])
    await town.engage("lost-webhook", phone, plan(follow_ups=()))
    await town.pass_time(timedelta(days=6))
    assert (await town.result("lost-webhook")).settlement.outcome is Outcome.COMPLETED
    assert await town.received(phone) == ["invitation"]


@pytest.mark.parametrize(("kind", "phone"), [("cut-after", "+31600000021"), ("error-after", "+31600000022")])
async def test_a_lost_answer_of_the_provider_becomes_one_message(town: Town, kind: str, phone: str) -> None:
    await town.fault(kind, number=phone[1:])
    await town.engage(f"lost-{kind}", phone)
    await town.pass_time(timedelta(days=1))
    assert (await town.result(f"lost-{kind}")).settlement.outcome is Outcome.COMPLETED
    assert await town.received(phone) == ["invitation"]


@pytest.mark.parametrize(("kind", "phone"), [("cut-before", "+31600000031"), ("throttle", "+31600000032")])
async def test_a_request_that_never_took_effect_is_made_again(town: Town, kind: str, phone: str) -> None:
    await town.fault(kind, number=phone[1:], options={"retry_after": 600} if kind == "throttle" else {})
    await town.engage(f"no-effect-{kind}", phone)
    await town.pass_time(timedelta(days=1))
    assert (await town.result(f"no-effect-{kind}")).settlement.outcome is Outcome.COMPLETED
    assert await town.received(phone) == ["invitation"]


@pytest.mark.parametrize(
    ("kind", "phone"), [("duplicate", "+31600000041"), ("reorder", "+31600000042"), ("before-answer", "+31600000043")]
)
async def test_webhooks_that_come_twice_early_or_in_disorder_change_nothing(town: Town, kind: str, phone: str) -> None:
    await town.fault(kind, operation="webhook", number=phone[1:], times=6)
    await town.engage(f"hooks-{kind}", phone)
    await town.pass_time(timedelta(days=1))
    result = await town.result(f"hooks-{kind}")
    assert (result.settlement.outcome, result.sends) == (Outcome.COMPLETED, 1)


async def test_a_wrong_credential_holds_everybody_and_fails_nobody(town: Town) -> None:
    phone = "+31600000051"
    await town.fault("unauthorized", number=phone[1:])
    await town.engage("held", phone)
    await town.calendar.quiet(town.handles.values())
    view = await town.service.get("acme", "held")
    assert view.snapshot is not None
    assert view.snapshot.hold is not None
    assert (view.snapshot.hold.rule, view.snapshot.needs_human) == ("account-rejected", True)
    await town.pass_time(timedelta(days=1))
    assert (await town.result("held")).settlement.outcome is Outcome.COMPLETED
    assert await town.received(phone) == ["invitation"]
