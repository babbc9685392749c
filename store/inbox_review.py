"""The inbox seen from outside: what waits there, and what nobody could match."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, func, or_, select, update

from domain.events import MessageStatusChanged, ProviderEvent
from store.arrivals import record_within
from store.clock import bookkeeping_now
from store.correlations import Sighting
from store.database import Database, insert_new
from store.inbox import Placement, forget_the_erased
from store.inbox_effects import apply_within
from store.inbox_relay import wanted_within
from store.inbox_tables import DeliveryState, EventState, inbox_deliveries, inbox_events, purpose_of
from store.keys import KeyRing

ERASED = "the person was erased"
"""Why an event that waited for a person waits no more."""

_AT_ONCE = 1000
_STATUS = MessageStatusChanged.model_fields["kind"].default
_FOR_A_PERSON = (EventState.UNMATCHED.value, EventState.PARKED.value)


@dataclass(frozen=True)
class InboxEntry:
    """An event as an operator sees it: where it stands and why, nothing of the person."""

    id: int
    provider: str
    account: str
    kind: str
    state: EventState
    rule: str
    workflow_id: str
    received_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True)
class InboxCounts:
    """How much lies in the inbox. ``unread`` are deliveries, the others events."""

    unread: int
    events: Mapping[EventState, int]


@dataclass(frozen=True)
class Unmatched:
    """An event that found no engagement so far, with what correlation needs."""

    id: int
    account: str
    provider: str
    kind: str
    sighting: Sighting
    payload: bytes
    """The event, sealed: most that is unmatched is opened by nobody."""
    received_at: datetime


class InboxReview:
    """Reads the inbox, moves what found its place. All methods may raise ``StoreUnavailable``."""

    def __init__(self, db: Database, keys: KeyRing, *, clock: Callable[[], datetime] = bookkeeping_now) -> None:
        self._db = db
        self._keys = keys
        self._clock = clock

    async def list(self, state: EventState, limit: int = 100, before: int | None = None) -> tuple[InboxEntry, ...]:
        """Events in a state, newest first; ``before`` is the id of the last one already seen."""
        return await self._db.read(lambda connection: _entries(connection, state, limit, before))

    async def counts(self) -> InboxCounts:
        """How many deliveries are unread and how many events stand where."""
        return await self._db.read(_counts)

    async def unmatched(self, since: datetime, after: int, limit: int) -> tuple[Unmatched, ...]:
        """Unmatched events received since an instant, in order of their ids after ``after``."""
        return await self._db.read(lambda connection: _unmatched(connection, since, after, limit))

    def opened(self, unmatched: Unmatched) -> ProviderEvent:
        """The event itself. Raises ``SetupError`` when its master key is not given here."""
        return self._open(unmatched.payload, unmatched.received_at)

    async def retry_unmatched(self, placed: Sequence[tuple[int, Placement]]) -> int:
        """Move events that are still unmatched to where they belong now; returns how many moved."""
        return await self._db.write(lambda connection: self._retry(connection, placed))

    def _open(self, payload: bytes, received_at: datetime) -> ProviderEvent:
        return ProviderEvent.model_validate_json(self._keys.open(payload, purpose_of(received_at)))

    def _retry(self, connection: Connection, placed: Sequence[tuple[int, Placement]]) -> int:
        """As everywhere: events are locked first, then sends, people and relays, each kind in one order."""
        places = dict(placed)
        rows = connection.execute(
            select(inbox_events)
            .where(
                inbox_events.c.id.in_(places),
                inbox_events.c.state == EventState.UNMATCHED.value,
                inbox_events.c.sighting.is_not(None),
            )
            .order_by(inbox_events.c.id)
            .with_for_update()
        ).all()  # without those that another gateway was faster to move
        tied = [row for row in rows if row.kind == _STATUS and places[row.id].message_of]
        told = [(places[row.id].message_of, self._open(row.payload, row.received_at)) for row in tied]
        record_within(connection, told)
        effects = [effects for row in rows if (effects := places[row.id].effects) is not None]
        apply_within(connection, self._keys, effects)
        wanted: set[str] = set()
        for row in rows:
            place = places[row.id]
            self._move(connection, row, place)
            if place.state is EventState.PENDING:
                wanted |= {place.workflow_id, *place.also}
        forget_the_erased(connection, {places[row.id].contact_id for row in rows} - {""})
        now = self._clock()
        wanted_within(connection, dict.fromkeys(wanted, now), now)
        return sum(places[row.id].state is not EventState.UNMATCHED for row in rows)

    def _move(self, connection: Connection, row: Row[tuple[int]], place: Placement) -> None:
        sighting = Sighting.model_validate_json(row.sighting).settled(may_weaken=place.may_weaken)
        values: dict[str, object] = {
            "state": place.state.value,
            "rule": place.rule,
            "contact_id": place.contact_id,
            "sighting": sighting.model_dump_json(),
        }
        if place.state is EventState.PENDING:
            event = self._open(row.payload, row.received_at).model_copy(update={"send_key": place.send_key})
            payload = self._keys.seal(event.model_dump_json().encode(), purpose_of(row.received_at))
            values |= {"workflow_id": place.workflow_id, "send_key": place.send_key, "payload": payload}
            values |= {"due_at": self._clock(), "sighting": None}
        elif place.state is EventState.LATE:
            values |= {"workflow_id": place.workflow_id, "settled_at": self._clock()}
        connection.execute(update(inbox_events).where(inbox_events.c.id == row.id).values(values))
        for other in place.also:
            self._copy(connection, row.id, other)

    def _copy(self, connection: Connection, event_id: int, workflow_id: str) -> None:
        c = inbox_events.c
        row = connection.execute(select(inbox_events).where(c.id == event_id)).mappings().one()
        values: dict[str, object] = {**row, "workflow_id": workflow_id, "send_key": ""}
        values["key_digest"] = self._keys.fingerprint(f"{row['key_digest']}@{workflow_id}")
        del values["id"]
        insert_new(connection, inbox_events, values, key=["account", "key_digest"])


def forget_within(
    connection: Connection, contact_id: str, *, workflow_ids: Sequence[str] = (), senders: Sequence[str] = ()
) -> int:
    """Erase what events hold of one person; that they came stays known. Part of erasing a candidate.

    The person's are those of the contact, those of ``workflow_ids``, and those that found no place and came from one
    of ``senders``, digests of the person's aliases in hexadecimal. Returns how many lost something.
    """
    c, now = inbox_events.c, bookkeeping_now()
    theirs = [c.contact_id == contact_id, c.workflow_id.in_(workflow_ids)] if contact_id else []
    theirs += [c.sighting.contains(digest) for digest in senders]
    ids = connection.execute(
        select(c.id)
        .where(or_(*theirs), or_(c.payload.is_not(None), c.sighting.is_not(None), c.contact_id != ""))
        .order_by(c.id)
        .with_for_update()
    ).scalars()
    found = list(ids)
    for start in range(0, len(found), _AT_ONCE):
        these = c.id.in_(found[start : start + _AT_ONCE])
        connection.execute(
            update(inbox_events)
            .where(these, c.state == EventState.PENDING.value)
            .values(state=EventState.LATE.value, due_at=None)
        )
        connection.execute(
            update(inbox_events)
            .where(these, c.state.in_(_FOR_A_PERSON))
            .values(state=EventState.DISCARDED.value, rule=ERASED, settled_at=now)
        )
        connection.execute(update(inbox_events).where(these).values(payload=None, sighting=None, contact_id=""))
    return len(found)


def _entries(connection: Connection, state: EventState, limit: int, before: int | None) -> tuple[InboxEntry, ...]:
    c = inbox_events.c
    wanted = select(inbox_events).where(c.state == state.value).order_by(c.id.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(c.id < before)
    return tuple(
        InboxEntry(
            id=row.id,
            provider=row.provider,
            account=row.account,
            kind=row.kind,
            state=EventState(row.state),
            rule=row.rule,
            workflow_id=row.workflow_id,
            received_at=row.received_at,
            settled_at=row.settled_at,
        )
        for row in connection.execute(wanted)
    )


def _counts(connection: Connection) -> InboxCounts:
    unread = connection.execute(
        select(func.count()).select_from(inbox_deliveries).where(inbox_deliveries.c.state == DeliveryState.NEW.value)
    ).scalar_one()
    by_state = select(inbox_events.c.state, func.count().label("many")).group_by(inbox_events.c.state)
    found = {row.state: row.many for row in connection.execute(by_state)}
    return InboxCounts(unread, {state: found.get(state.value, 0) for state in EventState})


def _unmatched(connection: Connection, since: datetime, after: int, limit: int) -> tuple[Unmatched, ...]:
    c = inbox_events.c
    rows = connection.execute(
        select(c.id, c.account, c.provider, c.kind, c.sighting, c.payload, c.received_at)
        .where(c.state == EventState.UNMATCHED.value, c.id > after, c.received_at >= since, c.sighting.is_not(None))
        .order_by(c.id)
        .limit(limit)
    )
    return tuple(
        Unmatched(
            id=row.id,
            account=row.account,
            provider=row.provider,
            kind=row.kind,
            sighting=Sighting.model_validate_json(row.sighting),
            payload=row.payload,
            received_at=row.received_at,
        )
        for row in rows
    )
