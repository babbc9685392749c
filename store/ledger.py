"""The send ledger: one row per send key, claimed in one transaction before the request leaves.

A claim commits ``calling`` before anybody may call. So whoever finds ``calling`` knows that a request may have left,
and nothing but an answer, reconciliation or a person moves the row on.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy import Connection, RowMapping, bindparam, select, update

from domain.caps import Caps
from domain.contacts import Alias, AliasKind, OptOut, OptOutScope
from domain.errors import (
    NotAllowed,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PolicyRefused,
    ProviderRejected,
    Scope,
    SendError,
)
from domain.free_form import MessageForm, form_at
from domain.sends import LedgerEntry, LedgerState, Send, SendClaim, SendFailure, SendNames, SendReceipt
from store.admission import OPTED_OUT, UNKNOWN_CONTACT
from store.aliases import learn_within, lock_contact
from store.caps import cap_refusal_within
from store.contacts import last_inbound_within
from store.database import Database, insert_new
from store.erasure_tables import erasures
from store.holds import refusal_within
from store.keys import KeyRing
from store.leave import Reach, opt_out_in_force, opt_out_within
from store.tables import contacts, engagements, sends
from store.templates import category_within, template_refusal_within

NO_CAPS = Caps()
OUTSIDE_WINDOW = "outside-window"
_IDS = ("run_id", "message_id", "session_id", "thread_id")
_CLAIMABLE = (LedgerState.FREE, LedgerState.NOT_SENT)
_OPEN = (LedgerState.CALLING, LedgerState.UNKNOWN)
_ENDINGS = (LedgerState.SENT, LedgerState.NOT_SENT, LedgerState.REJECTED, LedgerState.UNKNOWN)

log = structlog.get_logger()

# Statements of every send are written once here: writing one takes longer than executing it.
_LOCKED = select(sends).where(sends.c.key == bindparam("send")).with_for_update()
_WRITTEN = update(sends).where(sends.c.key == bindparam("send"))
_BEING_ERASED = select(erasures.c.contact_id).where(erasures.c.contact_id == bindparam("contact"))
_ERASED = _BEING_ERASED.where(erasures.c.erased_at.is_not(None))
_KNOWN = select(contacts.c.id).where(contacts.c.id == bindparam("contact"), ~_BEING_ERASED.exists())


class Ledger:
    """The ledger in the store. Answers the port ``SendLedger``. Every method may raise ``StoreUnavailable``."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys

    async def claim(self, send: Send, at: datetime | None = None, caps: Caps | None = None) -> SendClaim:
        """Take the right to make one request for ``send.key``, or hear why not; see the port.

        What stands in the row is judged first, so a send that may have left is never told as refused. Then
        ``PolicyRefused`` with code ``unknown-contact``, ``opted-out``, ``paused``, ``held``, ``template``,
        ``outside-window`` or ``capped``, the last two with the instant ``until`` which they hold or held; a hold
        that is over soon is told as ``ProviderUnavailable`` with code ``held`` and the time that is left. Holds,
        window and ``caps`` are judged ``at`` an instant of the caller's, by default at ``send.at``, which no retry
        moves. A refusal is written to the row, whose state stays as it was.
        """
        names = self._keys.send_names(send.key)
        now = send.at if at is None else at
        answer = await self._database.write(lambda connection: _claim(connection, send, names, now, caps or NO_CAPS))
        if isinstance(answer, SendError):  # raised only now: inside, it would have undone what was written
            raise answer
        return answer

    async def settle(
        self,
        claim: SendClaim,
        state: LedgerState,
        receipt: SendReceipt | None,
        failure: SendFailure | None,
        at: datetime,
    ) -> None:
        """Write how the claimed attempt ended, and learn the ids and aliases that the answer told.

        Only the row of this very attempt that is still ``calling`` moves, or one that was given up as ``unknown`` and
        whose answer comes after all; otherwise what stands there stays, and a contradiction goes to the log. Raises
        ``NotAllowed`` for a state that is not an ending.
        """
        ending = _Ending(_checked(state), receipt, failure, at)
        contradiction = await self._database.write(lambda connection: _settle(connection, self._keys, claim, ending))
        if contradiction is not None:
            log.error(
                "late_send_ending_ignored",
                send_key=claim.key,
                attempt=claim.attempt,
                ending=state,
                stands=contradiction,
            )

    async def resolve(
        self, send_key: str, state: LedgerState, receipt: SendReceipt | None, at: datetime
    ) -> LedgerEntry:
        """Move a row that is ``calling`` or ``unknown`` to what became known; the same state again is harmless.

        Raises ``NotFound`` for a key without a row, ``NotAllowed`` when the row has ended otherwise.
        """
        ending = _Ending(_checked(state), receipt, None, at)
        return await self._database.write(lambda connection: _resolve(connection, self._keys, send_key, ending))

    async def find(self, send_key: str) -> LedgerEntry | None:
        """The row of a send key."""
        wanted = select(sends).where(sends.c.key == send_key)
        row = await self._database.read(lambda connection: connection.execute(wanted).mappings().one_or_none())
        return None if row is None else _entry(row)

    async def list(
        self,
        state: LedgerState | None = None,
        tenant: str | None = None,
        limit: int = 100,
        workflow_id: str | None = None,
    ) -> tuple[LedgerEntry, ...]:
        """Rows in one state, of one tenant, of one engagement, or all; those claimed longest ago first."""
        wanted = select(sends).order_by(sends.c.claimed_at.nulls_last(), sends.c.key).limit(limit)
        if workflow_id is not None:
            wanted = wanted.where(sends.c.workflow_id == workflow_id)
        if state is not None:
            wanted = wanted.where(sends.c.state == state.value)
        if tenant is not None:
            wanted = wanted.where(sends.c.tenant == tenant)
        rows = await self._database.read(lambda connection: connection.execute(wanted).mappings().all())
        return tuple(_entry(row) for row in rows)

    async def unsettled(self, tenant: str | None = None, limit: int = 100) -> tuple[LedgerEntry, ...]:
        """Sends that may have arrived or not, those claimed longest ago first.

        Without those that a later send of the same step took the place of, and those of engagements that are over:
        about them nobody is asked any more.
        """
        later = sends.alias()
        replaced = later.c.workflow_id == sends.c.workflow_id, later.c.step == sends.c.step, later.c.n > sends.c.n
        over = engagements.c.workflow_id == sends.c.workflow_id, engagements.c.closed_at.is_not(None)
        wanted = (
            select(sends)
            .where(sends.c.state == LedgerState.UNKNOWN.value)
            .where(~select(later.c.key).where(*replaced).exists())
            .where(~select(engagements.c.workflow_id).where(*over).exists())
            .order_by(sends.c.claimed_at.nulls_last(), sends.c.key)
            .limit(limit)
        )
        if tenant is not None:
            wanted = wanted.where(sends.c.tenant == tenant)
        rows = await self._database.read(lambda connection: connection.execute(wanted).mappings().all())
        return tuple(_entry(row) for row in rows)

    async def runs_of_others(self, thread_id: str, send_key: str) -> frozenset[str]:
        """Run ids in this thread that belong to other sends."""
        wanted = select(sends.c.run_id).where(
            sends.c.thread_id == thread_id, sends.c.key != send_key, sends.c.run_id != ""
        )
        return await self._database.read(lambda connection: frozenset(connection.execute(wanted).scalars()))


@dataclass(frozen=True)
class _Ending:
    """How an attempt ended, and what its answer told."""

    state: LedgerState
    receipt: SendReceipt | None
    failure: SendFailure | None
    at: datetime

    def of_somebody_erased(self) -> "_Ending":
        """What may still be known of a send whose answer comes when its person is gone: how it ended, and when."""
        failure = None if self.failure is None else self.failure.model_copy(update={"reason": ""})
        return replace(self, receipt=None, failure=failure)


def _checked(state: LedgerState) -> LedgerState:
    if state not in _ENDINGS:
        raise NotAllowed(f"A send cannot be moved to {state.value}: that is no ending")
    return state


def _claim(connection: Connection, send: Send, names: SendNames, now: datetime, caps: Caps) -> SendClaim | SendError:
    insert_new(connection, sends, _first_row(send, names), key=["key"])
    row = _locked(connection, send.key)
    if row is None:
        raise NotFound(f"The ledger row of {send.key} vanished while it was claimed")
    if LedgerState(row["state"]) not in _CLAIMABLE:
        return _as_it_stands(row)
    refusal = _refusal(connection, send, now) or cap_refusal_within(connection, send, caps, now)
    if refusal is not None:
        told: dict[str, object] = {"scope": refusal.scope.value, "code": refusal.code, "reason": str(refusal)}
        gone = {"thread_id": ""} if refusal.code == UNKNOWN_CONTACT else {}  # nothing of somebody who was erased
        _write(connection, send.key, told | gone)
        return refusal
    attempt: int = row["attempt"] + 1
    fresh: dict[str, object] = {
        "state": LedgerState.CALLING.value,
        "attempt": attempt,
        "claimed_at": send.at,  # reconciliation compares it with the provider's clock, which a rehearsal moves as well
        "left_at": now,
        "settled_at": None,
    }
    form, inbound_at = _form(connection, send, now)
    fresh |= {"form": form.value if form is not None else None, "inbound_at": inbound_at}
    _write(connection, send.key, _content(send) | _NOTHING_KNOWN | fresh)
    return SendClaim(key=send.key, attempt=attempt, names=_names(row), form=form, inbound_at=inbound_at)


def _form(connection: Connection, send: Send, now: datetime) -> tuple[MessageForm | None, datetime | None]:
    """How a send leaves that may leave without a template, and by which message of the person's; else nothing.

    Chosen here, in the last transaction before the request: every earlier look may be hours old by now.
    """
    if send.free_form is None:
        return None, None
    inbound_at = last_inbound_within(connection, send.contact_id, send.line)
    return form_at(inbound_at, now), inbound_at


def _refusal(connection: Connection, send: Send, now: datetime) -> NotSent | None:
    """The rule that forbids this send; every opt-out in force counts, whichever clock it was written by."""
    lock_contact(connection, send.contact_id)  # whoever erases this person waits for the claim, or is seen here
    if connection.execute(_KNOWN, {"contact": send.contact_id}).first() is None:
        return PolicyRefused(
            f"{send.key} is addressed to a contact that is not in the store: it was erased, or never resolved",
            scope=Scope.RECIPIENT,
            code=UNKNOWN_CONTACT,
        )
    category = category_within(connection, send.account, send.template) or send.template.category or ""
    reach = Reach(tenant=send.tenant, line=send.line, job=send.job, category=category)
    opted_out = opt_out_in_force(connection, send.contact_id, reach)
    if opted_out is not None:
        return PolicyRefused(
            f"The contact of {send.key} opted out (scope: {opted_out.value}): nothing may be sent",
            scope=Scope.RECIPIENT,
            code=OPTED_OUT,
        )
    return refusal_within(connection, send, now) or template_refusal_within(connection, send) or _too_late(send, now)


def _too_late(send: Send, now: datetime) -> PolicyRefused | None:
    if send.not_after is None or now < send.not_after:
        return None
    closed = send.not_after.isoformat(timespec="minutes")
    text = f"{send.key} came to its turn after its send window had closed at {closed}"
    return PolicyRefused(text, code=OUTSIDE_WINDOW, until=send.not_after)


def _as_it_stands(row: RowMapping) -> SendClaim | SendError:
    """The answer to a claim of a row that nobody may claim."""
    match LedgerState(row["state"]):
        case LedgerState.SENT:
            return SendClaim(key=row["key"], attempt=row["attempt"], names=_names(row), earlier=_receipt(row))
        case LedgerState.REJECTED:
            return ProviderRejected(
                row["reason"] or f"{row['key']} was rejected before",
                scope=Scope(row["scope"] or Scope.MESSAGE),
                code=row["code"],
                suppress=row["suppress"],
                free_form=row["form"] == MessageForm.FREE_FORM,
            )
        case _:
            return OutcomeUnknown(
                f"An earlier attempt of {row['key']} may have been sent: reconcile it, or resolve it by hand",
                code=row["code"],
            )


def _settle(connection: Connection, keys: KeyRing, claim: SendClaim, ending: _Ending) -> str | None:
    """Write the ending of the claimed attempt. Returns what stands in the row instead when that contradicts it."""
    row = _locked(connection, claim.key)
    if row is None:
        raise NotFound(f"There is no send {claim.key}: its row was never claimed here")
    ending = _kept_of(connection, row, ending)
    stands = LedgerState(row["state"])
    if row["attempt"] != claim.attempt:
        return f"attempt {row['attempt']}"
    comes_after_all = stands is LedgerState.UNKNOWN and ending.state is LedgerState.SENT
    if stands is LedgerState.CALLING or comes_after_all:
        _move(connection, keys, row, ending)
    elif stands is ending.state:
        _complete(connection, keys, row, ending)
    else:
        return stands.value
    return None


def _resolve(connection: Connection, keys: KeyRing, send_key: str, ending: _Ending) -> LedgerEntry:
    row = _locked(connection, send_key)
    if row is None:
        raise NotFound(f"There is no send {send_key}")
    ending = _kept_of(connection, row, ending)
    stands = LedgerState(row["state"])
    if stands is ending.state:
        _complete(connection, keys, row, ending)
    elif stands in _OPEN or (stands is LedgerState.NOT_SENT and _is_proven_sent(ending)):
        _move(connection, keys, row, ending)
    else:
        raise NotAllowed(f"{send_key} is {stands.value} and cannot become {ending.state.value}: its outcome is known")
    moved = _locked(connection, send_key)
    if moved is None:
        raise NotFound(f"There is no send {send_key} any more")
    return _entry(moved)


def _kept_of(connection: Connection, row: RowMapping, ending: _Ending) -> _Ending:
    """The ending without what an erasure took; the row is locked, so that one which runs now is waited for."""
    is_gone = connection.execute(_ERASED, {"contact": row["contact_id"]}).first() is not None
    return ending.of_somebody_erased() if is_gone else ending


def _is_proven_sent(ending: _Ending) -> bool:
    """Whether the provider's own ids show that it was sent: they outweigh a person's word that it was not."""
    receipt = ending.receipt
    told = receipt is not None and bool(receipt.run_id or receipt.message_id or receipt.session_id)
    return ending.state is LedgerState.SENT and told


def _move(connection: Connection, keys: KeyRing, row: RowMapping, ending: _Ending) -> None:
    values: dict[str, object] = {"state": ending.state.value, "settled_at": ending.at}
    if ending.failure is not None:
        values |= {
            "scope": ending.failure.scope.value,
            "code": ending.failure.code,
            "reason": ending.failure.reason,
            "suppress": ending.failure.suppress,
        }
        if ending.failure.suppress:
            _stop_marketing(connection, row, ending.at)
    elif ending.state is LedgerState.SENT:
        values |= {"scope": "", "code": "", "reason": "", "suppress": False}
    _write(connection, row["key"], values)
    _complete(connection, keys, row, ending)


def _stop_marketing(connection: Connection, row: RowMapping, at: datetime) -> None:
    """The provider says that the person wants no more marketing: the next such template is not even tried."""
    stop = OptOut(scope=OptOutScope.MARKETING, scope_value=row["line"], source="provider-refused-marketing", at=at)
    with suppress(NotFound):  # a person who was erased stays erased
        opt_out_within(connection, row["contact_id"], stop)


def _complete(connection: Connection, keys: KeyRing, row: RowMapping, ending: _Ending) -> None:
    """Add what the receipt tells and the row lacks; an id that is there stays."""
    receipt = ending.receipt
    if receipt is None:
        return
    told = {name: getattr(receipt, name) for name in _IDS if getattr(receipt, name) and not row[name]}
    if told:
        _write(connection, row["key"], told)
    aliases = list(receipt.aliases)
    if receipt.thread_id:
        aliases.append(Alias(kind=AliasKind.THREAD, value=receipt.thread_id, scope=row["account"]))
    foreign = learn_within(connection, keys, row["contact_id"], aliases)
    if foreign:
        log.warning("aliases_name_another_contact", contact_id=row["contact_id"], aliases=foreign)


def _locked(connection: Connection, send_key: str) -> RowMapping | None:
    return connection.execute(_LOCKED, {"send": send_key}).mappings().one_or_none()


def _write(connection: Connection, send_key: str, values: dict[str, object]) -> None:
    connection.execute(_WRITTEN, {"send": send_key} | values)


_NOTHING_KNOWN: Final[dict[str, object]] = {
    "run_id": "",
    "message_id": "",
    "session_id": "",
    "scope": "",
    "code": "",
    "reason": "",
    "suppress": False,
    "form": None,
    "inbound_at": None,
    "arrived": None,
}
"""What a row holds of an attempt that has not ended."""


def _content(send: Send) -> dict[str, object]:
    return {
        "workflow_id": send.workflow_id,
        "tenant": send.tenant,
        "account": send.account,
        "line": send.line,
        "step": send.step,
        "n": send.n,
        "contact_id": send.contact_id,
        "job": send.job,
        "flow_id": send.flow.id if send.flow is not None else "",
        "template": send.template.name,
        "template_id": send.template.id,
        "language": send.template.language,
        "thread_id": send.thread_id,
    }


def _first_row(send: Send, names: SendNames) -> dict[str, object]:
    state: dict[str, object] = {"key": send.key, "state": LedgerState.FREE.value, "attempt": 0}
    return _content(send) | _NOTHING_KNOWN | state | names.model_dump()


def _names(row: RowMapping) -> SendNames:
    return SendNames(reference=row["reference"], flow_token=row["flow_token"])


def _receipt(row: RowMapping) -> SendReceipt:
    ids = {name: row[name] for name in _IDS}
    return SendReceipt(reference=row["reference"], **ids, form=row["form"], inbound_at=row["inbound_at"])


def _entry(row: RowMapping) -> LedgerEntry:
    return LedgerEntry.model_validate(dict(row))
