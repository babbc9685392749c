"""Five hundred engagements wait for one template: nothing leaves before it is approved, then all leave in line."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from domain.gates import GateResult
from domain.sends import TemplateStatus
from sandbox.meta.settings import MetaAccount, MetaTemplate
from tests.calendar import Calendar
from tests.e2e.gate_town import LINE_RATE, Build, GateTown, Messages, open_gate_town, until
from tests.e2e.sides import META_FLOW, SIDES
from tests.figures import Show

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

CROWD = 500
TEMPLATE = "invitation"
HOUR = timedelta(hours=1)
READ = "template-list"
"""The simulator's name for how the client reads a template."""
MOST_READS = 10
"""After one, two, four and eight minutes, then every ten minutes, each a tenth sooner at most."""
LATER = 3600.0
"""Seconds until the provider tells that a message was sent: not within the test, which is about leaving."""


def account(webhook_url: str) -> MetaAccount:
    """An account whose one template is still under review."""
    own = SIDES["meta"].account(webhook_url)
    assert isinstance(own, MetaAccount)
    template = MetaTemplate(
        id="11", name=TEMPLATE, language="en", body="Hi {{1}}, two minutes?", flow_id=META_FLOW, status="PENDING"
    )
    lines = (own.lines[0].model_copy(update={"rate": LINE_RATE}),)
    return own.model_copy(update={"templates": (template,), "lines": lines, "send_delay": LATER})


@dataclass(frozen=True)
class Rush:
    """What was seen."""

    reads: int
    """Of the template at the provider, during an hour of PENDING."""
    while_paused: Messages
    messages: Messages
    refused: int
    """Requests to send that the provider did not take."""
    all_reads: int
    gate: GateResult
    events: int
    """In the gate's history."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rush(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rush]:
    """The whole story; each test tells a part of it."""
    async with open_gate_town(Path(tmp_path_factory.mktemp("rush")), Build(SIDES["meta"], account)) as town:
        yield await played(town)


async def played(town: GateTown) -> Rush:
    """An hour under review, a pause, an approval."""
    gate = town.gate(TEMPLATE)
    await town.engage(TEMPLATE, CROWD)
    await town.wait_for(gate, CROWD)
    reads = len(await town.calls(READ))
    await Calendar(town.skipper).pass_time(HOUR, [gate])
    reads = len(await town.calls(READ)) - reads
    await town.judge(TEMPLATE, "PAUSED")

    async def paused() -> bool:
        reading = (await town.snapshot(gate)).reading
        return reading is not None and reading.template_status is TemplateStatus.PAUSED

    async def all_left() -> bool:
        return len(await town.taken()) >= CROWD

    await until(paused, "the gate knows of the pause")
    while_paused = await town.taken()
    await town.judge(TEMPLATE, "APPROVED")
    await until(all_left, "all left", every=1)
    messages = await town.taken()
    result = await gate.result()
    return Rush(
        reads=reads,
        while_paused=while_paused,
        messages=messages,
        refused=len(await town.calls("message-send")) - len(messages),
        all_reads=len(await town.calls(READ)),
        gate=result,
        events=sum(await town.lengths(gate)),
    )


async def test_an_hour_of_waiting_costs_one_gates_looks_however_many_wait(rush: Rush) -> None:
    assert 5 <= rush.reads <= MOST_READS
    assert rush.all_reads == rush.gate.looks + 1, "the gate's, and one of the first who came"


async def test_nothing_leaves_while_the_template_is_not_approved(rush: Rush) -> None:
    assert rush.while_paused == []
    assert rush.gate.joined == CROWD


async def test_all_leave_once_it_is_approved_and_none_twice(rush: Rush) -> None:
    assert len(rush.messages) == CROWD
    assert rush.messages.most_on_one_phone() == 1
    assert (rush.gate.released, rush.gate.left) == (CROWD, 0)


async def test_no_second_sees_more_than_the_line_may_send(rush: Rush, show: Show) -> None:
    assert rush.refused == 0, "the provider never had to slow us down"
    assert rush.messages.worst_second() <= LINE_RATE
    show(
        f"gate, {CROWD} waiters at {LINE_RATE}/s: {len(rush.messages)} messages, worst second "
        f"{rush.messages.worst_second()}, mean {rush.messages.per_second():.1f}/s, template reads {rush.all_reads} "
        f"({rush.reads} in an hour of PENDING), {rush.events} history events of the gate"
    )
