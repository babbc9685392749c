"""A credential that stops working: one hold for the account, hardly a call, and everybody goes on once it is mended."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from domain import names
from domain.ids import account_scope
from sandbox.meta.settings import MetaAccount, MetaTemplate
from tests.e2e.gate_town import LINE_RATE, Build, GateTown, open_gate_town
from tests.e2e.sides import META_FLOW, SIDES

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

CROWD = 50
MOST_CALLS = 3
SCOPE = account_scope("meta")


def account(webhook_url: str) -> MetaAccount:
    """An account whose templates are all approved."""
    own = SIDES["meta"].account(webhook_url)
    assert isinstance(own, MetaAccount)
    templates = tuple(
        MetaTemplate(id=str(200 + n), name=name, language="en", body="Hi {{1}}!", flow_id=META_FLOW)
        for n, name in enumerate(("unknown", "opening", "nudge"))
    )
    lines = (own.lines[0].model_copy(update={"rate": LINE_RATE}),)
    return own.model_copy(update={"templates": templates, "lines": lines, "send_delay": 0.0, "delivery_delay": 3600.0})


@pytest_asyncio.fixture(loop_scope="module")
async def town(tmp_path: Path) -> AsyncIterator[GateTown]:
    """A town for each test: the hold of an account holds everybody there."""
    async with open_gate_town(tmp_path, Build(SIDES["meta"], account)) as opened:
        yield opened


async def refused_calls(town: GateTown) -> int:
    """How often the provider was asked with the credential that does not work."""
    return sum(call["status"] == 401 for call in await town.calls())


async def holds(town: GateTown) -> list[str]:
    """What is held now."""
    return [row.scope_key for row in await town.stores.holds.active(datetime.now(UTC))]


async def test_an_operator_lets_everybody_go_on_after_the_credential_was_mended(town: GateTown) -> None:
    await town.fault("unauthorized", "*", times=None)
    await town.engage("unknown", CROWD)
    gate = town.gate_of(SCOPE)
    assert (await town.wait_for(gate, CROWD)).needs_human
    assert await holds(town) == [SCOPE]
    assert 1 <= await refused_calls(town) <= MOST_CALLS
    await town.mend()
    assert (await town.command(gate, names.RELEASE, "the token was made anew")).accepted
    messages = await town.wait_for_messages(CROWD)
    assert messages.most_on_one_phone() == 1
    assert await holds(town) == []
    assert await refused_calls(town) <= MOST_CALLS


async def test_engagements_under_way_wait_together_until_one_of_them_gets_through(town: GateTown) -> None:
    follow_up = {"after": "30s", "template": {"name": "nudge", "language": "en", "variables": ("first_name",)}}
    plan = town.plan("opening", follow_ups=(follow_up | {"flow": SIDES["meta"].flow},))
    await town.engage("opening", CROWD, plan, template_poll="3s")
    await town.wait_for_messages(CROWD, "opening")
    await town.fault("unauthorized", "*", times=None)
    gate = town.gate_of(SCOPE)
    await town.wait_for(gate, CROWD - 1)  # one may be on trial
    assert await holds(town) == [SCOPE]
    assert 1 <= await refused_calls(town) <= MOST_CALLS
    await town.mend()
    messages = await town.wait_for_messages(CROWD, "nudge")
    assert messages.most_on_one_phone() == 1
    assert (await gate.result()).joined >= CROWD
    assert await holds(town) == []
    assert await refused_calls(town) <= MOST_CALLS
