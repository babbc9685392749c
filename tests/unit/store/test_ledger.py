"""The send ledger: who may call, who may not, and what an ending leaves behind."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, select
from structlog.testing import capture_logs

from domain.contacts import Alias, AliasKind, OptOut, OptOutScope
from domain.errors import (
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    PolicyRefused,
    ProviderRejected,
    ProviderUnavailable,
    Scope,
)
from domain.holds import HoldRow
from domain.ids import account_scope, flow_scope, line_scope, template_scope
from domain.sends import LedgerState, SendFailure, SendReceipt, TemplateReading, TemplateStatus
from store.holds import Pause, PauseScope
from store.keys import KeyRing
from store.ledger import Ledger
from store.stores import Stores
from store.tables import contacts, sends
from tests.unit.store.samples import A_PHONE, HOUR, NOON, TEMPLATE, a_close, a_row, a_send

BSUID = Alias(kind=AliasKind.BSUID, value="b-1", scope="main")
RECEIPT = SendReceipt(run_id="run-1", message_id="wamid-1", session_id="ses-1", thread_id="thread-1", aliases=(BSUID,))


@pytest.fixture
async def contact_id(stores: Stores) -> str:
    return await stores.contacts.resolve([A_PHONE])


async def test_a_first_claim_is_granted_with_names_that_stay(stores: Stores, contact_id: str) -> None:
    claim = await stores.ledger.claim(a_send(contact_id))
    assert (claim.attempt, claim.earlier) == (1, None)
    assert claim.names == stores.keys.send_names(claim.key)
    entry = await stores.ledger.find(claim.key)
    assert entry is not None
    assert (entry.state, entry.reference, entry.flow_token) == (
        LedgerState.CALLING,
        claim.names.reference,
        claim.names.flow_token,
    )
    assert (entry.template, entry.flow_id, entry.thread_id) == ("first_contact", "flow-1", "thread-1")
    assert entry.claimed_at == a_send(contact_id).at, "by the clock that reconciliation compares the provider's with"


async def test_whoever_finds_a_call_under_way_is_told_that_its_outcome_is_unknown(
    stores: Stores, contact_id: str
) -> None:
    await stores.ledger.claim(a_send(contact_id))
    with pytest.raises(OutcomeUnknown):
        await stores.ledger.claim(a_send(contact_id))


async def test_what_was_sent_comes_back_with_its_receipt_instead_of_leaving_again(
    stores: Stores, contact_id: str
) -> None:
    claim = await stores.ledger.claim(a_send(contact_id))
    await stores.ledger.settle(claim, LedgerState.SENT, RECEIPT, None, NOON)
    again = await stores.ledger.claim(a_send(contact_id))
    assert again.earlier is not None
    assert (again.attempt, again.names) == (1, claim.names)
    assert again.earlier == RECEIPT.model_copy(update={"reference": claim.names.reference, "aliases": ()})


async def test_what_is_known_not_sent_may_be_claimed_again_under_the_same_names(
    stores: Stores, contact_id: str
) -> None:
    claim = await stores.ledger.claim(a_send(contact_id))
    failure = SendFailure(scope=Scope.ACCOUNT, code="429", reason="too many requests")
    await stores.ledger.settle(claim, LedgerState.NOT_SENT, None, failure, NOON)
    entry = await stores.ledger.find(claim.key)
    assert entry is not None
    assert (entry.state, entry.code, entry.settled_at) == (LedgerState.NOT_SENT, "429", NOON)
    again = await stores.ledger.claim(a_send(contact_id))
    assert (again.attempt, again.names) == (2, claim.names)


async def test_names_that_were_stored_outlive_a_change_of_keys(stores: Stores, contact_id: str) -> None:
    claim = await stores.ledger.claim(a_send(contact_id))
    await stores.ledger.settle(claim, LedgerState.NOT_SENT, None, None, NOON)
    other = Ledger(stores.database, KeyRing.generate())
    assert (await other.claim(a_send(contact_id))).names == claim.names


async def test_a_rejection_is_repeated_as_it_was(stores: Stores, contact_id: str) -> None:
    claim = await stores.ledger.claim(a_send(contact_id))
    failure = SendFailure(scope=Scope.TEMPLATE, code="132001", reason="no such template", suppress=True)
    await stores.ledger.settle(claim, LedgerState.REJECTED, None, failure, NOON)
    with pytest.raises(ProviderRejected, match="no such template") as raised:
        await stores.ledger.claim(a_send(contact_id))
    assert (raised.value.scope, raised.value.code, raised.value.suppress) == (Scope.TEMPLATE, "132001", True)


Stop = Callable[[Stores, str], Awaitable[None]]


def _opt_out(scope: OptOutScope, value: str) -> Stop:
    opt_out = OptOut(scope=scope, scope_value=value, source="word", at=NOON + HOUR)
    return lambda stores, contact_id: stores.contacts.opt_out(contact_id, opt_out)


def _pause(scope: PauseScope, value: str) -> Stop:
    pause = Pause(scope=scope, scope_value=value, reason="complaint", actor="kim", at=NOON)
    return lambda stores, _: stores.holds.pause(pause)


def _hold(scope_key: str, until: datetime | None = None) -> Stop:
    hold = HoldRow(scope_key=scope_key, until=until, reason="throttled", at=NOON)
    return lambda stores, _: stores.holds.hold(hold)


async def _erase(stores: Stores, contact_id: str) -> None:
    await stores.database.write(lambda c: c.execute(delete(contacts).where(contacts.c.id == contact_id)))


FORBIDDEN: list[tuple[str, Scope, Stop]] = [
    ("opted-out", Scope.RECIPIENT, _opt_out(OptOutScope.ALL, "")),
    ("opted-out", Scope.RECIPIENT, _opt_out(OptOutScope.TENANT, "acme")),
    ("opted-out", Scope.RECIPIENT, _opt_out(OptOutScope.LINE, "nl-1")),
    ("opted-out", Scope.RECIPIENT, _opt_out(OptOutScope.JOB, "acme:nurse")),
    ("paused", Scope.MESSAGE, _pause(PauseScope.TENANT, "acme")),
    ("paused", Scope.LINE, _pause(PauseScope.LINE, "nl-1")),
    ("held", Scope.ACCOUNT, _hold(account_scope("main"))),
    ("held", Scope.LINE, _hold(line_scope("nl-1"), NOON + HOUR)),
    ("held", Scope.FLOW, _hold(flow_scope("main", "flow-1"))),
    ("held", Scope.TEMPLATE, _hold(template_scope("main", "first_contact", "nl"))),
    ("unknown-contact", Scope.RECIPIENT, _erase),
]
ELSEWHERE: list[Stop] = [
    _opt_out(OptOutScope.TENANT, "other"),
    _opt_out(OptOutScope.LINE, "be-1"),
    _opt_out(OptOutScope.JOB, "acme:cook"),
    _opt_out(OptOutScope.JOB, ""),
    _pause(PauseScope.TENANT, "nl-1"),
    _pause(PauseScope.LINE, "acme"),
    _hold(account_scope("other")),
    _hold(line_scope("nl-1"), NOON),
    _hold(flow_scope("main", "flow-2")),
    _hold(template_scope("main", "first_contact", "en")),
]


@pytest.mark.parametrize(("rule", "scope", "stop"), FORBIDDEN)
async def test_nothing_leaves_against_a_rule_and_the_row_tells_which(
    stores: Stores, contact_id: str, rule: str, scope: Scope, stop: Stop
) -> None:
    await stop(stores, contact_id)
    send = a_send(contact_id, job="nurse")
    with pytest.raises(PolicyRefused) as raised:
        await stores.ledger.claim(send)
    assert (raised.value.code, raised.value.scope) == (rule, scope)
    entry = await stores.ledger.find(send.key)
    assert entry is not None
    assert (entry.state, entry.attempt, entry.code, entry.claimed_at) == (LedgerState.FREE, 0, rule, None)


@pytest.mark.parametrize("stop", ELSEWHERE)
async def test_a_rule_stops_nothing_beyond_its_reach(stores: Stores, contact_id: str, stop: Stop) -> None:
    await stop(stores, contact_id)
    assert (await stores.ledger.claim(a_send(contact_id, job="nurse"))).attempt == 1


@pytest.mark.parametrize("ending", [LedgerState.SENT, LedgerState.REJECTED, LedgerState.UNKNOWN, LedgerState.CALLING])
async def test_a_rule_that_came_later_never_makes_a_send_that_may_have_left_look_unsent(
    stores: Stores, contact_id: str, ending: LedgerState
) -> None:
    claim = await stores.ledger.claim(a_send(contact_id))
    if ending is not LedgerState.CALLING:
        await stores.ledger.settle(claim, ending, None, None, NOON)
    await _opt_out(OptOutScope.ALL, "")(stores, contact_id)
    if ending is LedgerState.SENT:
        assert (await stores.ledger.claim(a_send(contact_id))).earlier is not None
    else:
        expected = ProviderRejected if ending is LedgerState.REJECTED else OutcomeUnknown
        with pytest.raises(expected):
            await stores.ledger.claim(a_send(contact_id))


async def test_a_refused_send_may_be_claimed_once_the_rule_is_gone(stores: Stores, contact_id: str) -> None:
    await _pause(PauseScope.LINE, "nl-1")(stores, contact_id)
    await _hold(account_scope("main"))(stores, contact_id)
    for lift in (stores.holds.resume(PauseScope.LINE, "nl-1"), stores.holds.lift(account_scope("main"))):
        with pytest.raises(PolicyRefused):
            await stores.ledger.claim(a_send(contact_id))
        await lift
    claim = await stores.ledger.claim(a_send(contact_id))
    entry = await stores.ledger.find(claim.key)
    assert entry is not None
    assert (entry.state, entry.code) == (LedgerState.CALLING, "")


async def test_a_hold_is_judged_by_the_clock_of_the_send(stores: Stores, contact_id: str) -> None:
    years = datetime.now(UTC) + timedelta(days=4000)
    await _hold(line_scope("nl-1"), years)(stores, contact_id)
    with pytest.raises(PolicyRefused):
        await stores.ledger.claim(a_send(contact_id, at=years - HOUR))
    assert (await stores.ledger.claim(a_send(contact_id, at=years))).attempt == 1


async def test_a_hold_that_is_over_soon_asks_for_another_try_then_and_a_longer_one_for_a_gate(
    stores: Stores, contact_id: str
) -> None:
    until = NOON + HOUR
    await _hold(line_scope("nl-1"), until)(stores, contact_id)
    send = a_send(contact_id)
    with pytest.raises(PolicyRefused):
        await stores.ledger.claim(send, until - timedelta(seconds=121))
    with pytest.raises(ProviderUnavailable) as raised:
        await stores.ledger.claim(send, until - timedelta(seconds=120))
    assert (raised.value.code, raised.value.scope) == ("held", Scope.LINE)
    assert raised.value.retry_after == timedelta(seconds=120)
    assert (await stores.ledger.claim(send, until)).attempt == 1, "the same send, and only the instant has passed"
    entry = await stores.ledger.find(send.key)
    assert entry is not None
    assert entry.claimed_at == send.at


async def test_of_several_holds_the_longest_short_one_is_waited_out_and_the_widest_long_one_has_the_gate(
    stores: Stores, contact_id: str
) -> None:
    seconds = timedelta(seconds=1)
    await _hold(account_scope("main"), NOON + 10 * seconds)(stores, contact_id)
    await _hold(line_scope("nl-1"), NOON + 20 * seconds)(stores, contact_id)
    with pytest.raises(ProviderUnavailable) as soon:
        await stores.ledger.claim(a_send(contact_id))
    assert (soon.value.scope, soon.value.retry_after) == (Scope.LINE, 20 * seconds)
    await _hold(template_scope("main", "first_contact", "nl"))(stores, contact_id)
    await _hold(flow_scope("main", "flow-1"), NOON + HOUR)(stores, contact_id)
    with pytest.raises(PolicyRefused) as later:
        await stores.ledger.claim(a_send(contact_id))
    assert later.value.scope is Scope.FLOW


async def test_only_the_engagement_on_trial_passes_a_hold(stores: Stores, contact_id: str) -> None:
    await _hold(account_scope("main"))(stores, contact_id)
    tried = a_send(contact_id, reference="a-2")
    await stores.holds.let_try(account_scope("main"), tried.workflow_id)
    with pytest.raises(PolicyRefused):
        await stores.ledger.claim(a_send(contact_id))
    assert (await stores.ledger.claim(tried)).attempt == 1


READ = [
    (None, False, True),
    (TemplateStatus.APPROVED, False, True),
    (TemplateStatus.APPROVED, True, False),
    (TemplateStatus.PAUSED, False, False),
    (TemplateStatus.MISSING, False, False),
    (TemplateStatus.UNKNOWN, False, False),
]


@pytest.mark.parametrize(("status", "stale", "leaves"), READ)
async def test_nothing_leaves_on_a_template_that_is_known_and_not_known_to_be_approved(
    stores: Stores, contact_id: str, status: TemplateStatus | None, *, stale: bool, leaves: bool
) -> None:
    if status is not None:
        await stores.templates.write("main", TEMPLATE, TemplateReading(template_status=status), NOON)
    if stale:
        await stores.templates.mark_stale("main", TEMPLATE.id)
    send = a_send(contact_id)
    if leaves:
        assert (await stores.ledger.claim(send)).attempt == 1
        return
    with pytest.raises(PolicyRefused, match="first_contact") as raised:
        await stores.ledger.claim(send)
    assert (raised.value.code, raised.value.scope) == ("template", Scope.TEMPLATE)
    entry = await stores.ledger.find(send.key)
    assert entry is not None
    assert (entry.state, entry.attempt, entry.code) == (LedgerState.FREE, 0, "template")


async def test_what_is_known_of_another_template_or_account_stops_nothing(stores: Stores, contact_id: str) -> None:
    paused = TemplateReading(template_status=TemplateStatus.PAUSED)
    await stores.templates.write("other", TEMPLATE, paused, NOON)
    await stores.templates.write("main", TEMPLATE.model_copy(update={"language": "en"}), paused, NOON)
    await stores.templates.write("main", TEMPLATE.model_copy(update={"id": "tpl-9"}), paused, NOON)
    assert (await stores.ledger.claim(a_send(contact_id))).attempt == 1


# endings


async def test_only_the_attempt_that_is_under_way_can_be_settled(stores: Stores, contact_id: str) -> None:
    first = await stores.ledger.claim(a_send(contact_id))
    await stores.ledger.settle(first, LedgerState.NOT_SENT, None, None, NOON)
    second = await stores.ledger.claim(a_send(contact_id))
    with capture_logs() as logs:
        await stores.ledger.settle(first, LedgerState.SENT, RECEIPT, None, NOON)
    assert [entry["event"] for entry in logs] == ["late_send_ending_ignored"]
    entry = await stores.ledger.find(second.key)
    assert entry is not None
    assert (entry.state, entry.run_id) == (LedgerState.CALLING, "")


async def test_an_ending_that_contradicts_a_settled_row_is_logged_and_changes_nothing(
    stores: Stores, contact_id: str
) -> None:
    claim = await stores.ledger.claim(a_send(contact_id))
    await stores.ledger.settle(claim, LedgerState.UNKNOWN, None, None, NOON)
    with capture_logs() as logs:
        await stores.ledger.settle(claim, LedgerState.NOT_SENT, None, None, NOON)
    assert [entry["stands"] for entry in logs] == ["unknown"]
    with pytest.raises(OutcomeUnknown):
        await stores.ledger.claim(a_send(contact_id))


async def test_an_answer_that_comes_after_the_send_was_given_up_as_unknown_is_taken(
    stores: Stores, contact_id: str
) -> None:
    claim = await stores.ledger.claim(a_send(contact_id))
    await stores.ledger.resolve(claim.key, LedgerState.UNKNOWN, None, NOON)
    await stores.ledger.settle(claim, LedgerState.SENT, RECEIPT, None, NOON)
    entry = await stores.ledger.find(claim.key)
    assert entry is not None
    assert (entry.state, entry.run_id) == (LedgerState.SENT, RECEIPT.run_id)


async def test_the_same_ending_twice_is_harmless_and_adds_ids_that_were_missing(
    stores: Stores, contact_id: str
) -> None:
    claim = await stores.ledger.claim(a_send(contact_id))
    await stores.ledger.settle(claim, LedgerState.SENT, SendReceipt(run_id="run-1"), None, NOON)
    with capture_logs() as logs:
        other = SendReceipt(run_id="run-2", message_id="wamid-1")
        await stores.ledger.settle(claim, LedgerState.SENT, other, None, NOON)
    entry = await stores.ledger.find(claim.key)
    assert entry is not None
    assert (entry.run_id, entry.message_id, logs) == ("run-1", "wamid-1", [])


async def test_a_receipt_teaches_who_the_person_also_is(stores: Stores, contact_id: str) -> None:
    claim = await stores.ledger.claim(a_send(contact_id))
    await stores.ledger.settle(claim, LedgerState.SENT, RECEIPT, None, NOON)
    thread = Alias(kind=AliasKind.THREAD, value="thread-1", scope="main")
    assert await stores.contacts.find([BSUID]) == await stores.contacts.find([thread]) == contact_id


@pytest.mark.parametrize("state", [LedgerState.FREE, LedgerState.CALLING])
async def test_nothing_ends_free_or_calling(stores: Stores, contact_id: str, state: LedgerState) -> None:
    claim = await stores.ledger.claim(a_send(contact_id))
    with pytest.raises(NotAllowed):
        await stores.ledger.settle(claim, state, None, None, NOON)
    with pytest.raises(NotAllowed):
        await stores.ledger.resolve(claim.key, state, None, NOON)


# resolving


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("target", [LedgerState.SENT, LedgerState.NOT_SENT, LedgerState.REJECTED, LedgerState.UNKNOWN])
async def test_what_is_not_known_can_be_resolved_and_resolving_again_is_harmless(
    stores: Stores, contact_id: str, target: LedgerState, *, settled: bool
) -> None:
    claim = await stores.ledger.claim(a_send(contact_id))
    if settled:
        await stores.ledger.settle(claim, LedgerState.UNKNOWN, None, None, NOON)
    first = await stores.ledger.resolve(claim.key, target, RECEIPT, NOON + HOUR)
    assert (first.state, first.run_id) == (target, "run-1")
    assert await stores.ledger.resolve(claim.key, target, RECEIPT, NOON + 2 * HOUR) == first


@pytest.mark.parametrize("known", [LedgerState.SENT, LedgerState.NOT_SENT, LedgerState.REJECTED])
async def test_what_is_known_is_not_resolved_otherwise(stores: Stores, contact_id: str, known: LedgerState) -> None:
    claim = await stores.ledger.claim(a_send(contact_id))
    await stores.ledger.settle(claim, known, None, None, NOON)
    for target in {LedgerState.SENT, LedgerState.NOT_SENT, LedgerState.REJECTED, LedgerState.UNKNOWN} - {known}:
        with pytest.raises(NotAllowed):
            await stores.ledger.resolve(claim.key, target, None, NOON)


async def test_a_send_that_was_refused_before_any_call_cannot_be_resolved(stores: Stores, contact_id: str) -> None:
    await _pause(PauseScope.LINE, "nl-1")(stores, contact_id)
    send = a_send(contact_id)
    with pytest.raises(PolicyRefused):
        await stores.ledger.claim(send)
    with pytest.raises(NotAllowed):
        await stores.ledger.resolve(send.key, LedgerState.SENT, None, NOON)
    with pytest.raises(NotFound):
        await stores.ledger.resolve("no such key", LedgerState.SENT, None, NOON)


async def test_a_send_resolved_as_not_sent_may_leave(stores: Stores, contact_id: str) -> None:
    claim = await stores.ledger.claim(a_send(contact_id))
    await stores.ledger.settle(claim, LedgerState.UNKNOWN, None, SendFailure(code="read-timeout"), NOON)
    await stores.ledger.resolve(claim.key, LedgerState.NOT_SENT, None, NOON)
    assert (await stores.ledger.claim(a_send(contact_id))).attempt == 2


# reading


async def test_rows_are_listed_by_state_and_tenant_oldest_first(stores: Stores, contact_id: str) -> None:
    claims = [await stores.ledger.claim(a_send(contact_id, n=n)) for n in (1, 2, 3)]
    await stores.ledger.settle(claims[1], LedgerState.UNKNOWN, None, None, NOON)
    assert [entry.n for entry in await stores.ledger.list()] == [1, 2, 3]
    assert [entry.n for entry in await stores.ledger.list(LedgerState.UNKNOWN, "acme")] == [2]
    assert await stores.ledger.list(LedgerState.UNKNOWN, "other") == ()
    assert len(await stores.ledger.list(limit=2)) == 2


async def test_of_the_sends_of_a_step_only_the_last_waits_to_be_settled(stores: Stores, contact_id: str) -> None:
    first = await stores.ledger.claim(a_send(contact_id))
    other = await stores.ledger.claim(a_send(contact_id, reference="a-2"))
    for claim in (first, other):
        await stores.ledger.settle(claim, LedgerState.UNKNOWN, None, None, NOON)
    assert {entry.key for entry in await stores.ledger.unsettled("acme")} == {first.key, other.key}
    again = await stores.ledger.claim(a_send(contact_id, n=2))
    assert [entry.key for entry in await stores.ledger.unsettled()] == [other.key]
    await stores.ledger.settle(again, LedgerState.UNKNOWN, None, None, NOON)
    assert {entry.key for entry in await stores.ledger.unsettled("acme")} == {again.key, other.key}
    assert len(await stores.ledger.unsettled(limit=1)) == 1
    assert await stores.ledger.unsettled("other") == ()
    await stores.registry.register(a_row(contact_id, reference="a-2"))
    assert len(await stores.ledger.unsettled()) == 2
    await stores.registry.close(a_close(contact_id, reference="a-2"))
    assert [entry.key for entry in await stores.ledger.unsettled()] == [again.key], "the other's engagement is over"


async def test_runs_of_other_sends_in_the_thread_are_known(stores: Stores, contact_id: str) -> None:
    for n, run_id in ((1, "run-1"), (2, "run-2"), (3, "")):
        claim = await stores.ledger.claim(a_send(contact_id, n=n))
        await stores.ledger.settle(claim, LedgerState.SENT, SendReceipt(run_id=run_id), None, NOON)
    assert await stores.ledger.runs_of_others("thread-1", claim.key) == {"run-1", "run-2"}
    assert await stores.ledger.runs_of_others("thread-1", a_send(contact_id, n=1).key) == {"run-2"}
    assert await stores.ledger.runs_of_others("thread-2", claim.key) == frozenset()


async def test_the_ledger_keeps_no_number(stores: Stores, contact_id: str) -> None:
    await stores.ledger.claim(a_send(contact_id))
    row = await stores.database.read(lambda c: c.execute(select(sends)).one())
    assert "31612345678" not in repr(row)
