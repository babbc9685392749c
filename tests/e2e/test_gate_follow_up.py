"""A template that is paused between the opening and the follow-up holds the follow-up, and nothing else."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from domain.outcomes import EngagementOutcome as Outcome
from tests.e2e.sides import SIDES
from tests.e2e.town import Town, open_town

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

META = SIDES["meta"]
REMINDER = "12"
"""Meta's id of the reminder's template."""


@pytest_asyncio.fixture(loop_scope="module")
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    """A town for each test: what one has read after days of its calendar would be the future of the other."""
    async with open_town(tmp_path) as opened:
        yield opened


async def judge(town: Town, status: str) -> None:
    """Give the reminder's template another status."""
    (await town.sandbox.post(f"/control/meta/templates/{REMINDER}", json={"status": status})).raise_for_status()
    await town.settled()


async def held_follow_up(town: Town, reference: str, phone: str) -> None:
    """An engagement whose opening arrived, whose person is silent and whose follow-up is held."""
    await town.seat(phone, "silent", session_ends=False)
    await town.engage(META, reference, phone)
    await town.pass_time(timedelta(hours=1))
    assert await town.received(phone) == ["invitation"]
    await judge(town, "PAUSED")
    await town.pass_time(timedelta(days=3))
    view = await town.service.get("acme", reference)
    assert view.snapshot is not None
    assert view.snapshot.hold is not None
    assert view.snapshot.hold.gate == "gate:template:meta:reminder:en"
    assert await town.received(phone) == ["invitation"]


async def test_an_answer_completes_an_engagement_whose_follow_up_is_held(town: Town) -> None:
    phone = "+31612340111"
    await held_follow_up(town, "answered", phone)
    shown = (await town.sandbox.get("/control/meta/messages", params={"number": phone[1:]})).json()["messages"]
    submission = {"answers": {"available": "yes", "city": "Utrecht"}}
    (await town.sandbox.post(f"/control/meta/messages/{shown[0]['id']}/submit", json=submission)).raise_for_status()
    await town.pass_time(timedelta(hours=1))
    settlement = (await town.result("answered")).settlement
    assert (settlement.outcome, settlement.answers["city"]) == (Outcome.COMPLETED, "Utrecht")
    assert await town.received(phone) == ["invitation"], "the follow-up never left"
    await judge(town, "APPROVED")


async def test_a_held_follow_up_leaves_once_when_its_template_is_approved_again(town: Town) -> None:
    phone = "+31612340112"
    await held_follow_up(town, "silent", phone)
    await judge(town, "APPROVED")
    await town.pass_time(timedelta(hours=1))
    assert await town.received(phone) == ["invitation", "reminder"]
    await town.leave("silent")
