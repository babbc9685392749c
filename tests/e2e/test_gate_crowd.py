"""Thousands who come to one gate and go: its history stays short, it ends when the last has left, nobody is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
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
from tests.e2e.gate_town import Build, GateHandle, GateTown, insist, open_gate_town
from tests.e2e.sides import SIDES
from tests.figures import Show

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

CROWD = 2500
"""People: each joins and leaves."""
AHEAD = 50
"""Signals that the gate need not have counted yet. Of more than a hundred that come while a workflow task is worked on
the server fails that task to write them down (``history.maximumBufferedEventsBatch``), and no run can end meanwhile."""
AT_ONCE = 16
SUGGESTED = 1000
"""Events after which the server suggests to continue as new."""
LONGEST = 2 * SUGGESTED
"""What may come while a run is about to continue is bounded by how far the crowd is ahead."""
SERVER = ("--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={SUGGESTED}")
PENDING = TemplateReading(template_status=TemplateStatus.PENDING, raw_status="PENDING")

Tell = Callable[[Sequence[Awaitable[None]]], Awaitable[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GateTown]:
    """A town whose server suggests early to continue as new."""
    build = Build(SIDES["meta"], SIDES["meta"].account, SERVER)
    async with open_gate_town(Path(tmp_path_factory.mktemp("crowd")), build) as opened:
        yield opened


async def pace(town: GateTown, gate: GateHandle, signals: Sequence[Awaitable[None]]) -> None:
    """Signal as engagements do, whose lines are paced: a batch, and the next when the gate has counted it."""
    for first in range(0, len(signals), AHEAD):
        batch = signals[first : first + AHEAD]
        before = await town.snapshot(gate)
        await asyncio.gather(*batch)
        await town.wait_for_signals(gate, before.joined + before.left + len(batch))


async def flood(signals: Sequence[Awaitable[None]]) -> None:
    """Signal as fast as the server takes it."""
    free = asyncio.Semaphore(AT_ONCE)

    async def send(signal: Awaitable[None]) -> None:
        async with free:
            await signal

    await asyncio.gather(*map(send, signals))


async def come_and_go(town: GateTown, template: str, tell: Tell) -> list[int]:
    """The crowd joins, half of it while the other half leaves, then all have left: the lengths of the gate's runs."""
    gates, now = TemporalGates(town.client), datetime.now(UTC)
    scope = Gate(scope=Scope.TEMPLATE, account="meta", template=TemplateRef(name=template, language="en"))
    people = [f"engagement:acme:{template}-{n}" for n in range(CROWD)]

    def joined(person: str) -> Awaitable[None]:
        join = GateJoin(workflow_id=person, at=now, reading=PENDING, read_at=now)
        return insist(partial(gates.join, JoinRequest(gate=scope, join=join)))

    def left(person: str) -> Awaitable[None]:
        leave = GateLeave(workflow_id=person, at=now)
        return insist(partial(gates.leave, LeaveRequest(gate=scope.workflow_id, leave=leave)))

    gate = town.gate(template)
    half = CROWD // 2
    await joined(people[0])
    await town.wait_for(gate, 1)
    await tell([joined(person) for person in people[1:half]])
    pairs = zip(people[half:], people, strict=False)
    await tell([one for person, other in pairs for one in (joined(person), left(other))])
    snapshot = await town.wait_for(gate, half)
    assert (snapshot.joined, snapshot.left, snapshot.waiting) == (CROWD, half, half)
    await tell([left(person) for person in people[half:]])
    result = await gate.result()
    assert (result.joined, result.left, result.released) == (CROWD, CROWD, 0)
    return await town.lengths(gate)


async def test_of_five_thousand_joins_and_leaves_none_is_lost_and_no_run_grows_long(town: GateTown, show: Show) -> None:
    lengths = await come_and_go(town, "invitation", partial(pace, town, town.gate("invitation")))
    assert len(lengths) > 1, "it continued as new"
    assert max(lengths) <= LONGEST
    show(
        f"gate, {2 * CROWD} joins and leaves: {sum(lengths)} history events in {len(lengths)} runs, "
        f"{max(lengths)} in the longest"
    )


@pytest.mark.long
async def test_of_a_flood_of_joins_and_leaves_none_is_lost(town: GateTown, show: Show) -> None:
    lengths = await come_and_go(town, "reminder", flood)
    assert len(lengths) > 1, "it continued as new"
    show(f"gate, a flood of {2 * CROWD}: {sum(lengths)} events in {len(lengths)} runs, {max(lengths)} in the longest")
