"""Sends whose answer is lost, refused, throttled or recalled: at most one message per step, whatever happens."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest

from domain import names
from domain.calls import ResolveSend
from domain.caps import Caps
from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, Scope, StoreUnavailable
from domain.events import FlowRunChanged, FlowRunStatus, FormAnswered, MessageStatus, MessageStatusChanged
from domain.outcomes import EngagementOutcome as Outcome
from domain.sends import FlowRun, LedgerEntry, LedgerState, Send, SendClaim, SendNames, SendReceipt
from tests.workflow.scripted import PUSHED, ScriptedProvider
from tests.workflow.stage import TIMING, Play, Stage, plan

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOST = OutcomeUnknown("the answer was lost")


async def test_a_send_that_the_provider_never_got_is_sent_again_after_the_last_look(stage: Stage) -> None:
    stage.provider.send_endings, stage.provider.lost_without_effect = [LOST], True
    play = await stage.play()
    await play.rest()
    assert (await play.snapshot()).stage == "reconciling"
    await play.pass_time(timedelta(seconds=12))
    assert stage.provider.effects == [], "not before the settle time is over"
    await play.pass_time(timedelta(minutes=1))
    assert len(stage.provider.effects) == 1
    assert stage.provider.requests.count("find_flow_runs") == 3
    assert [s.n for s in (await play.snapshot()).sends] == [1], "the same key: nothing had been sent under it"


async def test_several_runs_that_fit_go_to_a_person_who_says_it_was_sent(stage: Stage) -> None:
    provider = stage.provider
    provider.send_endings, provider.lost_without_effect = [LOST], True
    provider.extra_runs = [FlowRun(run_id=f"x{n}", flow_run_status=FlowRunStatus.RUNNING) for n in (1, 2)]
    play = await stage.play()
    await play.rest()
    await play.pass_time(timedelta(minutes=1))
    snapshot = await play.snapshot()
    assert snapshot.needs_human
    await play.command(names.RESOLVE_SEND, model=ResolveSend, send_key=snapshot.sends[0].key, was_sent=True)
    await play.rest()
    entry = await stage.stores.ledger.find(snapshot.sends[0].key)
    assert entry is not None
    assert entry.state is LedgerState.SENT
    after = await play.snapshot()
    assert (after.needs_human, after.stage) == (False, "awaiting-answer")


async def test_a_list_of_runs_that_cannot_be_read_to_its_end_proves_nothing(stage: Stage) -> None:
    provider = stage.provider
    provider.send_endings, provider.find_endings = [LOST], [ProviderRejected("too long a list", code="incomplete-list")]
    play = await stage.play()
    await play.rest()
    await play.pass_time(timedelta(minutes=1))
    assert (await play.snapshot()).needs_human
    assert len(provider.effects) == 1


async def test_a_person_who_says_it_was_not_sent_has_it_sent_once(stage: Stage) -> None:
    provider = stage.provider
    provider.capabilities, provider.send_endings, provider.lost_without_effect = PUSHED, [LOST], True
    play = await stage.play()
    await play.rest()
    await play.pass_time(timedelta(minutes=1))
    snapshot = await play.snapshot()
    await play.command(names.RESOLVE_SEND, model=ResolveSend, send_key=snapshot.sends[0].key, was_sent=False)
    await play.rest()
    assert len(provider.effects) == 1
    assert (await play.snapshot()).sends[0].send_state is LedgerState.SENT


async def test_resend_uses_a_new_key_and_says_so_in_the_log(stage: Stage) -> None:
    provider = stage.provider
    provider.capabilities, provider.send_endings, provider.lost_without_effect = PUSHED, [LOST], True
    play = await stage.play()
    await play.rest()
    await play.pass_time(timedelta(minutes=1))
    first = await play.command(names.RESEND)
    again = await play.command(names.RESEND)
    assert again == first, "the same command id is the same command"
    await play.rest()
    snapshot = await play.snapshot()
    assert [(s.n, s.send_state) for s in snapshot.sends] == [(1, LedgerState.UNKNOWN), (2, LedgerState.SENT)]
    assert [(d.actor, d.text) for d in snapshot.decisions if d.rule == names.RESEND] == [("olga", "because")]
    assert len(provider.effects) == 1


async def test_the_candidates_own_answer_settles_an_unknown_send(stage: Stage) -> None:
    provider = stage.provider
    provider.capabilities, provider.send_endings = PUSHED, [LOST]
    play = await stage.play()
    await play.rest()
    await play.tell(FormAnswered(answers={"city": "Quito"}), flow_token="ft_x")
    assert (await play.result()).settlement.outcome is Outcome.COMPLETED
    assert len(provider.effects) == 1


async def test_a_status_that_carries_our_reference_proves_that_it_was_sent(stage: Stage) -> None:
    provider, references = stage.provider, []

    def remember(send: Send, its: SendNames) -> None:
        references.append((send.key, its.reference))

    provider.capabilities, provider.send_endings, provider.on_send = PUSHED, [LOST], remember
    play = await stage.play()
    await play.rest()
    key, reference = references[0]
    body = MessageStatusChanged(message_status=MessageStatus.DELIVERED)
    await play.tell(body, send_key=key, reference=reference, message_id="wamid.1")
    await play.rest()
    snapshot = await play.snapshot()
    assert (snapshot.sends[0].send_state, snapshot.sends[0].message_id) == (LedgerState.SENT, "wamid.1")
    entry = await stage.stores.ledger.find(key)
    assert entry is not None
    assert (entry.state, entry.message_id) == (LedgerState.SENT, "wamid.1")


async def until(ask: Callable[[], Awaitable[object]]) -> None:
    """Come back when the answer is yes."""
    async with asyncio.timeout(30):
        while not await ask():  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.05)


async def test_an_event_that_proves_a_send_outweighs_a_person_who_said_in_that_moment_that_it_was_not_sent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, references = stage.provider, []

    def remember(send: Send, its: SendNames) -> None:
        references.append((send.key, its.reference))

    provider.capabilities, provider.send_endings, provider.on_send = PUSHED, [LOST], remember
    resolve, reached, go_on = stage.stores.ledger.resolve, asyncio.Event(), asyncio.Event()

    async def held_up(send_key: str, state: LedgerState, receipt: SendReceipt | None, at: datetime) -> LedgerEntry:
        if state is LedgerState.NOT_SENT:
            reached.set()
            await go_on.wait()
        return await resolve(send_key, state, receipt, at)

    monkeypatch.setattr(stage.stores.ledger, "resolve", held_up)
    play = await stage.play()
    await play.rest()
    await play.pass_time(timedelta(minutes=1))
    key, reference = references[0]
    await play.command(names.RESOLVE_SEND, model=ResolveSend, send_key=key, was_sent=False)
    await reached.wait()
    body = MessageStatusChanged(message_status=MessageStatus.DELIVERED)
    await play.tell(body, send_key=key, reference=reference, message_id="wamid.1")
    await until(lambda: is_sent(play))
    go_on.set()
    await play.rest()
    entry = await stage.stores.ledger.find(key)
    assert entry is not None
    assert (entry.state, entry.message_id, provider.requests.count("trigger_flow")) == (LedgerState.SENT, "wamid.1", 1)


async def is_sent(play: Play) -> bool:
    return (await play.snapshot()).sends[0].send_state is LedgerState.SENT


HASTY = TIMING.model_copy(update={"send_start_to_close": timedelta(seconds=2)})
"""A worker that does not answer is given up after two seconds."""


async def test_a_send_whose_worker_is_gone_is_unknown_in_the_ledger_too_so_that_people_and_events_find_it(
    stage: Stage,
) -> None:
    provider = stage.provider
    reached, go_on = provider.pause_after = asyncio.Event(), asyncio.Event()
    provider.capabilities = PUSHED
    await stage.play(timing=HASTY)
    await reached.wait()
    await until(lambda: stage.stores.ledger.list(LedgerState.UNKNOWN))
    assert [e.key for e in await stage.stores.ledger.list(LedgerState.UNKNOWN)] == [
        send.key for send in provider.effects
    ]
    go_on.set()


async def test_a_send_whose_worker_is_gone_becomes_unknown_also_when_the_outcome_is_decided_first(
    stage: Stage,
) -> None:
    reached, go_on = stage.provider.pause_after = asyncio.Event(), asyncio.Event()
    play = await stage.play(timing=HASTY)
    await reached.wait()
    await play.command(names.STOP)
    assert (await play.result()).settlement.outcome is Outcome.STOPPED
    assert [entry.n for entry in await stage.stores.ledger.list(LedgerState.UNKNOWN)] == [1]
    go_on.set()


async def test_a_send_that_its_worker_never_claimed_is_sent_without_asking_anybody(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, asleep, go_on = stage.stores.ledger.claim, asyncio.Event(), asyncio.Event()

    async def first_one_sleeps(send: Send, at: datetime | None = None, caps: Caps | None = None) -> SendClaim:
        if not asleep.is_set():
            asleep.set()
            await go_on.wait()
            raise StoreUnavailable("it was asleep")
        return await claim(send, at, caps)

    monkeypatch.setattr(stage.stores.ledger, "claim", first_one_sleeps)
    stage.provider.capabilities = PUSHED
    play = await stage.play(timing=HASTY)
    await asleep.wait()
    await until(partial(asyncio.sleep, 0, stage.provider.effects))
    go_on.set()
    await play.rest()
    snapshot = await play.snapshot()
    assert (snapshot.needs_human, [(s.n, s.send_state) for s in snapshot.sends]) == (False, [(1, LedgerState.SENT)])
    assert stage.provider.requests.count("trigger_flow") == 1


async def test_an_answer_that_was_stored_and_not_reported_is_found_in_the_ledger(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, go_on = stage.stores.ledger.settle, asyncio.Event()

    async def then_freezes(claim: SendClaim, state: LedgerState, *rest: object) -> None:
        await settle(claim, state, *rest)  # type: ignore[arg-type]  # handed on as they came
        await go_on.wait()

    monkeypatch.setattr(stage.stores.ledger, "settle", then_freezes)
    stage.provider.capabilities = PUSHED
    play = await stage.play(timing=HASTY)

    async def is_known() -> bool:
        return [send.run_id for send in (await play.snapshot()).sends] == ["run-1"]

    await until(is_known)
    go_on.set()
    assert len(stage.provider.effects) == 1
    assert "reconciled" in [decision.rule for decision in (await play.snapshot()).decisions]


async def test_an_opening_that_nobody_could_settle_expires_and_was_never_repeated(stage: Stage) -> None:
    stage.provider.capabilities, stage.provider.send_endings = PUSHED, [LOST]
    play = await stage.play(plan(longest="10d"))
    await play.rest()
    await play.pass_time(timedelta(days=11))
    assert (await play.result()).settlement.outcome is Outcome.EXPIRED
    assert stage.provider.requests.count("trigger_flow") == 1


async def test_a_throttle_is_obeyed_and_then_the_one_message_leaves(stage: Stage) -> None:
    wait = timedelta(minutes=5)
    stage.provider.send_endings = [ProviderUnavailable("slow down", retry_after=wait)] * 2
    play = await stage.play()
    await play.rest()
    assert stage.provider.effects == []
    await play.pass_time(timedelta(minutes=11))
    assert len(stage.provider.effects) == 1
    assert stage.provider.requests.count("trigger_flow") == 3


async def test_a_provider_that_stays_away_past_the_steps_expiry_ends_expired(stage: Stage) -> None:
    stage.provider.send_endings = [ProviderUnavailable("down")] * 100_000
    play = await stage.play(plan(step_expiry="3h"))
    await play.rest()
    await play.pass_time(timedelta(hours=4))
    assert (await play.result()).settlement.outcome is Outcome.EXPIRED
    assert stage.provider.effects == []


async def test_a_fault_of_the_account_holds_and_fails_nobody(stage: Stage) -> None:
    stage.provider.send_endings = [ProviderRejected("the token is not valid", scope=Scope.ACCOUNT, code="401")]
    play = await stage.play()
    await play.rest()
    snapshot, gate = await play.snapshot(), await play.gate()
    assert (snapshot.hold and snapshot.hold.rule, snapshot.needs_human) == ("account-held", False)
    assert (gate.waiting, gate.needs_human) == (1, True), "a person is asked once, not once per engagement"
    await play.pass_time(timedelta(minutes=11))
    assert len(stage.provider.effects) == 1
    assert [s.n for s in (await play.snapshot()).sends] == [1, 2], "a refused key is spent"


async def test_a_stop_recalls_a_send_that_waits_for_its_next_try(stage: Stage) -> None:
    stage.provider.send_endings = [ProviderUnavailable("down", retry_after=timedelta(hours=1))] * 50
    play = await stage.play()
    await play.rest()
    await play.command(names.STOP)
    assert (await play.result()).settlement.outcome is Outcome.STOPPED
    assert stage.provider.effects == []


async def test_a_stop_during_the_request_keeps_what_was_sent_and_ends_the_flow(stage: Stage) -> None:
    sending, answer = stage.provider.pause_before = asyncio.Event(), asyncio.Event()
    play = await stage.play()
    await sending.wait()
    await play.command(names.STOP)
    answer.set()
    result = await play.result()
    assert (result.settlement.outcome, result.sends) == (Outcome.STOPPED, 1)
    assert [e.run_id for e in stage.provider.ended] == ["run-1"]


async def test_an_event_before_the_sends_own_answer_is_kept(stage: Stage) -> None:
    sending, answer = stage.provider.pause_after = asyncio.Event(), asyncio.Event()
    play = await stage.play()
    await sending.wait()
    stage.provider.become("run-1", FlowRunStatus.FINISHED, city="Utrecht")
    key = (await play.snapshot()).sends[0].key
    await play.tell(FlowRunChanged(flow_run_status=FlowRunStatus.FINISHED), send_key=key, run_id="run-1")
    answer.set()
    assert (await play.result()).settlement.answers == {"city": "Utrecht"}


async def test_events_that_come_twice_count_once(stage: Stage) -> None:
    play = await stage.play()
    await play.rest()
    body = FlowRunChanged(flow_run_status=FlowRunStatus.RUNNING)
    for _ in range(3):
        await play.tell(body, key="flowRuns:run-1:running", run_id="run-1")
    await play.rest()
    told = [d for d in (await play.snapshot()).decisions if d.rule == "flow-run"]
    assert len(told) == 1


async def test_a_reset_workflow_does_not_send_again(stage: Stage, provider: ScriptedProvider) -> None:
    play = await stage.play()
    await play.rest()
    client = stage.skipper.client
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=play.handle.id),
            reason="an operator resets it",
            workflow_task_finish_event_id=4,
            request_id="reset-1",
        )
    )
    latest = client.get_workflow_handle(play.handle.id)
    await stage.calendar.quiet([latest])
    assert provider.requests.count("trigger_flow") == 1
    assert len(provider.effects) == 1
