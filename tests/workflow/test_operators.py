"""Many at once: lines and tenants that are paused, commands for whoever a query finds, and none lost after."""

import asyncio
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
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
from domain.sends import LedgerState, TemplateStatus
from domain.snapshot import EngagementSnapshot
from starter.bulk import BulkResult, BulkRow, BulkService, Which
from starter.engine import Engine
from starter.gates import GateService
from starter.pauses import PauseService
from store.holds import PauseScope
from tests.figures import Show
from tests.workflow.scripted import PUSHED, ScriptedProvider
from tests.workflow.stage import TEMPLATE, Play, Stage, open_stage, plan

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR = timedelta(hours=1)
LINE_RATE = 20
FEW = 20
SOME = pytest.param(40, marks=pytest.mark.timeout(300))
"""More than may leave in a second."""
MANY = pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(1200)])


@dataclass
class Desk:
    """An operator's desk at one stage."""

    stage: Stage
    pauses: PauseService
    bulk: BulkService
    left: list[float]
    """When messages left, by this computer's clock."""

    async def found(self, count: int, **which: str) -> tuple[str, ...]:
        """Whom a query finds, once Temporal's list, which is a moment behind, shows so many."""
        wanted = Which.model_validate({"tenant": "acme", "line": self.stage.line, **which})
        for _ in range(1200):
            found = await self.bulk.find(wanted)
            if len(found) == count:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"{len(found)} were found, not {count}")

    async def broken_off(self, name: str, who: tuple[str, ...], bulk_id: str, *, after: int) -> None:
        """Begin to give a command to all of them, and break it off by hand when so many have it."""
        reached, enough = list[BulkRow](), asyncio.Event()

        def on_row(row: BulkRow) -> None:
            reached.append(row)
            if len(reached) >= after:
                enough.set()

        giving = asyncio.create_task(self.bulk.carry_out(name, "acme", who, said(bulk_id), on_row))
        await enough.wait()
        giving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await giving
        assert sum(row.result is BulkResult.DONE for row in reached) < len(who), "it broke off before the end"

    async def carried_out(
        self,
        name: str,
        who: tuple[str, ...],
        bulk_id: str,
        on_row: Callable[[BulkRow], None] = lambda row: None,
    ) -> None:
        """Give a command to all of them; where the machine is too busy to answer in time, go on as an operator does."""
        for _ in range(10):
            report = await self.bulk.carry_out(name, "acme", who, said(bulk_id), on_row)
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
        left = list[float]()
        provider.on_send = lambda send, its: left.append(time.monotonic())
        yield Desk(stage, pauses, BulkService(Engine(skipper.client)), left)
        for handle in stage.played:
            if (await handle.describe()).close_time is None:
                await handle.terminate("end of test")


def said(command_id: str, reason: str = "audit of the line") -> Command:
    return Command(command_id=command_id, actor="olga", reason=reason)


def now() -> datetime:
    return datetime.now(UTC)


async def started(stage: Stage, count: int, *, first: int = 0, rest: bool = True) -> list[Play]:
    """Engagements up to so many, each with a person of its own; at rest, or at once."""
    plays = [await stage.play(plan(), phone=f"+3161{n:07d}") for n in range(first, count)]
    if rest:
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


async def no_more_left(stage: Stage) -> int:
    """Messages that have left, once none has for a second: what a worker has in hand comes to its own ending."""
    count = -1
    while count != len(stage.provider.effects):
        count = len(stage.provider.effects)
        await asyncio.sleep(1)
    return count


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


def worst_second(instants: Sequence[float]) -> int:
    """How many messages left in the busiest second, wherever it begins."""
    ordered = sorted(instants)
    return max(n - bisect_left(ordered, at - 1) + 1 for n, at in enumerate(ordered))


@pytest.mark.parametrize("count", [SOME, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(600)]), MANY])
async def test_a_paused_line_keeps_everybody_back_and_resumed_all_leave_once_at_its_pace(
    desk: Desk, show: Show, count: int
) -> None:
    stage, left = desk.stage, desk.left
    await desk.pauses.pause(PauseScope.LINE, stage.line, said("p-1"), now())
    plays = await started(stage, count, rest=False)
    await desk.found(count, stage="held")
    assert stage.provider.effects == []
    snapshot = await plays[-1].snapshot()
    assert snapshot.hold is not None
    assert snapshot.hold.gate == gate_workflow_id(paused_scope("line", stage.line))
    assert "by olga: audit of the line" in snapshot.hold.reason
    result = await desk.pauses.resume(PauseScope.LINE, stage.line, said("r-1"), now())
    assert "at the line's pace" in result.text
    await all_sent(stage, count)
    await desk.found(count, stage="awaiting-answer")
    assert len({send.workflow_id for send in stage.provider.effects}) == len(stage.provider.effects) == count
    show(f"{count} kept back by a paused line and let go at once: {worst_second(left)} in the busiest second")
    assert worst_second(left) <= LINE_RATE


@pytest.mark.parametrize("count", [SOME, MANY])
async def test_a_campaign_paused_while_it_leaves_and_resumed_in_two_goes_reaches_everybody_once_at_its_pace(
    desk: Desk, show: Show, count: int
) -> None:
    stage, begun = desk.stage, time.monotonic()
    under_way = await started(stage, count // 2, rest=False)  # some of them have left by the time of the pause
    stage.provider.shut[TEMPLATE.name] = TemplateStatus.PAUSED
    await stage.stores.templates.mark_stale(stage.line, TEMPLATE.id)
    plays = [*under_way, *await started(stage, count, first=count // 2, rest=False)]  # and these cannot have
    who, told = await desk.found(count), list[BulkRow]()
    await desk.carried_out(names.PAUSE, who, "pause", told.append)
    assert {row.reference for row in told} == set(who), "each is told of as it goes"
    assert await desk.found(count, stage="paused") == who
    before = await no_more_left(stage)
    stage.provider.shut.clear()
    await stage.stores.templates.mark_stale(stage.line, TEMPLATE.id)
    assert await no_more_left(stage) == before <= count // 2, "nothing leaves while it is paused"
    await desk.broken_off(names.RESUME, who, "resume", after=count // 2)
    await desk.carried_out(names.RESUME, who, "resume")
    await all_sent(stage, count)
    assert await desk.found(count, stage="awaiting-answer") == who
    reached = Counter(send.workflow_id for send in stage.provider.effects)
    assert reached == Counter(play.handle.id for play in plays), "each its one message"
    for play in plays[:: count // 20]:
        rules = [d.rule for d in (await play.snapshot()).decisions]
        assert (rules.count(names.PAUSE), rules.count(names.RESUME)) == (1, 1), "and nothing was done to it twice"
    took = time.monotonic() - begun
    show(f"{count} paused while they left and resumed: {worst_second(desk.left)} in the busiest second, {took:.0f} s")
    assert worst_second(desk.left) <= LINE_RATE


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
    plays = await started(stage, count, rest=False)
    await all_sent(stage, count)
    who = await desk.found(count, stage="awaiting-answer")
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
