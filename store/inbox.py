"""The inbox: deliveries that were answered 200, and the events read from them.

Several gateways share one inbox. Whoever works on a delivery holds a lease on it; a gateway that dies loses its leases
by time, and another one goes on. Reading a delivery twice adds nothing, since event keys are unique per account.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, insert, or_, select, update

from domain.errors import SetupError
from domain.events import ProviderEvent, TemplateChanged
from store.clock import bookkeeping_now
from store.correlations import Sighting
from store.database import Database, insert_new
from store.inbox_effects import ContactEffects, apply_within
from store.inbox_relay import wanted_within
from store.inbox_tables import DeliveryState, EventState, inbox_deliveries, inbox_events, purpose_of
from store.keys import KeyRing
from store.templates import mark_stale_within

log = structlog.get_logger()

LEASE = timedelta(seconds=15)
"""How long a gateway may take to read the deliveries that it claimed."""
LINGER = timedelta(seconds=3)
"""How long mere progress of a message waits for company before it is relayed."""

_QUARANTINED_KIND = "delivery"


@dataclass(frozen=True)
class Delivery:
    """An authentic request from a provider, as it came."""

    provider: str
    account: str
    body: bytes
    received_at: datetime

    def __repr__(self) -> str:
        return f"Delivery(account={self.account!r}, bytes={len(self.body)})"


@dataclass(frozen=True)
class StoredDelivery:
    """A delivery that this gateway has claimed."""

    id: int
    delivery: Delivery


@dataclass(frozen=True)
class Placement:
    """Where an event goes, and why. ``also`` are further engagements that must hear the same fact."""

    state: EventState
    rule: str
    workflow_id: str = ""
    send_key: str = ""
    contact_id: str = ""
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

    async def keep_events(self, read: Sequence[ReadDelivery]) -> tuple[Kept, ...]:
        """Store what was read, with its effects on contacts, and drop the raw bodies: one transaction.

        A delivery whose lease went to another gateway is left to that one.
        """
        return await self._db.write(lambda connection: self._keep_events(connection, read))

    def _keep(self, connection: Connection, deliveries: Sequence[Delivery]) -> None:
        rows = [
            {
                "provider": delivery.provider,
                "account": delivery.account,
                "state": DeliveryState.NEW.value,
                "body": self._keys.seal(delivery.body, purpose_of(delivery.received_at)),
                "received_at": delivery.received_at,
            }
            for delivery in deliveries
        ]
        if rows:
            connection.execute(insert(inbox_deliveries), rows)

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

    def _keep_events(self, connection: Connection, read: Sequence[ReadDelivery]) -> tuple[Kept, ...]:
        kept: list[Kept] = []
        wanted: dict[str, datetime] = {}
        for one in read:
            if not self._finish(connection, one.stored):
                continue
            if one.quarantine:
                kept.append(self._quarantine(connection, one))
            for placed in one.events:
                kept += self._keep_event(connection, one.stored, placed, wanted)
        wanted_within(connection, wanted, self._clock())
        return tuple(kept)

    def _finish(self, connection: Connection, stored: StoredDelivery) -> bool:
        c = inbox_deliveries.c
        done = connection.execute(
            update(inbox_deliveries)
            .where(c.id == stored.id, c.state == DeliveryState.NEW.value, c.owner == self._owner)
            .values(state=DeliveryState.PARSED.value, body=None, leased_until=None, parsed_at=self._clock())
        )
        return done.rowcount == 1

    def _quarantine(self, connection: Connection, one: ReadDelivery) -> Kept:
        """The bytes become an event of their own, known by what they are: sent again, they are kept once."""
        delivery = one.stored.delivery
        row = self._row(one.stored, self._keys.fingerprint("quarantine:" + delivery.body.hex()), _QUARANTINED_KIND)
        row |= {
            "state": EventState.QUARANTINED.value,
            "rule": one.quarantine[:200].replace("\0", ""),
            "payload": self._keys.seal(delivery.body, purpose_of(delivery.received_at)),
            "settled_at": self._clock(),
        }
        new = insert_new(connection, inbox_events, row, key=["account", "key_digest"])
        return Kept(delivery.provider, _QUARANTINED_KIND, EventState.QUARANTINED.value if new else DUPLICATE)

    def _keep_event(
        self, connection: Connection, stored: StoredDelivery, placed: PlacedEvent, wanted: dict[str, datetime]
    ) -> list[Kept]:
        place, kind, provider = placed.placement, placed.event.body.kind, stored.delivery.provider
        digest = self._keys.fingerprint(placed.event.key)
        if not self._insert(connection, stored, placed, place.workflow_id, digest):
            return [Kept(provider, kind, DUPLICATE)]
        if place.effects is not None:
            apply_within(connection, self._keys, place.effects)
        if isinstance(body := placed.event.body, TemplateChanged):
            account = stored.delivery.account
            mark_stale_within(connection, account, body.template_id, body.name, body.language)
        for other in place.also:
            self._insert(connection, stored, placed, other, self._keys.fingerprint(f"{digest}@{other}"))
        if place.state is EventState.PENDING:
            due = self._due(placed.event)
            for workflow_id in (place.workflow_id, *place.also):
                wanted[workflow_id] = min(due, wanted.get(workflow_id, due))
        return [Kept(provider, kind, place.state.value)]

    def _insert(
        self, connection: Connection, stored: StoredDelivery, placed: PlacedEvent, workflow_id: str, digest: str
    ) -> bool:
        place, event = placed.placement, placed.event
        if place.send_key and workflow_id == place.workflow_id:
            event = event.model_copy(update={"send_key": place.send_key})
        pending = place.state is EventState.PENDING
        row = self._row(stored, digest, event.body.kind) | {
            "state": place.state.value,
            "rule": place.rule,
            "workflow_id": workflow_id,
            "send_key": event.send_key,
            "contact_id": place.contact_id,
            "sighting": None if pending else placed.sighting.settled(may_weaken=place.may_weaken).model_dump_json(),
            "payload": self._keys.seal(event.model_dump_json().encode(), purpose_of(stored.delivery.received_at)),
            "due_at": self._due(event) if pending else None,
            "settled_at": self._clock() if place.state is EventState.NO_EFFECT else None,
        }
        return insert_new(connection, inbox_events, row, key=["account", "key_digest"])

    def _row(self, stored: StoredDelivery, digest: str, kind: str) -> dict[str, object]:
        return {
            "delivery_id": stored.id,
            "provider": stored.delivery.provider,
            "account": stored.delivery.account,
            "key_digest": digest,
            "kind": kind,
            "received_at": stored.delivery.received_at,
        }

    def _due(self, event: ProviderEvent) -> datetime:
        return self._clock() + (timedelta(0) if event.is_urgent else self._linger)
