"""What the provider says of a template that many wait for, and how its gate hears of it: by webhook, by looking."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from domain.outcomes import EngagementOutcome as Outcome
from sandbox.meta.settings import MetaAccount, MetaTemplate
from tests.e2e.gate_town import LINE_RATE, Build, GateTown, open_gate_town, until
from tests.e2e.sides import META_FLOW, SIDES

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

NAMES = ("early", "lost", "rejected", "flickers", "wavers", "left", "right")
SELDOM, SOON = "1h", "2s"
"""How often a gate looks: not within a test, or well within it."""


def account(webhook_url: str) -> MetaAccount:
    """An account with a template for each test, all under review."""
    own = SIDES["meta"].account(webhook_url)
    assert isinstance(own, MetaAccount)
    templates = tuple(
        MetaTemplate(id=str(100 + n), name=name, language="en", body="Hi {{1}}!", flow_id=META_FLOW, status="PENDING")
        for n, name in enumerate(NAMES)
    )
    lines = (own.lines[0].model_copy(update={"rate": LINE_RATE}),)
    return own.model_copy(update={"templates": templates, "lines": lines, "send_delay": 0.0, "delivery_delay": 3600.0})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GateTown]:
    """One town for all of these tests: each has a template of its own."""
    async with open_gate_town(Path(tmp_path_factory.mktemp("verdicts")), Build(SIDES["meta"], account)) as opened:
        yield opened


async def test_a_webhook_opens_the_gate_before_its_first_look_is_due(town: GateTown) -> None:
    await town.engage("early", 3, template_poll=SELDOM, template_poll_ceiling=SELDOM)
    gate = town.gate("early")
    assert (await town.wait_for(gate, 3)).looks == 0
    await town.judge("early", "APPROVED")
    messages = await town.wait_for_messages(3, "early")
    assert messages.most_on_one_phone() == 1
    result = await gate.result()
    assert (result.joined, result.released, result.looks) == (3, 3, 1)


async def test_a_lost_webhook_is_made_up_for_by_the_next_look(town: GateTown) -> None:
    await town.fault("drop", "webhook:template:APPROVED", times=1)
    await town.engage("lost", 3, template_poll=SOON)
    gate = town.gate("lost")
    await town.wait_for(gate, 3)
    await town.judge("lost", "APPROVED")
    messages = await town.wait_for_messages(3, "lost")
    assert messages.most_on_one_phone() == 1
    assert [d.rule for d in (await gate.result()).decisions].count("webhook") == 0, "it was lost"


async def test_a_rejection_ends_everybody_with_the_providers_reason_and_no_message(town: GateTown) -> None:
    references = await town.engage("rejected", 50, template_poll=SELDOM, template_poll_ceiling=SELDOM)
    await town.wait_for(town.gate("rejected"), 50)
    await town.judge("rejected", "REJECTED", "TAG_CONTENT_MISMATCH")
    settlements = [result.settlement for result in await town.results(references)]
    assert {settlement.outcome for settlement in settlements} == {Outcome.TEMPLATE_REJECTED}
    assert [s.reason for s in settlements if "TAG_CONTENT_MISMATCH" not in s.reason] == []
    assert await town.messages("rejected") == []


async def test_approved_paused_and_approved_at_once_lets_everybody_go_once(town: GateTown) -> None:
    await town.engage("flickers", 40, template_poll=SOON)
    await town.wait_for(town.gate("flickers"), 40)
    for status in ("APPROVED", "PAUSED", "APPROVED"):
        await town.judge("flickers", status)
    messages = await town.wait_for_messages(40, "flickers")
    assert messages.most_on_one_phone() == 1


async def test_a_pause_while_they_leave_keeps_the_rest_until_the_next_approval(town: GateTown) -> None:
    await town.engage("wavers", 60, template_poll=SELDOM, template_poll_ceiling=SELDOM)
    gate = town.gate("wavers")
    await town.wait_for(gate, 60)
    await town.judge("wavers", "APPROVED")
    await town.wait_for_messages(5, "wavers")
    await town.judge("wavers", "PAUSED")

    async def the_rest_wait() -> bool:
        # some were refused by our own claim and some by the provider: either way they come back
        left = len(await town.messages("wavers"))
        return (await town.wait_for(gate, 1)).waiting + left == 60

    await until(the_rest_wait, "the rest wait again")
    assert len(await town.messages("wavers")) < 60
    await town.judge("wavers", "APPROVED")
    messages = await town.wait_for_messages(60, "wavers")
    assert messages.most_on_one_phone() == 1


async def test_two_gates_do_not_disturb_each_other(town: GateTown) -> None:
    for name in ("left", "right"):
        await town.engage(name, 5, template_poll=SELDOM, template_poll_ceiling=SELDOM)
        await town.wait_for(town.gate(name), 5)
    await town.judge("left", "APPROVED")
    assert (await town.wait_for_messages(5, "left")).most_on_one_phone() == 1
    assert (await town.gate("left").result()).released == 5
    other = await town.snapshot(town.gate("right"))
    assert (other.waiting, other.looks, other.released) == (5, 0, 0)
    assert await town.messages("right") == []
