"""The inbox as a person works on it: one event at a time, and each step with who did it and why."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from domain.errors import NotAllowed, NotFound, SetupError
from domain.events import ProviderEvent
from store.clock import bookkeeping_now
from store.correlations import Sighting
from store.database import Database
from store.inbox_relay import wanted_within
from store.inbox_tables import DeliveryState, EventState, inbox_deliveries, inbox_events, inbox_relays, purpose_of
from store.keys import KeyRing

WAITING_FOR_A_PERSON = (EventState.UNMATCHED, EventState.PARKED, EventState.QUARANTINED)
"""Where nothing more happens by itself, or only once something else becomes known."""
REPLAYABLE = (*WAITING_FOR_A_PERSON, EventState.LATE)
ASSIGNABLE = (EventState.UNMATCHED, EventState.PARKED, EventState.LATE)

_LONGEST_RULE = 500


@dataclass(frozen=True)
class Wanted:
    """Which events to list. An empty filter wants all; ``rule`` matches a part of the reason."""

    states: tuple[EventState, ...] = ()
    account: str = ""
    rule: str = ""
    before: int | None = None
    limit: int = 100


@dataclass(frozen=True)
class DeskEntry:
    """An event as it lies there. ``event`` is None where there is nothing to open: taken, erased or not readable.

    ``failures`` and ``not_before`` tell of signals to its engagement that failed, while it is pending.
    """

    id: int
    provider: str
    account: str
    kind: str
    state: EventState
    rule: str
    workflow_id: str
    send_key: str
    received_at: datetime
    settled_at: datetime | None
    failures: int
    not_before: datetime | None
    may_weaken: bool
    """False once a weak tie was ambiguous: trying again must not find it clear because one of several has ended."""
    event: ProviderEvent | None = None


class InboxDesk:
    """Lists events and moves them by hand. Every method may raise ``StoreUnavailable``."""

    def __init__(self, db: Database, keys: KeyRing, *, clock: Callable[[], datetime] = bookkeeping_now) -> None:
        self._db = db
        self._keys = keys
        self._clock = clock

    async def list(self, wanted: Wanted) -> tuple[DeskEntry, ...]:
        """Events, newest first, unopened."""
        rows = await self._db.read(lambda connection: connection.execute(_listed(wanted)).all())
        return tuple(_entry(row) for row in rows)

    async def get(self, event_id: int) -> DeskEntry:
        """One event, opened where it can be. Raises ``NotFound``."""
        wanted = _entries().where(inbox_events.c.id == event_id)
        row = await self._db.read(lambda connection: connection.execute(wanted).one_or_none())
        if row is None:
            raise _missing(event_id)
        return _entry(row, self._opened(row))

    async def of_engagement(self, workflow_id: str) -> tuple[DeskEntry, ...]:
        """What lies here for one engagement, in order of arrival, opened where it can be."""
        wanted = _entries().where(inbox_events.c.workflow_id == workflow_id).order_by(inbox_events.c.id)
        rows = await self._db.read(lambda connection: connection.execute(wanted).all())
        return tuple(_entry(row, self._opened(row)) for row in rows)

    async def reopen(self, event_id: int, sighting: str) -> None:
        """Make an event unmatched again, to be tried by ``sighting``.

        Raises ``NotFound``, and ``NotAllowed`` where it has moved on meanwhile.
        """
        await self._db.write(lambda connection: _reopen(connection, event_id, sighting))

    async def assign(self, event_id: int, workflow_id: str, actor: str, reason: str) -> None:
        """A person says where an event belongs: it is handed to that engagement at once.

        Raises ``NotFound`` for an event that is not there and ``NotAllowed`` for one that needs nobody.
        """
        await self._db.write(lambda connection: self._assign(connection, event_id, workflow_id, actor, reason))

    async def discard(self, event_id: int, actor: str, reason: str) -> None:
        """A person says that an event belongs nowhere. It stays visible until it is purged. Raises as ``assign``."""
        await self._db.write(lambda connection: self._discard(connection, event_id, actor, reason))

    async def reread(self, event_id: int) -> None:
        """Read a quarantined delivery once more, after what could not read it was put right.

        Raises ``NotFound`` for an event that is not there and ``NotAllowed`` for one that is not quarantined.
        """
        await self._db.write(lambda connection: _reread(connection, event_id))

    def _opened(self, row: Row[tuple[int]]) -> ProviderEvent | None:
        if row.payload is None or row.state == EventState.QUARANTINED.value:
            return None
        try:
            return ProviderEvent.model_validate_json(self._keys.open(row.payload, purpose_of(row.received_at)))
        except (SetupError, ValueError):  # sealed by another master key, or written by a release that is gone
            return None

    def _assign(self, connection: Connection, event_id: int, workflow_id: str, actor: str, reason: str) -> None:
        row, now = _need(connection, event_id, ASSIGNABLE), self._clock()
        if row.payload is None:
            raise NotAllowed(f"Event {event_id} holds nothing any more: the person it was from was erased")
        _update(
            connection,
            event_id,
            state=EventState.PENDING.value,
            rule=_by_hand("assigned", actor, reason, row.rule),
            workflow_id=workflow_id,
            due_at=now,
            settled_at=None,
            sighting=None,
        )
        wanted_within(connection, {workflow_id: now}, now)

    def _discard(self, connection: Connection, event_id: int, actor: str, reason: str) -> None:
        row = _need(connection, event_id, WAITING_FOR_A_PERSON)
        rule = _by_hand("discarded", actor, reason, row.rule)
        state = EventState.DISCARDED.value
        _update(connection, event_id, state=state, rule=rule, sighting=None, settled_at=self._clock())


def _reopen(connection: Connection, event_id: int, sighting: str) -> None:
    _need(connection, event_id, REPLAYABLE)
    unmatched = {"state": EventState.UNMATCHED.value, "workflow_id": "", "send_key": "", "sighting": sighting}
    _update(connection, event_id, **unmatched, due_at=None, settled_at=None)


def _reread(connection: Connection, event_id: int) -> None:
    row = _need(connection, event_id, (EventState.QUARANTINED,))
    connection.execute(
        insert(inbox_deliveries).values(
            provider=row.provider,
            account=row.account,
            state=DeliveryState.NEW.value,
            body=row.payload,
            received_at=row.received_at,
        )
    )
    connection.execute(delete(inbox_events).where(inbox_events.c.id == event_id))


def _need(connection: Connection, event_id: int, states: tuple[EventState, ...]) -> Row[tuple[int]]:
    """The event, locked. Raises ``NotFound`` and ``NotAllowed``."""
    row = connection.execute(select(inbox_events).where(inbox_events.c.id == event_id).with_for_update()).one_or_none()
    if row is None:
        raise _missing(event_id)
    if row.state not in states:
        raise NotAllowed(f"Event {event_id} is {row.state}: this is for events that are {' or '.join(states)}")
    return row


def _missing(event_id: int) -> NotFound:
    return NotFound(f"There is no event {event_id} in the inbox: `rapport inbox list` shows those that wait")


def _update(connection: Connection, event_id: int, **values: object) -> None:
    connection.execute(update(inbox_events).where(inbox_events.c.id == event_id).values(values))


def _by_hand(what: str, actor: str, reason: str, before: str) -> str:
    """Who did it and why, kept in the event's row with the reason that stood there before."""
    return f"{what} by {actor}: {reason} (was: {before or 'no reason'})"[:_LONGEST_RULE].replace("\0", "")


def _entries() -> Select[tuple[int]]:
    relays = inbox_relays.c
    return select(
        inbox_events, func.coalesce(relays.failures, 0).label("failures"), relays.not_before.label("not_before")
    ).outerjoin(inbox_relays, relays.workflow_id == inbox_events.c.workflow_id)


def _listed(wanted: Wanted) -> Select[tuple[int]]:
    c = inbox_events.c
    statement = _entries().order_by(c.id.desc()).limit(wanted.limit)
    if wanted.states:
        statement = statement.where(c.state.in_([state.value for state in wanted.states]))
    if wanted.account:
        statement = statement.where(c.account == wanted.account)
    if wanted.rule:
        statement = statement.where(c.rule.icontains(wanted.rule, autoescape=True))
    if wanted.before is not None:
        statement = statement.where(c.id < wanted.before)
    return statement


def _entry(row: Row[tuple[int]], event: ProviderEvent | None = None) -> DeskEntry:
    waits = row.state == EventState.PENDING.value
    return DeskEntry(
        id=row.id,
        provider=row.provider,
        account=row.account,
        kind=row.kind,
        state=EventState(row.state),
        rule=row.rule,
        workflow_id=row.workflow_id,
        send_key=row.send_key,
        received_at=row.received_at,
        settled_at=row.settled_at,
        failures=row.failures if waits else 0,
        not_before=row.not_before if waits and row.failures else None,
        may_weaken=row.sighting is None or Sighting.model_validate_json(row.sighting).may_weaken,
        event=event,
    )
