"""Every way in which a send can end, on the real server: what is not proven unsent is never repeated."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import PauseActivityRequest, ResetActivityRequest, UnpauseActivityRequest

from domain import names
from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, StoreUnavailable
from domain.outcomes import EngagementOutcome as Outcome
from domain.sends import LedgerState, SendClaim, SendFailure, SendReceipt
from tests.workflow.scripted import PUSHED
from tests.workflow.stage import TIMING, Play, Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECOND = timedelta(seconds=1)
BRISK = TIMING.model_copy(update={"send_start_to_close": 3 * SECOND})
"""A worker that hangs is given up after three seconds."""


async def paused_before_the_request(stage: Stage, **more: Any) -> tuple[Play, asyncio.Event]:
    """An engagement whose send is held up just before it reaches the phone, and what lets it go on."""
    reached, go_on = stage.provider.pause_before = asyncio.Event(), asyncio.Event()
    play = await stage.play(**more)
    await reached.wait()
    return play, go_on


async def until_state(play: Play, wanted: LedgerState) -> None:
    """Come back when the engagement knows its send to be in this state."""
    async with asyncio.timeout(30):
        while True:
            sends = (await play.snapshot()).sends
            if sends and sends[0].send_state is wanted:
                return
            await asyncio.sleep(0.05)


async def test_a_worker_that_hangs_in_the_request_leaves_it_unknown_and_nobody_repeats_it(stage: Stage) -> None:
    play, go_on = await paused_before_the_request(stage, timing=BRISK)
    await until_state(play, LedgerState.UNKNOWN)
    go_on.set()
    await play.pass_time(timedelta(minutes=2))
    assert stage.provider.requests.count("trigger_flow") == 1
    sends = (await play.snapshot()).sends
    assert [(s.n, s.send_state) for s in sends] == [(1, LedgerState.SENT)], "found at the provider"


async def test_a_budget_that_ends_while_the_request_is_under_way_leaves_it_unknown(stage: Stage) -> None:
    stage.provider.send_endings = [ProviderUnavailable("busy", retry_after=2 * SECOND)]
    timing = BRISK.model_copy(update={"send_budget": 4 * SECOND})
    first, on = stage.provider.pause_before = asyncio.Event(), asyncio.Event()
    play = await stage.play(timing=timing)
    await first.wait()
    stage.provider.pause_before = again, go_on = asyncio.Event(), asyncio.Event()
    on.set()
    await again.wait()
    await until_state(play, LedgerState.UNKNOWN)
    go_on.set()
    await play.pass_time(timedelta(minutes=2))
    assert stage.provider.requests.count("trigger_flow") == 2
    assert len(stage.provider.effects) == 1


async def test_a_budget_that_ends_between_two_tries_is_known_unsent(stage: Stage) -> None:
    stage.provider.send_endings = [ProviderUnavailable("busy", retry_after=timedelta(seconds=90))]
    timing = BRISK.model_copy(update={"send_budget": 10 * SECOND})
    play = await stage.play(timing=timing)
    await play.rest()
    snapshot = await play.snapshot()
    assert (snapshot.hold and snapshot.hold.rule, snapshot.sends[0].send_state) == (
        "provider-unavailable",
        LedgerState.NOT_SENT,
    )
    await play.pass_time(timedelta(minutes=11))
    assert len(stage.provider.effects) == 1
    assert [s.n for s in (await play.snapshot()).sends] == [1], "the same key: it was known unsent"


async def test_a_worker_that_is_told_to_end_finishes_the_request_in_hand(stage: Stage) -> None:
    """On a line of its own, whose worker ends while the request is under way."""
    worker = stage.workers.line("ending-line", 1000)
    run = asyncio.create_task(worker.run())
    play, go_on = await paused_before_the_request(stage, line="ending-line")
    ending = asyncio.create_task(worker.shutdown())
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(ending, run)
    await until_state(play, LedgerState.SENT)
    assert stage.provider.requests.count("trigger_flow") == 1
    assert len(stage.provider.effects) == 1


async def test_an_operator_who_pauses_or_resets_the_activity_in_flight_doubles_nothing(stage: Stage) -> None:
    play, go_on = await paused_before_the_request(stage)
    client, execution = stage.skipper.client, WorkflowExecution(workflow_id=play.handle.id)
    service, space = client.workflow_service, client.namespace
    await service.pause_activity(
        PauseActivityRequest(namespace=space, execution=execution, type=names.TRIGGER_FLOW, reason="to look at it")
    )
    await service.reset_activity(ResetActivityRequest(namespace=space, execution=execution, type=names.TRIGGER_FLOW))
    await service.unpause_activity(
        UnpauseActivityRequest(namespace=space, execution=execution, type=names.TRIGGER_FLOW)
    )
    go_on.set()
    await until_state(play, LedgerState.SENT)
    await play.rest()
    assert stage.provider.requests.count("trigger_flow") == 1
    assert len(stage.provider.effects) == 1


async def test_a_defect_of_ours_after_the_request_is_no_reason_to_send_again(stage: Stage) -> None:
    stage.provider.send_endings = [ZeroDivisionError()]
    play = await stage.play()
    await play.rest()
    assert (await play.snapshot()).sends[0].send_state is LedgerState.UNKNOWN
    await play.pass_time(timedelta(minutes=2))
    assert stage.provider.requests.count("trigger_flow") == 1
    assert (await play.snapshot()).sends[0].send_state is LedgerState.SENT


async def test_ids_that_could_not_be_stored_are_stored_afterwards(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, failures = stage.stores.ledger.settle, [StoreUnavailable("the store does not answer")]

    async def once_unavailable(
        claim: SendClaim, state: LedgerState, receipt: SendReceipt | None, failure: SendFailure | None, at: datetime
    ) -> None:
        if failures and state is LedgerState.SENT:
            raise failures.pop()
        await settle(claim, state, receipt, failure, at)

    monkeypatch.setattr(stage.stores.ledger, "settle", once_unavailable)
    play = await stage.play()
    await play.rest()
    send = (await play.snapshot()).sends[0]
    entry = await stage.stores.ledger.find(send.key)
    assert entry is not None
    assert (entry.state, entry.run_id, stage.provider.requests.count("trigger_flow")) == (LedgerState.SENT, "run-1", 1)


@pytest.mark.parametrize(
    "ending", [OutcomeUnknown("the answer was lost"), ProviderRejected("no such template")], ids=["unknown", "rejected"]
)
async def test_an_ending_that_could_not_be_stored_stands_in_the_ledger_afterwards(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, ending: OutcomeUnknown | ProviderRejected
) -> None:
    settle, failures = stage.stores.ledger.settle, [StoreUnavailable("the store does not answer")]

    async def once_unavailable(claim: SendClaim, *rest: object) -> None:
        if failures:
            raise failures.pop()
        await settle(claim, *rest)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(stage.stores.ledger, "settle", once_unavailable)
    stage.provider.capabilities, stage.provider.send_endings = PUSHED, [ending]
    play = await stage.play()
    state = LedgerState.UNKNOWN if isinstance(ending, OutcomeUnknown) else LedgerState.REJECTED
    async with asyncio.timeout(10):
        while not await stage.stores.ledger.list(state):  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.02)
    assert (await play.snapshot()).sends[0].send_state is state
    assert stage.provider.requests.count("trigger_flow") == 1


async def test_a_send_that_nobody_picks_up_in_time_is_known_unsent_and_leaves_later(stage: Stage) -> None:
    timing = BRISK.model_copy(update={"send_budget": 3 * SECOND})
    play = await stage.play(line="a-line-without-worker", timing=timing)
    await until_state(play, LedgerState.NOT_SENT)
    assert stage.provider.requests.count("trigger_flow") == 0
    async with stage.workers.line("a-line-without-worker", 1000):
        await play.pass_time(timedelta(minutes=11))
    assert len(stage.provider.effects) == 1


async def test_a_stop_before_anybody_picked_it_up_recalls_it(stage: Stage) -> None:
    play = await stage.play(line="another-line-without-worker")
    async with asyncio.timeout(10):
        while not (await play.snapshot()).sends:  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.02)
    await play.command(names.STOP)
    result = await play.result()
    assert (result.settlement.outcome, result.sends) == (Outcome.STOPPED, 0)
    assert stage.provider.requests.count("trigger_flow") == 0
