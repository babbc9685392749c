"""The inbox: deliveries that were answered 200, and the events read from them.

Several gateways share one inbox. Whoever works on a delivery holds a lease on it; a gateway that dies loses its leases
by time, and another one goes on. Reading a delivery twice adds nothing, since event keys are unique per account.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache

import structlog
from sqlalchemy import Connection, Integer, Select, Table, bindparam, func, insert, or_, select, update
from sqlalchemy.sql.dml import ReturningInsert

from domain.errors import SetupError
from domain.events import ProviderEvent
from store.arrivals import record_within
from store.clock import bookkeeping_now
from store.correlations import Sighting
from store.database import Database, insert_for
from store.erasure_tables import erasures
from store.inbox_effects import ContactEffects, apply_within
from store.inbox_gates import apply_within as apply_to_scopes_within
from store.inbox_gates import gates_within
from store.inbox_relay import Taking, wanted_within
from store.inbox_tables import DeliveryState, EventState, inbox_deliveries, inbox_events, purpose_of
from store.keys import KeyRing

log = structlog.get_logger()

LEASE = timedelta(seconds=15)
"""How long a gateway may take to read the deliveries that it claimed."""
LINGER = timedelta(seconds=3)
"""How long mere progress of a message waits for company before it is relayed."""

_QUARANTINED_KIND = "delivery"

# Run for every delivery, so they are built only once.
_d = inbox_deliveries.c
_KEEP = insert(inbox_deliveries)
_LAST = select(func.max(_d.id))
_DONE = (
    update(inbox_deliveries)
    .where(
        _d.id.in_(bindparam("them", expanding=True)), _d.state == DeliveryState.NEW.value, _d.owner == bindparam("mine")
    )
    .values(state=DeliveryState.PARSED.value, body=None, leased_until=None, parsed_at=bindparam("at"))
    .returning(_d.id)
)
_ERASED = select(erasures.c.contact_id).where(
    erasures.c.contact_id.in_(bindparam("them", expanding=True)), erasures.c.erased_at.is_not(None)
)


@dataclass(frozen=True)
class Delivery:
    """An authentic request from a provider, as it came."""

    provider: str
    account: str
    body: bytes
    received_at: datetime
    key: str = ""
    """What its sender calls it, where its place needs that to tell repeats."""

    def __repr__(self) -> str:
        return f"Delivery(account={self.account!r}, bytes={len(self.body)})"


@dataclass(frozen=True)
class StoredDelivery:
    """A delivery that this gateway has claimed."""

    id: int
    delivery: Delivery


@dataclass(frozen=True)
class Placement:
    """Where an event goes, and why. ``also`` are further engagements that must hear the same fact.

    ``message_of`` is the send whose message it is about, where it is about one.
    """

    state: EventState
    rule: str
    workflow_id: str = ""
    send_key: str = ""
    contact_id: str = ""
    message_of: str = ""
    may_weaken: bool = True
    also: tuple[str, ...] = ()
    effects: ContactEffects | None = None


@dataclass(frozen=True)
class PlacedEvent:
    """An event with its place."""

    event: ProviderEvent
    sighting: Sighting
    placement: Placement


@dataclass(frozen=True)
class ReadDelivery:
    """What was read from a claimed delivery. ``quarantine`` says why its bytes could not be used, else empty."""

    stored: StoredDelivery
    events: tuple[PlacedEvent, ...] = ()
    quarantine: str = ""


@dataclass(frozen=True)
class Kept:
    """One event and what became of it: its state, or ``duplicate``."""

    provider: str
    kind: str
    result: str


DUPLICATE = "duplicate"


class Inbox:
    """The inbox in the store. ``owner`` names this gateway. Every method may raise ``StoreUnavailable``."""

    def __init__(
        self,
        db: Database,
        keys: KeyRing,
        *,
        owner: str | None = None,
        lease: timedelta = LEASE,
        linger: timedelta = LINGER,
        clock: Callable[[], datetime] = bookkeeping_now,
    ) -> None:
        self._db = db
        self._keys = keys
        self._owner = owner or secrets.token_hex(8)
        self._lease = lease
        self._linger = linger
        self._clock = clock

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Store deliveries durably, all or none, in this order."""
        await self._db.write(lambda connection: self._keep(connection, deliveries))

    async def keep_in_hand(self, deliveries: Sequence[Delivery]) -> tuple[StoredDelivery, ...]:
        """As ``keep``, and take them in hand at once, as ``claim`` would."""
        ids = await self._db.write(lambda connection: self._keep(connection, deliveries, in_hand=True))
        return tuple(StoredDelivery(id_, one) for id_, one in zip(ids, deliveries, strict=True))

    async def claim(self, accounts: Collection[str], limit: int) -> tuple[StoredDelivery, ...]:
        """Take unread deliveries of ``accounts`` in hand, oldest first; nobody else gets them until the lease ends.

        One that does not open here (its master key is not given) is left to rest and reported in the log.
        """
        sealed = await self._db.write(lambda connection: self._claim(connection, accounts, limit))
        opened = []
        for one in sealed:
            try:
                body = self._keys.open(one.delivery.body, purpose_of(one.delivery.received_at))
            except SetupError as error:
                log.warning("delivery_does_not_open", delivery=one.id, reason=str(error))
            else:
                opened.append(StoredDelivery(one.id, replace(one.delivery, body=body)))
        return tuple(opened)

    async def keep_events(self, read: Sequence[ReadDelivery], taking: Taking | None = None) -> tuple[Kept, ...]:
        """Store what was read, with its effects on contacts, and drop the raw bodies: one transaction.

        Where an engagement is to hear of it at once, ``taking`` takes it in hand in the same transaction. A delivery
        whose lease went to another gateway is left to that one.
        """
        return await self._db.write(lambda connection: self._keep_events(connection, read, taking))

    def _keep(self, connection: Connection, deliveries: Sequence[Delivery], *, in_hand: bool = False) -> Sequence[int]:
        """The ids of what was stored where it was taken in hand, else nothing: counting them costs."""
        if not deliveries:
            return ()
        rows: list[dict[str, object]] = [
            {
                "provider": delivery.provider,
                "account": delivery.account,
                "state": DeliveryState.NEW.value,
                "body": self._keys.seal(delivery.body, purpose_of(delivery.received_at)),
                "received_at": delivery.received_at,
            }
            for delivery in deliveries
        ]
        if not in_hand:
            connection.execute(_KEEP, rows)
            return ()
        lease = {"owner": self._owner, "leased_until": self._clock() + self._lease}
        if connection.dialect.name == "sqlite":  # has one writer at a time, and numbers rows as they come
            connection.execute(_KEEP, [row | lease for row in rows])
            last = connection.execute(_LAST).scalar_one()
            return range(last - len(rows) + 1, last + 1)
        ids = _numbers(connection, len(rows), inbox_deliveries)
        connection.execute(_KEEP, [row | lease | {"id": id_} for row, id_ in zip(rows, ids, strict=True)])
        return ids

    def _claim(self, connection: Connection, accounts: Collection[str], limit: int) -> list[StoredDelivery]:
        """The deliveries with their bodies as they lie there, sealed."""
        now, c = self._clock(), inbox_deliveries.c
        rows = connection.execute(
            select(c.id, c.provider, c.account, c.body, c.received_at)
            .where(
                c.state == DeliveryState.NEW.value,
                c.account.in_(sorted(accounts)),
                or_(c.leased_until.is_(None), c.leased_until <= now),
            )
            .order_by(c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        if rows:
            connection.execute(
                update(inbox_deliveries)
                .where(c.id.in_([row.id for row in rows]))
                .values(owner=self._owner, leased_until=now + self._lease)
            )
        return [StoredDelivery(row.id, Delivery(row.provider, row.account, row.body, row.received_at)) for row in rows]

    def _keep_events(
        self, connection: Connection, read: Sequence[ReadDelivery], taking: Taking | None
    ) -> tuple[Kept, ...]:
        """Every kind of row is locked in one order everywhere, so no two transactions wait for each other."""
        mine = self._finish(connection, [one.stored.id for one in read])
        told = [fact for one in read if one.stored.id in mine for fact in self._facts(_at_gates(connection, one))]
        new = _first_of_each(told, self._insert(connection, [fact.row for fact in told]))
        self._insert(connection, [row for fact in new for row in self._rows_for_others(fact)])
        placed = [fact.placed for fact in new if fact.placed is not None]
        record_within(connection, [(one.placement.message_of, one.event) for one in placed])
        effects = [one.placement.effects for one in placed if one.placement.effects is not None]
        apply_within(connection, self._keys, effects)
        scoped = [(fact.stored.delivery.account, fact.placed.event) for fact in new if fact.stored and fact.placed]
        apply_to_scopes_within(connection, scoped, self._clock())
        wanted_within(connection, wanted := self._wanted(placed), self._clock())
        forget_the_erased(connection, {one.placement.contact_id for one in placed} - {""})
        if taking is not None and wanted and min(wanted.values()) <= self._clock():
            taking.within(connection, wanted)
        is_new = set(map(id, new))
        return tuple(
            Kept(fact.provider, fact.kind, fact.state.value if id(fact) in is_new else DUPLICATE) for fact in told
        )

    def _finish(self, connection: Connection, delivery_ids: Sequence[int]) -> set[int]:
        """Which of the deliveries were still this gateway's; they are done now."""
        its = {"them": list(delivery_ids), "mine": self._owner, "at": self._clock()}
        return set(connection.execute(_DONE, its).scalars())

    def _facts(self, one: ReadDelivery) -> list["_Fact"]:
        facts = [self._fact(one.stored, placed) for placed in one.events]
        return [self._quarantine(one), *facts] if one.quarantine else facts

    def _quarantine(self, one: ReadDelivery) -> "_Fact":
        """The bytes become an event of their own, known by what they are: sent again, they are kept once."""
        delivery = one.stored.delivery
        row = self._row(one.stored, self._keys.fingerprint("quarantine:" + delivery.body.hex()), _QUARANTINED_KIND)
        row |= {
            "state": EventState.QUARANTINED.value,
            "rule": one.quarantine[:200].replace("\0", ""),
            "payload": self._keys.seal(delivery.body, purpose_of(delivery.received_at)),
            "settled_at": self._clock(),
        }
        return _Fact(row, delivery.provider, _QUARANTINED_KIND, EventState.QUARANTINED)

    def _fact(self, stored: StoredDelivery, placed: PlacedEvent) -> "_Fact":
        place, event = placed.placement, placed.event
        if place.send_key:
            event = event.model_copy(update={"send_key": place.send_key})
        row = self._event_row(stored, placed, event) | {"workflow_id": place.workflow_id, "send_key": event.send_key}
        return _Fact(row, stored.delivery.provider, event.body.kind, place.state, placed, stored)

    def _rows_for_others(self, fact: "_Fact") -> list[dict[str, object]]:
        """The same fact for each further engagement that must hear of it."""
        if fact.placed is None or fact.stored is None or not fact.placed.placement.also:
            return []
        row = self._event_row(fact.stored, fact.placed, fact.placed.event)
        return [
            row | {"workflow_id": other, "key_digest": self._keys.fingerprint(f"{fact.row['key_digest']}@{other}")}
            for other in fact.placed.placement.also
        ]

    def _event_row(self, stored: StoredDelivery, placed: PlacedEvent, event: ProviderEvent) -> dict[str, object]:
        place, pending = placed.placement, placed.placement.state is EventState.PENDING
        return self._row(stored, self._keys.fingerprint(event.key), event.body.kind) | {
            "state": place.state.value,
            "rule": place.rule,
            "contact_id": place.contact_id,
            "sighting": None if pending else placed.sighting.settled(may_weaken=place.may_weaken).model_dump_json(),
            "payload": self._keys.seal(event.model_dump_json().encode(), purpose_of(stored.delivery.received_at)),
            "due_at": self._due(event) if pending else None,
            "settled_at": self._clock() if place.state in (EventState.NO_EFFECT, EventState.LATE) else None,
        }

    def _insert(self, connection: Connection, rows: Sequence[dict[str, object]]) -> set[tuple[object, object]]:
        """Insert what is not there yet; gives (account, key digest) of what was inserted. Ids follow the order given.

        Of several transactions that insert the same rows each waits for the one that was first: so they insert in the
        order of the keys, whatever the order in which the rows are numbered.
        """
        if not rows:
            return set()
        if connection.dialect.name != "sqlite":  # which has one writer at a time, and numbers rows as they come
            numbered = [row | {"id": id_} for row, id_ in zip(rows, _numbers(connection, len(rows)), strict=True)]
            rows = sorted(numbered, key=lambda row: (str(row["account"]), str(row["key_digest"])))
        return {(row[0], row[1]) for row in connection.execute(_add_events(connection.dialect.name), rows)}

    def _wanted(self, placed: Sequence[PlacedEvent]) -> dict[str, datetime]:
        """Engagements with new pending events, and when they want them."""
        wanted: dict[str, datetime] = {}
        for one in placed:
            if one.placement.state is EventState.PENDING:
                due = self._due(one.event)
                for workflow_id in (one.placement.workflow_id, *one.placement.also):
                    wanted[workflow_id] = min(due, wanted.get(workflow_id, due))
        return wanted

    def _row(self, stored: StoredDelivery, digest: str, kind: str) -> dict[str, object]:
        """Every column, so that rows of different kinds are inserted together."""
        return {
            "delivery_id": stored.id,
            "provider": stored.delivery.provider,
            "account": stored.delivery.account,
            "key_digest": digest,
            "kind": kind,
            "workflow_id": "",
            "send_key": "",
            "contact_id": "",
            "sighting": None,
            "due_at": None,
            "received_at": stored.delivery.received_at,
        }

    def _due(self, event: ProviderEvent) -> datetime:
        return self._clock() + (timedelta(0) if event.is_urgent else self._linger)


@cache
def _add_events(dialect: str) -> ReturningInsert[str, str]:
    added = insert_for(dialect, inbox_events).on_conflict_do_nothing()
    return added.returning(inbox_events.c.account, inbox_events.c.key_digest)


def _at_gates(connection: Connection, one: ReadDelivery) -> ReadDelivery:
    """An event about a template or a flow belongs to no engagement, but to the gates at which some may wait."""
    return replace(
        one, events=tuple(_at_gate(connection, one.stored.delivery.account, placed) for placed in one.events)
    )


def _at_gate(connection: Connection, account: str, placed: PlacedEvent) -> PlacedEvent:
    gates = gates_within(connection, account, placed.event)
    if not gates:
        return placed
    there = replace(placed.placement, state=EventState.PENDING, rule="gate", workflow_id=gates[0], also=gates[1:])
    return replace(placed, placement=there)


@dataclass(frozen=True)
class _Fact:
    """A row to insert and what it came from; a delivery that could not be read has no event."""

    row: dict[str, object]
    provider: str
    kind: str
    state: EventState
    placed: PlacedEvent | None = None
    stored: StoredDelivery | None = None


def forget_the_erased(connection: Connection, contact_ids: Collection[str]) -> None:
    """What a provider still tells of somebody who was erased is known to have come, and that is all."""
    if not contact_ids:
        return
    gone = connection.execute(_ERASED, {"them": sorted(contact_ids)}).scalars().all()
    if not gone:
        return
    theirs = inbox_events.c.contact_id.in_(gone)
    late = {"state": EventState.LATE.value, "due_at": None, "settled_at": bookkeeping_now()}
    connection.execute(update(inbox_events).where(theirs).values(payload=None, sighting=None, contact_id="", **late))


def _first_of_each(told: Sequence[_Fact], inserted: set[tuple[object, object]]) -> list[_Fact]:
    """Those that were inserted: of several with one key in the same transaction, the first."""
    left, first = set(inserted), list[_Fact]()
    for fact in told:
        key = (fact.row["account"], fact.row["key_digest"])
        if key in left:
            left.remove(key)
            first.append(fact)
    return first


def _numbers(connection: Connection, many: int, table: Table = inbox_events) -> Sequence[int]:
    """The next ids, ascending. PostgreSQL only."""
    return connection.execute(_next_ids(table.name), {"many": many}).scalars().all()


@cache
def _next_ids(table: str) -> Select[int]:
    sequence = func.nextval(func.pg_get_serial_sequence(table, "id"))
    return select(sequence).select_from(func.generate_series(1, bindparam("many", type_=Integer)))
