"""Which engagements are to hear of events, which gateway has them in hand, and their own back-off.

Order of arrival is kept per engagement, because only one gateway at a time has an engagement in hand. An engagement
whose signals fail waits by itself and delays nobody.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, Integer, and_, bindparam, case, delete, func, or_, select, update

from domain.errors import SetupError
from domain.events import ProviderEvent
from store.clock import bookkeeping_now
from store.database import Database, insert_into
from store.inbox_tables import EventState, inbox_events, inbox_relays, purpose_of
from store.keys import KeyRing

log = structlog.get_logger()

LEASE = timedelta(seconds=25)
"""How long an engagement may be in hand: well beyond the longest hand-over."""
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=1)
"""Back-off of one engagement, doubled at each failure."""
MOST_EVENTS = 100
MOST_BYTES = 512 * 1024
"""One signal holds no more than this: Temporal refuses payloads over 2 MiB."""

# Run once per signal, so they are built only once.
_e, _r = inbox_events.c, inbox_relays.c
_IS_PENDING = and_(_e.workflow_id == bindparam("its"), _e.state == EventState.PENDING.value)
_OWNER = select(_r.owner).where(_r.workflow_id == bindparam("its")).with_for_update()
_PENDING = (
    select(_e.id, _e.provider, _e.payload, _e.received_at)
    .where(_IS_PENDING)
    .order_by(_e.delivery_id, _e.id)
    .limit(bindparam("most", type_=Integer))
)
_NEXT_DUE = select(func.min(_e.due_at)).where(_IS_PENDING)
_FORGET = delete(inbox_relays).where(_r.workflow_id == bindparam("its"))
_FREE = (
    update(inbox_relays)
    .where(_r.workflow_id == bindparam("its"))
    .values(wanted_at=bindparam("at"), failures=0, owner="", leased_until=None)
)


@dataclass(frozen=True)
class RelayBatch:
    """Events of one engagement in order of arrival, in this gateway's hand."""

    workflow_id: str
    provider: str
    events: tuple[ProviderEvent, ...]
    event_ids: tuple[int, ...]
    received_at: tuple[datetime, ...]
    failures: int


@dataclass(frozen=True)
class Due:
    """What is to be handed over now, and when the next will be due, if any waits."""

    batches: tuple[RelayBatch, ...]
    next_at: datetime | None


@dataclass(frozen=True)
class _Sealed:
    """A batch as it lies in the store: (id, provider, payload, received at) of each event."""

    workflow_id: str
    rows: tuple[tuple[int, str, bytes, datetime], ...]
    failures: int


def wanted_within(connection: Connection, wanted: Mapping[str, datetime], now: datetime) -> None:
    """Events are pending for these engagements, wanted at these instants; an earlier instant never moves back."""
    if not wanted:
        return
    statement = insert_into(connection, inbox_relays)
    c, new = inbox_relays.c, statement.excluded.wanted_at
    sooner = case((c.wanted_at < new, c.wanted_at), else_=new)
    rows = [
        {"workflow_id": workflow_id, "wanted_at": wanted[workflow_id], "not_before": now}
        | {"failures": 0, "one_by_one": False}
        for workflow_id in sorted(wanted)  # in one order everywhere, so that no two transactions wait for each other
    ]
    changed = {"wanted_at": sooner}
    connection.execute(statement.on_conflict_do_update(index_elements=["workflow_id"], set_=changed), rows)


class Outbound:
    """Batches for the relay. ``owner`` names this gateway. All methods may raise ``StoreUnavailable``."""

    def __init__(
        self,
        db: Database,
        keys: KeyRing,
        *,
        owner: str | None = None,
        lease: timedelta = LEASE,
        clock: Callable[[], datetime] = bookkeeping_now,
    ) -> None:
        self._db = db
        self._keys = keys
        self._owner = owner or secrets.token_hex(8)
        self._lease = lease
        self._clock = clock

    async def due(self, limit: int) -> Due:
        """Take up to ``limit`` engagements in hand whose events are due, the longest waiting first."""
        sealed, next_at = await self._db.write(lambda connection: self._due(connection, limit))
        batches = []
        for one in sealed:
            try:
                batches.append(self._opened(one))
            except (SetupError, ValueError) as error:  # what does not open must not stop the other engagements
                await self._set_back(one, type(error).__name__)
        return Due(tuple(batches), next_at)

    async def settle(self, batch: RelayBatch, state: EventState, reason: str = "") -> None:
        """The events of ``batch`` reached a final state; the engagement is free for the next batch."""
        await self._db.write(lambda connection: self._settle(connection, batch, state, reason))

    async def postpone(self, batch: RelayBatch, *, one_by_one: bool = False) -> None:
        """The batch could not be handed over: it is tried again after a pause, perhaps in batches of one."""
        await self._db.write(lambda connection: self._postpone(connection, batch, one_by_one=one_by_one))

    async def _set_back(self, sealed: _Sealed, error: str) -> None:
        log.error("events_do_not_open", workflow_id=sealed.workflow_id, events=len(sealed.rows), error=error)
        await self._db.write(lambda connection: self._postpone(connection, sealed, one_by_one=False))

    def _due(self, connection: Connection, limit: int) -> tuple[list[_Sealed], datetime | None]:
        now, c = self._clock(), inbox_relays.c
        free = or_(c.leased_until.is_(None), c.leased_until <= now)
        rows = connection.execute(
            select(c.workflow_id, c.failures, c.one_by_one)
            .where(c.wanted_at <= now, c.not_before <= now, free)
            .order_by(c.wanted_at, c.workflow_id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        sealed = []
        for row in rows:
            events = _pending(connection, row.workflow_id, 1 if row.one_by_one else MOST_EVENTS)
            if events:
                sealed.append(_Sealed(row.workflow_id, events, row.failures))
            else:
                _release(connection, row.workflow_id)
        if sealed:
            connection.execute(
                update(inbox_relays)
                .where(c.workflow_id.in_([one.workflow_id for one in sealed]))
                .values(owner=self._owner, leased_until=now + self._lease)
            )
        return sealed, _next_at(connection)

    def _opened(self, sealed: _Sealed) -> RelayBatch:
        events = tuple(
            ProviderEvent.model_validate_json(self._keys.open(payload, purpose_of(received_at)))
            for _, _, payload, received_at in sealed.rows
        )
        return RelayBatch(
            workflow_id=sealed.workflow_id,
            provider=sealed.rows[0][1],
            events=events,
            event_ids=tuple(row[0] for row in sealed.rows),
            received_at=tuple(row[3] for row in sealed.rows),
            failures=sealed.failures,
        )

    def _settle(self, connection: Connection, batch: RelayBatch, state: EventState, reason: str) -> None:
        # relays are always locked before events here, as in wanted_within
        mine = self._lock_mine(connection, batch.workflow_id)
        c = inbox_events.c
        values: dict[str, object] = {"state": state.value, "settled_at": self._clock(), "due_at": None}
        if state is EventState.RELAYED:
            values["payload"] = None  # the engagement has it now
        if reason:
            values["rule"] = reason
        connection.execute(
            update(inbox_events).where(c.id.in_(batch.event_ids), c.state == EventState.PENDING.value).values(values)
        )
        if mine:
            _release(connection, batch.workflow_id)

    def _postpone(self, connection: Connection, batch: RelayBatch | _Sealed, *, one_by_one: bool) -> None:
        c = inbox_relays.c
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(batch.failures, 10))
        values: dict[str, object] = {
            "failures": c.failures + 1,
            "not_before": self._clock() + pause,
            "owner": "",
            "leased_until": None,
        }
        if one_by_one:
            values["one_by_one"] = True
        connection.execute(
            update(inbox_relays).where(c.workflow_id == batch.workflow_id, c.owner == self._owner).values(values)
        )

    def _lock_mine(self, connection: Connection, workflow_id: str) -> bool:
        owner = connection.execute(_OWNER, {"its": workflow_id}).scalar_one_or_none()
        return owner == self._owner


def _pending(connection: Connection, workflow_id: str, limit: int) -> tuple[tuple[int, str, bytes, datetime], ...]:
    """The oldest pending events of one engagement; at least one, and then no more than one signal may hold."""
    rows = connection.execute(_PENDING, {"its": workflow_id, "most": limit})
    taken: list[tuple[int, str, bytes, datetime]] = []
    size = 0
    for row in rows:
        size += len(row.payload)
        if taken and size > MOST_BYTES:
            break
        taken.append((row.id, row.provider, row.payload, row.received_at))
    return tuple(taken)


def _release(connection: Connection, workflow_id: str) -> None:
    """Give an engagement back: wanted again when its next event is due, forgotten when it has none."""
    wanted_at = connection.execute(_NEXT_DUE, {"its": workflow_id}).scalar_one()
    if wanted_at is None:
        connection.execute(_FORGET, {"its": workflow_id})
    else:
        connection.execute(_FREE, {"its": workflow_id, "at": wanted_at})


def _next_at(connection: Connection) -> datetime | None:
    """When the next engagement is due that nobody has in hand."""
    c = inbox_relays.c
    at = case((c.wanted_at < c.not_before, c.not_before), else_=c.wanted_at)
    earliest = select(func.min(at)).where(c.leased_until.is_(None))
    found: datetime | None = connection.execute(earliest).scalar_one()
    return found
