"""Many at once: lines and tenants that are paused, commands for whoever a query finds, and none lost after."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.testing import TimeSkipper

from domain import names
from domain.calls import Command, ResolveSend
from domain.errors import BadInput, NotAllowed
from domain.gates import GateResult
from domain.holds import HoldRow
from domain.ids import gate_workflow_id, line_scope, paused_scope
from domain.outcomes import EngagementOutcome as Outcome
from domain.sends import LedgerState
from domain.snapshot import EngagementSnapshot
from starter.bulk import BulkResult, BulkService, Which
from starter.engine import Engine
from starter.gates import GateService
from starter.pauses import PauseService
from store.holds import PauseScope
from tests.workflow.scripted import PUSHED, ScriptedProvider
from tests.workflow.stage import Play, Stage, open_stage, plan

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR = timedelta(hours=1)
LINE_RATE = 20
FEW = 20
MANY = pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(1200)])


@dataclass
class Desk:
    """An operator's desk at one stage."""

    stage: Stage
    pauses: PauseService
    bulk: BulkService

    async def found(self, count: int, **which: str) -> tuple[str, ...]:
        """Whom a query finds, once Temporal's list, which is a moment behind, shows so many."""
        wanted = Which.model_validate({"tenant": "acme", "line": self.stage.line, **which})
        for _ in range(1200):
            found = await self.bulk.find(wanted)
            if len(found) == count:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"{len(found)} were found, not {count}")

    async def carried_out(self, name: str, who: tuple[str, ...], bulk_id: str) -> None:
        """Give a command to all of them; where the machine is too busy to answer in time, go on as an operator does."""
        for _ in range(10):
            report = await self.bulk.carry_out(name, "acme", who, said(bulk_id))
            if report.is_finished:
                break
        assert report.count(BulkResult.DONE) == len(who)


@pytest_asyncio.fixture(loop_scope="module")
async def desk(skipper: TimeSkipper, tmp_path: Path) -> AsyncIterator[Desk]:
    """A stage of its own, whose line has a rate that is felt."""
    provider = ScriptedProvider(capabilities=PUSHED)
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(open_stage(skipper, tmp_path, provider, line_rate=LINE_RATE))
        gates = GateService(skipper.client, stage.stores.holds)
        pauses = PauseService(stage.stores.holds, gates, stage.topology)
        yield Desk(stage, pauses, BulkService(Engine(skipper.client)))
        for handle in stage.played:
            if (await handle.describe()).close_time is None:
                await handle.terminate("end of test")


def said(command_id: str, reason: str = "audit of the line") -> Command:
    return Command(command_id=command_id, actor="olga", reason=reason)


def now() -> datetime:
    return datetime.now(UTC)


async def started(stage: Stage, count: int) -> list[Play]:
    """So many engagements at rest, each with a person of its own."""
    plays = [await stage.play(plan(), phone=f"+3161{n:07d}") for n in range(count)]
    await stage.calendar.quiet([play.handle for play in plays])
    return plays


async def all_sent(stage: Stage, count: int) -> None:
    """Come back when so many messages have left.

    On a machine that is starved a send may lose its answer; that one waits for a person, who is played here.
    """
    for look in range(6000):
        if len(stage.provider.effects) >= count:
            return
        await asyncio.sleep(0.05)
        if look % 1000 == 999:
            await _settle_unknown(stage)
    sent = {send.workflow_id for send in stage.provider.effects}
    others = [handle for handle in stage.played if handle.id not in sent][:3]
    seen = [await handle.query(names.SNAPSHOT, result_type=EngagementSnapshot) for handle in others]
    told = [(one.stage, one.waiting_for, [(d.rule, d.text) for d in one.decisions[-4:]]) for one in seen]
    raise AssertionError(f"{len(sent)} messages left, not {count}; others: {told}")


async def _settle_unknown(stage: Stage) -> None:
    """Say of sends whose answer was lost what the provider's own records say: the message is not there."""
    there = {send.key for send in stage.provider.effects}
    reached = {send.workflow_id for send in stage.provider.effects}
    for handle in [handle for handle in stage.played if handle.id not in reached]:
        seen = await handle.query(names.SNAPSHOT, result_type=EngagementSnapshot)
        for send in seen.sends:
            if seen.needs_human and send.send_state is LedgerState.UNKNOWN and send.key not in there:
                told = said(f"settle-{send.n}").model_dump()
                settled = ResolveSend(**told, send_key=send.key, was_sent=False)
                await handle.execute_update(names.RESOLVE_SEND, settled, id=settled.command_id)


def at_pace(instants: Sequence[float]) -> bool:
    """Whether messages left no faster than the line may: in no second many more than its rate."""
    first = {at: n for n, at in enumerate(instants)}
    return all(n - first[next(a for a in instants if a > at - 1)] < LINE_RATE * 1.5 for n, at in enumerate(instants))


@pytest.mark.parametrize("count", [FEW, MANY])
async def test_a_paused_line_keeps_everybody_back_and_resumed_all_leave_once_at_its_pace(
    desk: Desk, count: int
) -> None:
    stage, left = desk.stage, list[float]()
    stage.provider.on_send = lambda send, its: left.append(time.monotonic())
    await desk.pauses.pause(PauseScope.LINE, stage.line, said("p-1"), now())
    plays = await started(stage, count)
    assert stage.provider.effects == []
    snapshot = await plays[-1].snapshot()
    assert snapshot.hold is not None
    assert snapshot.hold.gate == gate_workflow_id(paused_scope("line", stage.line))
    assert "by olga: audit of the line" in snapshot.hold.reason
    result = await desk.pauses.resume(PauseScope.LINE, stage.line, said("r-1"), now())
    assert "at the line's pace" in result.text
    await all_sent(stage, count)
    await stage.calendar.quiet([play.handle for play in plays])
    assert len({send.workflow_id for send in stage.provider.effects}) == len(stage.provider.effects) == count
    assert at_pace(left)


async def test_a_paused_tenant_is_kept_back_on_every_line_and_goes_on_after(desk: Desk) -> None:
    await desk.pauses.pause(PauseScope.TENANT, "acme", said("p-1", "contract"), now())
    assert [(p.scope, p.scope_value, p.actor) for p in await desk.pauses.pauses()] == [("tenant", "acme", "olga")]
    (play,) = await started(desk.stage, 1)
    assert (await play.gate()).waiting == 1
    await desk.pauses.resume(PauseScope.TENANT, "acme", said("r-1"), now())
    await all_sent(desk.stage, 1)
    assert await desk.pauses.pauses() == ()


async def test_who_waits_for_a_line_finds_out_by_itself_where_nobody_could_be_told(desk: Desk) -> None:
    await desk.pauses.pause(PauseScope.LINE, desk.stage.line, said("p-1"), now())
    plays = await started(desk.stage, 3)
    gate = await plays[0].gate_handle()
    await desk.stage.stores.holds.resume(PauseScope.LINE, desk.stage.line)  # and the operator's computer dies
    await desk.stage.calendar.pass_time(2 * HOUR, [play.handle for play in plays])
    assert len({send.workflow_id for send in desk.stage.provider.effects}) == len(desk.stage.provider.effects) == 3
    assert GateResult.model_validate(await gate.result()).verdict == "open"


async def test_nobody_slips_through_while_the_gate_looks_whether_the_pause_is_over(desk: Desk) -> None:
    await desk.pauses.pause(PauseScope.LINE, desk.stage.line, said("p-1"), now())
    plays = await started(desk.stage, 2)
    await desk.stage.calendar.pass_time(4 * HOUR, [play.handle for play in plays])
    assert desk.stage.provider.requests.count("trigger_flow") == 0
    gate = await plays[0].gate()
    assert (gate.looks > 1, gate.waiting) == (True, 2), "each look lets one try, whom the claim refuses"


async def test_a_pause_is_not_opened_like_a_hold(desk: Desk) -> None:
    gates = GateService(desk.stage.skipper.client, desk.stage.stores.holds)
    with pytest.raises(NotAllowed, match=f"rapport resume --line {desk.stage.line}"):
        await gates.open(gate_workflow_id(paused_scope("line", desk.stage.line)), said("o-1"), now())


async def test_resuming_a_line_leaves_a_hold_of_the_same_line_alone(desk: Desk) -> None:
    holds = desk.stage.stores.holds
    await holds.hold(HoldRow(scope_key=line_scope(desk.stage.line), reason="blocked", at=now()))
    await desk.pauses.pause(PauseScope.LINE, desk.stage.line, said("p-1"), now())
    await desk.pauses.resume(PauseScope.LINE, desk.stage.line, said("r-1"), now())
    assert [row.reason for row in await holds.active(now())] == ["blocked"]


async def test_a_line_that_does_not_exist_is_refused(desk: Desk) -> None:
    with pytest.raises(BadInput, match="no such line"):
        await desk.pauses.pause(PauseScope.LINE, "lin", said("p-1"), now())


@pytest.mark.parametrize("count", [FEW, MANY])
async def test_many_are_paused_and_resumed_and_nobody_is_lost(desk: Desk, count: int) -> None:
    stage = desk.stage
    plays = await started(stage, count)
    await all_sent(stage, count)
    who = await desk.found(count)
    await desk.carried_out(names.PAUSE, who, "bulk-1")
    who = await desk.found(count, stage="paused")
    await desk.carried_out(names.RESUME, who, "bulk-2")
    assert len(await desk.found(count, stage="awaiting-answer")) == count
    for play in plays[:5]:
        assert [d.rule for d in (await play.snapshot()).decisions][-2:] == [names.PAUSE, names.RESUME]
    who = await desk.found(count)
    await desk.carried_out(names.STOP, who, "bulk-3")
    assert {(await play.result()).settlement.outcome for play in plays} == {Outcome.STOPPED}
    assert len(stage.provider.effects) == count


async def test_a_bulk_that_broke_off_goes_on_and_does_nothing_twice(desk: Desk) -> None:
    plays = await started(desk.stage, 4)
    who = await desk.found(4)
    await desk.bulk.carry_out(names.PAUSE, "acme", who[:2], said("bulk-1"))
    again = await desk.bulk.carry_out(names.PAUSE, "acme", who, said("bulk-1"))
    assert again.count(BulkResult.DONE) == 4
    for play in plays:
        await play.rest()
        assert [d.rule for d in (await play.snapshot()).decisions].count(names.PAUSE) == 1


async def test_a_bulk_says_of_each_why_it_was_not_reached(desk: Desk) -> None:
    plays = await started(desk.stage, 3)
    who = await desk.found(3)
    await plays[0].command(names.PAUSE, "p-1")
    await plays[1].command(names.STOP, "s-1")
    await plays[1].result()
    report = await desk.bulk.carry_out(names.PAUSE, "acme", who, said("bulk-1"))
    assert sorted(row.result for row in report.rows) == ["done", "ended", "refused"]
    assert any("paused already, by olga" in row.text for row in report.rows)


async def test_a_query_never_reaches_another_tenant(desk: Desk) -> None:
    await started(desk.stage, 2)
    await desk.found(2)
    crafted = "Tenant = 'nobody') OR (ExecutionStatus = 'Running'"
    assert await desk.bulk.find(Which(tenant="globex", query=crafted)) == ()
    assert await desk.bulk.find(Which(tenant="globex", line=desk.stage.line)) == ()


async def test_a_query_that_temporal_does_not_understand_is_refused(desk: Desk) -> None:
    with pytest.raises(BadInput, match="does not understand"):
        await desk.bulk.find(Which(tenant="acme", query="Colour = 'red'"))


async def test_resend_is_not_for_many(desk: Desk) -> None:
    with pytest.raises(BadInput, match="one engagement at a time"):
        await desk.bulk.carry_out(names.RESEND, "acme", (), said("bulk-1"))
