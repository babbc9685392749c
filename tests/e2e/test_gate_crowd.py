"""Thousands who come to one gate and go: its history stays short, it ends when the last has left, nobody is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from domain.errors import Scope
from domain.gates import Gate, GateJoin, GateLeave, JoinRequest, LeaveRequest
from domain.plans import TemplateRef
from domain.sends import TemplateReading, TemplateStatus
from runtime.gates import TemporalGates
from tests.e2e.gate_town import Build, GateTown, insist, open_gate_town
from tests.e2e.sides import SIDES
from tests.figures import Show

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

CROWD = 2500
"""People: each joins and leaves."""
AT_ONCE = 16
SUGGESTED = 1000
"""Events after which the server suggests to continue as new."""
LONGEST = 3 * SUGGESTED
"""What may come while a run is about to continue is bounded by how fast it comes."""
SERVER = ("--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={SUGGESTED}")
GATE = Gate(scope=Scope.TEMPLATE, account="meta", template=TemplateRef(name="invitation", language="en"))
PENDING = TemplateReading(template_status=TemplateStatus.PENDING, raw_status="PENDING")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GateTown]:
    """A town whose server suggests early to continue as new."""
    build = Build(SIDES["meta"], SIDES["meta"].account, SERVER)
    async with open_gate_town(Path(tmp_path_factory.mktemp("crowd")), build) as opened:
        yield opened


async def all_of(signals: Sequence[Awaitable[None]]) -> None:
    """Send signals, many at a time."""
    free = asyncio.Semaphore(AT_ONCE)

    async def send(signal: Awaitable[None]) -> None:
        async with free:
            await signal

    await asyncio.gather(*map(send, signals))


async def test_of_five_thousand_joins_and_leaves_none_is_lost(town: GateTown, show: Show) -> None:
    gates, now = TemporalGates(town.client), datetime.now(UTC)
    people = [f"engagement:acme:crowd-{n}" for n in range(CROWD)]

    def joined(person: str) -> Awaitable[None]:
        join = GateJoin(workflow_id=person, at=now, reading=PENDING, read_at=now)
        return insist(partial(gates.join, JoinRequest(gate=GATE, join=join)))

    def left(person: str) -> Awaitable[None]:
        leave = GateLeave(workflow_id=person, at=now)
        return insist(partial(gates.leave, LeaveRequest(gate=GATE.workflow_id, leave=leave)))

    handle = town.gate("invitation")
    half = CROWD // 2
    await joined(people[0])
    await town.wait_for(handle, 1)
    await all_of([joined(person) for person in people[1:half]])
    await all_of(
        [one for person, other in zip(people[half:], people, strict=False) for one in (joined(person), left(other))]
    )
    snapshot = await town.wait_for(handle, half)
    assert (snapshot.joined, snapshot.left, snapshot.waiting) == (CROWD, half, half)
    await all_of([left(person) for person in people[half:]])
    result = await handle.result()
    assert (result.joined, result.left, result.released) == (CROWD, CROWD, 0)
    lengths = await town.lengths(handle)
    assert len(lengths) > 1, "it continued as new"
    assert max(lengths) <= LONGEST
    show(
        f"gate, {2 * CROWD} joins and leaves: {sum(lengths)} history events in {len(lengths)} runs, "
        f"{max(lengths)} in the longest"
    )
