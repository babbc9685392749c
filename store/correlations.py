"""What can tie an event to an engagement: sends by their ids, and people by their addresses. All within one account."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Final

from sqlalchemy import Column, ColumnElement, Connection, Row, Select, Text, bindparam, func, or_, select, type_coerce

from domain.events import ProviderEvent, Ties
from domain.model import Instant, Model
from domain.sends import LedgerState
from store.database import Database
from store.keys import KeyRing
from store.tables import contact_aliases, engagements, sends
from store.veil import VeiledText

EXACT_TIES: Final = ("reference", "flow_token", "run_id", "session_id", "message_id", "replied_to")
"""Ties that name one send, most exact first."""

_COLUMNS: Final[Mapping[str, str]] = {tie: "message_id" if tie == "replied_to" else tie for tie in EXACT_TIES}
"""The column of a send that each of them is looked for in."""

_AT_ONCE = 500
_LONGEST_ID = 300

# Run for every delivery, so they are built only once.
_a, _o = contact_aliases.c, engagements.c
_CONTACTS = select(_a.digest, _a.contact_id).where(_a.digest.in_(bindparam("them", expanding=True)))
_ENGAGED = (
    select(_o.contact_id, _o.workflow_id, _o.line)
    .where(
        _o.account == bindparam("in_account"),
        _o.contact_id.in_(bindparam("them", expanding=True)),
        _o.closed_at.is_(None),
        func.coalesce(_o.admission_rule, "") == "",  # refused at its start: never open
    )
    .order_by(_o.created_at, _o.workflow_id)
)


class Sighting(Model):
    """What correlation needs of an event, kept with it so that it can be tried again without opening the event."""

    ties: Ties
    senders: tuple[str, ...] = ()
    """Digests of the person's aliases, in hexadecimal."""
    occurred_at: Instant
    """Sends that were claimed later have nothing to do with it."""
    may_fall_back: bool
    thread_may_tie: bool
    may_weaken: bool = True
    """False once a weaker tie was ambiguous: from then on only exact ties count."""

    @classmethod
    def of(cls, event: ProviderEvent, keys: KeyRing, *, thread_may_tie: bool) -> "Sighting":
        """The sighting of an event."""
        return cls(
            ties=event.ties,
            senders=tuple(keys.alias_digest(alias).hex() for alias in event.sender),
            occurred_at=event.message_at or event.occurred_at,
            may_fall_back=event.may_fall_back,
            thread_may_tie=thread_may_tie,
        )

    def settled(self, *, may_weaken: bool) -> "Sighting":
        """The same with what the last try found out."""
        return self.model_copy(update={"may_weaken": may_weaken})


@dataclass(frozen=True)
class SendTie:
    """A send as correlation sees it. ``is_open`` tells whether its engagement has no outcome yet."""

    send_key: str
    workflow_id: str
    contact_id: str
    line: str
    state: LedgerState
    run_id: str
    message_id: str
    session_id: str
    flow_id: str
    template_id: str
    claimed_at: datetime | None
    is_open: bool


@dataclass(frozen=True)
class OpenEngagement:
    """An engagement without outcome, and the line it is carried on."""

    workflow_id: str
    line: str


@dataclass(frozen=True)
class Findings:
    """Everything that the store has on a number of sightings."""

    sends: Mapping[tuple[str, str], Sequence[SendTie]] = field(default_factory=dict)
    """By (tie, value)."""
    on_thread: Mapping[str, Sequence[SendTie]] = field(default_factory=dict)
    contacts: Mapping[str, str] = field(default_factory=dict)
    """Contact ids by alias digest."""
    to_contact: Mapping[str, Sequence[SendTie]] = field(default_factory=dict)
    engaged: Mapping[str, Sequence[OpenEngagement]] = field(default_factory=dict)
    """Open engagements by contact id."""

    def on_line(self, line: str) -> "Findings":
        """The same without what is of another line, except by exact ties: who wrote to a line means no other."""

        def here(sends: Mapping[str, Sequence[SendTie]]) -> dict[str, Sequence[SendTie]]:
            return {key: [send for send in some if send.line == line] for key, some in sends.items()}

        return replace(self, on_thread=here(self.on_thread), to_contact=here(self.to_contact))


def exact_tie(ties: Ties, tie: str) -> str:
    """The value of one of ``EXACT_TIES``, empty when not given."""
    value: str = getattr(ties, tie)
    return value


class Correlations:
    """Looks up what sightings can be tied to."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find(self, account: str, sightings: Sequence[Sighting]) -> Findings:
        """Everything in one account that any of ``sightings`` names. Raises ``StoreUnavailable``."""
        return await self._db.read(lambda connection: find(connection, account, sightings))


def find(connection: Connection, account: str, sightings: Sequence[Sighting]) -> Findings:
    """As ``Correlations.find``, within a transaction."""
    by_tie: dict[tuple[str, str], list[SendTie]] = {}
    for tie, column in _COLUMNS.items():
        for value, send in _sends(connection, account, column, (exact_tie(s.ties, tie) for s in sightings)):
            by_tie.setdefault((tie, value), []).append(send)
    on_thread: dict[str, list[SendTie]] = {}
    for value, send in _sends(connection, account, "thread_id", (s.ties.thread_id for s in sightings)):
        on_thread.setdefault(value, []).append(send)
    contacts = _contacts(connection, {digest for s in sightings for digest in s.senders})
    people = {*contacts.values(), *(send.contact_id for found in by_tie.values() for send in found)}
    people |= {send.contact_id for found in on_thread.values() for send in found}
    to_contact: dict[str, list[SendTie]] = {}
    for value, send in _sends(connection, account, "contact_id", people):
        to_contact.setdefault(value, []).append(send)
    return Findings(by_tie, on_thread, contacts, to_contact, _engaged(connection, account, people))


def _sends(connection: Connection, account: str, column: str, values: Iterable[str]) -> Iterator[tuple[str, SendTie]]:
    for some in _chunks(values):
        for row in connection.execute(_send_ties(column), {"in_account": account, "them": some, "as_they_are": some}):
            yield row.sought, _send_tie(row)


@cache
def _send_ties(named: str) -> Select[tuple[str]]:
    c = sends.c
    column: Column[str] = c[named]
    is_one: ColumnElement[bool] = column.in_(bindparam("them", expanding=True, type_=column.type))
    if isinstance(column.type, VeiledText):  # also as releases wrote it that did not veil it
        is_one = or_(is_one, type_coerce(column, Text).in_(bindparam("as_they_are", expanding=True, type_=Text)))
    columns = (
        c.key,
        c.workflow_id,
        c.contact_id,
        c.line,
        c.state,
        c.run_id,
        c.message_id,
        c.session_id,
        c.flow_id,
        c.template_id,
        c.claimed_at,
    )
    statement = select(column.label("sought"), *columns, engagements.c.closed_at, engagements.c.reference.label("ours"))
    statement = statement.outerjoin(engagements, engagements.c.workflow_id == c.workflow_id)
    return statement.where(c.account == bindparam("in_account"), is_one).order_by(c.claimed_at, c.key)


def _send_tie(row: Row[tuple[str]]) -> SendTie:
    return SendTie(
        send_key=row.key,
        workflow_id=row.workflow_id,
        contact_id=row.contact_id,
        line=row.line,
        state=LedgerState(row.state),
        run_id=row.run_id,
        message_id=row.message_id,
        session_id=row.session_id,
        flow_id=row.flow_id,
        template_id=row.template_id,
        claimed_at=row.claimed_at,
        is_open=row.ours is not None and row.closed_at is None,
    )


def _contacts(connection: Connection, digests: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for some in _chunks(digests):
        rows = connection.execute(_CONTACTS, {"them": [bytes.fromhex(digest) for digest in some]})
        found.update({row.digest.hex(): row.contact_id for row in rows})
    return found


def _engaged(connection: Connection, account: str, people: set[str]) -> dict[str, list[OpenEngagement]]:
    found: dict[str, list[OpenEngagement]] = {}
    for some in _chunks(people):
        for row in connection.execute(_ENGAGED, {"in_account": account, "them": some}):
            found.setdefault(row.contact_id, []).append(OpenEngagement(row.workflow_id, row.line))
    return found


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    """What can be looked up: no empty ids, and none that cannot be an id that we stored."""
    wanted = sorted({value for value in values if value and len(value) <= _LONGEST_ID and "\0" not in value})
    for start in range(0, len(wanted), _AT_ONCE):
        yield wanted[start : start + _AT_ONCE]
