"""Which engagements are to hear of events, which gateway has them in hand, and their own back-off.

Order of arrival is kept per engagement, because only one gateway at a time has an engagement in hand. An engagement
whose signals fail waits by itself and delays nobody.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

import structlog
from sqlalchemy import (
    BindParameter,
    Connection,
    Executable,
    Integer,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    update,
)

from domain.errors import SetupError
from domain.events import ProviderEvent
from store.clock import bookkeeping_now
from store.database import Database, insert_for
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

_READ_AT_ONCE = 500
"""Events of several engagements that are read together; whose part was cut off is read by itself."""

# Run in every round, so they are built only once.
_e, _r = inbox_events.c, inbox_relays.c
_THEM: BindParameter[str] = bindparam("them", expanding=True)
_ARE_PENDING = and_(_e.workflow_id.in_(_THEM), _e.state == EventState.PENDING.value)
_OWNERS = select(_r.workflow_id, _r.owner).where(_r.workflow_id.in_(_THEM)).order_by(_r.workflow_id).with_for_update()
_PENDING = (
    select(_e.workflow_id, _e.id, _e.provider, _e.payload, _e.received_at)
    .where(_ARE_PENDING)
    .order_by(_e.workflow_id, _e.delivery_id, _e.id)
    .limit(bindparam("most", type_=Integer))
)
_NEXT_DUE = select(_e.workflow_id, func.min(_e.due_at)).where(_ARE_PENDING).group_by(_e.workflow_id)
_DUE = (
    select(_r.workflow_id, _r.failures, _r.one_by_one)
    .where(_r.wanted_at <= bindparam("now"), _r.not_before <= bindparam("now"))
    .where(or_(_r.leased_until.is_(None), _r.leased_until <= bindparam("now")))
    .order_by(_r.wanted_at, _r.workflow_id)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
)
_TAKE = (
    update(inbox_relays)
    .where(_r.workflow_id.in_(_THEM))
    .values(owner=bindparam("mine"), leased_until=bindparam("until"))
)
_SETTLE = update(inbox_events).where(_e.id.in_(bindparam("them", expanding=True)), _e.state == EventState.PENDING.value)
_RELAYED = _SETTLE.values(state=EventState.RELAYED.value, settled_at=bindparam("at"), due_at=None, payload=None)
"""The engagement has the payload now."""
_NEXT_AT = select(func.min(case((_r.wanted_at < _r.not_before, _r.not_before), else_=_r.wanted_at))).where(
    _r.leased_until.is_(None)
)
_FORGET = delete(inbox_relays).where(_r.workflow_id.in_(_THEM))
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
class Ending:
    """What became of a batch: the final state of its events, or none where it is to be tried again after a pause."""

    batch: RelayBatch
    state: EventState | None
    reason: str = ""
    one_by_one: bool = False
    """Try again in batches of one."""


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


class Taking:
    """Takes engagements in hand within a transaction of somebody else's; for ``Outbound.opened`` after its commit."""

    def __init__(self, take: Callable[[Connection, int], list[_Sealed]], limit: int) -> None:
        self._take, self._limit = take, limit
        self.taken: list[_Sealed] = []
        self.left = frozenset[str]()
        """Those of the wanted that it did not take."""

    def within(self, connection: Connection, wanted: Collection[str]) -> None:
        """Take what is due now, the longest waiting first; ``wanted`` have just become so, or will be later."""
        self.taken = self._take(connection, self._limit)
        self.left = frozenset(wanted) - {one.workflow_id for one in self.taken}

    @property
    def is_full(self) -> bool:
        """Whether more may be due than it could take."""
        return len(self.taken) >= self._limit


def wanted_within(connection: Connection, wanted: Mapping[str, datetime], now: datetime) -> None:
    """Events are pending for these engagements, wanted at these instants; an earlier instant never moves back."""
    if not wanted:
        return
    rows = [
        {"workflow_id": workflow_id, "wanted_at": wanted[workflow_id], "not_before": now}
        | {"failures": 0, "one_by_one": False}
        for workflow_id in sorted(wanted)  # in one order everywhere, so that no two transactions wait for each other
    ]
    connection.execute(_want(connection.dialect.name), rows)


@cache
def _want(dialect: str) -> Executable:
    statement = insert_for(dialect, inbox_relays)
    new = statement.excluded.wanted_at
    sooner = case((_r.wanted_at < new, _r.wanted_at), else_=new)
    return statement.on_conflict_do_update(index_elements=["workflow_id"], set_={"wanted_at": sooner})


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
        return await self.turn((), limit)

    async def turn(self, endings: Sequence[Ending], limit: int) -> Due:
        """Write down what became of batches, and take what is due then, both in one transaction."""
        sealed, next_at = await self._db.write(lambda connection: self._turn(connection, endings, limit))
        return Due(await self._all_opened(sealed), next_at)

    def taking(self, limit: int) -> Taking:
        """For a transaction that makes engagements due, and may take them at once; ``limit`` as in ``due``."""
        return Taking(self._due, limit)

    async def opened(self, taking: Taking) -> tuple[RelayBatch, ...]:
        """The batches that were taken in a transaction which is committed now."""
        return await self._all_opened(taking.taken)

    async def _all_opened(self, sealed: Sequence[_Sealed]) -> tuple[RelayBatch, ...]:
        batches = []
        for one in sealed:
            try:
                batches.append(self._opened(one))
            except (SetupError, ValueError) as error:  # what does not open must not stop the other engagements
                await self._set_back(one, type(error).__name__)
        return tuple(batches)

    async def record(self, endings: Sequence[Ending]) -> None:
        """Write down what became of batches; their engagements are free for the next ones."""
        if endings:
            await self._db.write(lambda connection: self._record(connection, endings))

    async def settle(self, batch: RelayBatch, state: EventState, reason: str = "") -> None:
        """The events of ``batch`` reached a final state; the engagement is free for the next batch."""
        await self.record([Ending(batch, state, reason)])

    async def postpone(self, batch: RelayBatch, *, one_by_one: bool = False) -> None:
        """The batch could not be handed over: it is tried again after a pause, perhaps in batches of one."""
        await self.record([Ending(batch, None, one_by_one=one_by_one)])

    async def _set_back(self, sealed: _Sealed, error: str) -> None:
        log.error("events_do_not_open", workflow_id=sealed.workflow_id, events=len(sealed.rows), error=error)
        await self._db.write(lambda connection: self._postpone(connection, sealed, one_by_one=False))

    def _turn(
        self, connection: Connection, endings: Sequence[Ending], limit: int
    ) -> tuple[list[_Sealed], datetime | None]:
        if endings:
            self._record(connection, endings)
        return self._due(connection, limit) if limit > 0 else [], _next_at(connection)

    def _due(self, connection: Connection, limit: int) -> list[_Sealed]:
        now = self._clock()
        rows = connection.execute(_DUE, {"now": now, "most": limit}).all()
        if not rows:
            return []
        events = _pending(connection, {row.workflow_id: 1 if row.one_by_one else MOST_EVENTS for row in rows})
        sealed = [_Sealed(row.workflow_id, its, row.failures) for row in rows if (its := events[row.workflow_id])]
        _release(connection, [row.workflow_id for row in rows if not events[row.workflow_id]])
        if sealed:
            them = [one.workflow_id for one in sealed]
            connection.execute(_TAKE, {"them": them, "mine": self._owner, "until": now + self._lease})
        return sealed

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

    def _record(self, connection: Connection, endings: Sequence[Ending]) -> None:
        # relays are always locked before events here, as in wanted_within, and in the same order
        owners = connection.execute(_OWNERS, {"them": [one.batch.workflow_id for one in endings]})
        mine = {workflow_id for workflow_id, owner in owners if owner == self._owner}
        settled: dict[tuple[EventState, str], list[RelayBatch]] = defaultdict(list)
        for one in endings:
            if one.state is None:
                self._postpone(connection, one.batch, one_by_one=one.one_by_one)
            else:
                settled[one.state, one.reason].append(one.batch)
        for (state, reason), batches in settled.items():
            self._settle(connection, batches, state, reason)
        done = {batch.workflow_id for batches in settled.values() for batch in batches}
        _release(connection, sorted(mine & done))

    def _settle(self, connection: Connection, batches: Sequence[RelayBatch], state: EventState, reason: str) -> None:
        its = {"them": [event_id for batch in batches for event_id in batch.event_ids], "at": self._clock()}
        if state is EventState.RELAYED:
            connection.execute(_RELAYED, its)
            return
        values: dict[str, object] = {"state": state.value, "settled_at": bindparam("at"), "due_at": None}
        if reason:
            values["rule"] = reason
        connection.execute(_SETTLE.values(values), its)

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


_Event = tuple[int, str, bytes, datetime]
"""As it lies in the store: id, provider, payload, received at."""


def _pending(connection: Connection, most: Mapping[str, int]) -> dict[str, tuple[_Event, ...]]:
    """The oldest pending events of these engagements, each no more than ``most`` says and one signal may hold."""
    together = _READ_AT_ONCE if len(most) > 1 else max(most.values())
    found = _read(connection, list(most), together)
    if len(most) > 1 and sum(map(len, found.values())) == together:  # the last one's may be cut off, or not be there
        found.popitem()
        for workflow_id in sorted(most.keys() - found.keys()):
            found |= _read(connection, [workflow_id], most[workflow_id])
    return {workflow_id: _for_one_signal(found.get(workflow_id, [])[:many]) for workflow_id, many in most.items()}


def _read(connection: Connection, workflow_ids: list[str], most: int) -> dict[str, list[_Event]]:
    found: dict[str, list[_Event]] = {}
    for row in connection.execute(_PENDING, {"them": workflow_ids, "most": most}):
        found.setdefault(row.workflow_id, []).append((row.id, row.provider, row.payload, row.received_at))
    return found


def _for_one_signal(events: Sequence[_Event]) -> tuple[_Event, ...]:
    """At least one, and then no more than one signal may hold."""
    taken: list[_Event] = []
    size = 0
    for event in events:
        size += len(event[2])
        if taken and size > MOST_BYTES:
            break
        taken.append(event)
    return tuple(taken)


def _release(connection: Connection, workflow_ids: Sequence[str]) -> None:
    """Give engagements back: wanted again when their next event is due, forgotten where there is none."""
    if not workflow_ids:
        return
    wanted = {its: at for its, at in connection.execute(_NEXT_DUE, {"them": workflow_ids}) if at is not None}
    if idle := [workflow_id for workflow_id in workflow_ids if workflow_id not in wanted]:
        connection.execute(_FORGET, {"them": idle})
    if wanted:
        connection.execute(_FREE, [{"its": workflow_id, "at": wanted[workflow_id]} for workflow_id in sorted(wanted)])


def _next_at(connection: Connection) -> datetime | None:
    """When the next engagement is due that nobody has in hand."""
    found: datetime | None = connection.execute(_NEXT_AT).scalar_one()
    return found
