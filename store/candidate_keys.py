"""Data keys: one per tenant and candidate, one per tenant for audit texts, one for the service; wrapped, destroyable.

A key seals payloads for Temporal. It stands here wrapped by the master key (``KeyRing.seal``) and is destroyed by
overwriting that with nothing: what it sealed in histories is then noise, wherever a copy of the history lies.

Keys are per **tenant and** contact: one person may be a candidate of two tenants, and neither may read what the other
sealed, not even by asking the codec server. Erasing a person destroys the keys of all tenants at once.
"""

import asyncio
import base64
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import takewhile
from typing import Final, TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, and_, bindparam, func, select, update
from sqlalchemy.engine import RowMapping

from domain.errors import Erased, NotFound, SetupError
from domain.ids import engagement_tenant
from store.clock import bookkeeping_now
from store.database import Database, insert_new
from store.keys import KEY_BYTES, KeyRing
from store.tables import engagements, keys

PREFIX: Final = "dk_"
"""Begins the id of every data key, so that it is never taken for a master key's."""

KEPT_SECONDS: Final = 60.0
"""How long a process keeps a key that it has read: so long after an erasure nothing opens any more, anywhere."""

NOBODY: Final = ""
PURPOSE: Final = "data-key"
_MOST_KEPT: Final = 5_000
_AT_ONCE: Final = 500
_MOST_OWNERS: Final = 50_000

_KEY = select(keys).where(keys.c.id == bindparam("key_id"))
_KEY_OF = select(keys).where(
    keys.c.purpose == bindparam("kind"),
    keys.c.tenant == bindparam("of_tenant"),
    keys.c.contact_id == bindparam("contact"),
)
_OWNER_OF = select(engagements.c.tenant, engagements.c.contact_id).where(
    engagements.c.workflow_id == bindparam("engagement")
)

K = TypeVar("K")
V = TypeVar("V")


class KeyKind(StrEnum):
    """Whose a key is."""

    CONTACT = "contact"
    AUDIT = "tenant-audit"
    SERVICE = "service"


@dataclass(frozen=True)
class KeyOwner:
    """Whose a key is; ``tenant`` is empty for the service, ``contact_id`` for all but a candidate's."""

    kind: KeyKind
    tenant: str = NOBODY
    contact_id: str = NOBODY


SERVICE: Final = KeyOwner(KeyKind.SERVICE)

_HELD_FOR = (  # run for almost every delivery, so it is built only once
    select(keys, engagements.c.workflow_id)
    .join(engagements, and_(keys.c.tenant == engagements.c.tenant, keys.c.contact_id == engagements.c.contact_id))
    .where(keys.c.purpose == KeyKind.CONTACT.value, keys.c.wrapped.is_not(None))
    .where(engagements.c.workflow_id.in_(bindparam("them", expanding=True)))
)


@dataclass(frozen=True)
class DataKey:
    """A key ready for use. Its id is random and public; it stands beside what the key sealed."""

    id: str
    owner: KeyOwner
    cipher: AESGCM = field(repr=False, compare=False)


@dataclass(frozen=True)
class KeyCounts:
    """How many data keys one master key wraps; ``master_id`` is empty for those that were destroyed."""

    master_id: str
    kind: KeyKind
    count: int


class DataKeys:
    """The data keys in the store. Every method may raise ``StoreUnavailable``.

    A key that was read is kept for ``KEPT_SECONDS``, the most used ones of them; ``clock`` replaces the monotonic
    clock in tests. Python cannot wipe memory: a key that was let go is overwritten whenever its memory is used again.
    """

    def __init__(self, database: Database, ring: KeyRing, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._ring, self._clock = database, ring, clock
        self._kept: OrderedDict[str, tuple[float, DataKey]] = OrderedDict()
        self._ids: OrderedDict[KeyOwner, str] = OrderedDict()
        self._owners: OrderedDict[str, KeyOwner] = OrderedDict()
        self._alarm: asyncio.Handle | None = None
        self._rings_at = 0.0

    async def key_for_contact(self, tenant: str, contact_id: str) -> DataKey:
        """The key of a tenant's candidate, made at the first call; two at once get the same one.

        Raises ``Erased`` when the person was erased, whether this tenant ever had a key or not.
        """
        return await self._key_of(KeyOwner(KeyKind.CONTACT, tenant, contact_id))

    async def audit_key(self, tenant: str) -> DataKey:
        """The key of a tenant's audit texts, which outlive every erasure."""
        return await self._key_of(KeyOwner(KeyKind.AUDIT, tenant))

    async def service_key(self) -> DataKey:
        """The key of what belongs to no candidate: gates."""
        return await self._key_of(SERVICE)

    async def key_for_workflow(self, workflow_id: str) -> DataKey:
        """The key of an engagement's candidate, or the service's for anything that is no engagement.

        Raises ``Erased``, and ``NotFound`` for an engagement that is not registered: nobody knows whose it is.
        """
        if engagement_tenant(workflow_id) is None:
            return await self.service_key()
        owner = self._owners.get(workflow_id)
        if owner is None:
            owner = await self._database.read(lambda connection: _owner_of(connection, workflow_id))
            _remember(self._owners, workflow_id, owner, _MOST_OWNERS)
        return await self._key_of(owner)

    async def read_ahead(self, workflow_ids: Collection[str]) -> None:
        """Read the keys of these engagements' candidates that are not kept, all at once: somebody is about to seal.

        What has none, or none any more, is left out: who asks for it alone hears why.
        """
        self.forget_old()
        wanted = sorted({one for one in workflow_ids if engagement_tenant(one) is not None and not self._is_kept(one)})
        if not wanted:
            return
        asked = self._clock()
        for row in await self._database.read(lambda connection: _held_for(connection, wanted)):
            key = self._keep(row, asked)
            _remember(self._owners, row["workflow_id"], key.owner, _MOST_OWNERS)
            _remember(self._ids, key.owner, key.id, _MOST_OWNERS)

    async def audit_key_for_workflow(self, workflow_id: str) -> DataKey:
        """The key of this workflow's audit texts: its tenant's, or the service's for anything that is no engagement."""
        tenant = engagement_tenant(workflow_id)
        return await self.service_key() if tenant is None else await self.audit_key(tenant)

    async def open(self, key_id: str) -> DataKey:
        """The key of this id. Raises ``Erased`` when it was destroyed, ``NotFound`` when there never was one."""
        kept = self._still_kept(key_id)
        if kept is not None:
            return kept
        this, asked = {"key_id": key_id}, self._clock()
        row = await self._database.read(lambda connection: connection.execute(_KEY, this).mappings().one_or_none())
        if row is None:
            raise NotFound(f"There is no data key {key_id[:64]!r} in this store: it belongs to another installation")
        return self._keep(row, asked)

    async def owners_of(self, key_ids: Collection[str]) -> dict[str, KeyOwner]:
        """Whose the keys of these ids are, destroyed or not; without those that never were."""
        wanted = list(key_ids)
        return await self._database.read(lambda connection: _owners(connection, wanted))

    async def rewrap(self, limit: int = 500) -> int:
        """Wrap up to ``limit`` keys that an older master key wraps under the current one; how many it did.

        Call until it answers 0; it may be stopped anywhere. What the keys sealed stays as it is.
        """
        return await self._database.write(lambda connection: _rewrap(connection, self._ring, limit))

    async def counts(self) -> tuple[KeyCounts, ...]:
        """How many keys stand under which master key."""
        c = keys.c
        held = select(c.master_id, c.purpose, func.count()).where(c.wrapped.is_not(None))
        gone = select(func.count()).where(c.wrapped.is_(None), c.tenant != NOBODY)
        grouped = held.group_by(c.master_id, c.purpose).order_by(c.master_id, c.purpose)
        rows, destroyed = await self._database.read(
            lambda connection: (connection.execute(grouped).all(), connection.execute(gone).scalar_one())
        )
        found = [KeyCounts(master_id, KeyKind(kind), count) for master_id, kind, count in rows]
        return (*found, KeyCounts("", KeyKind.CONTACT, destroyed)) if destroyed else tuple(found)

    def forget_old(self) -> None:
        """Let go of every key that was kept long enough. Each use does this, and an alarm where nobody uses any."""
        now = self._clock()
        while self._kept and next(iter(self._kept.values()))[0] <= now:
            self._kept.popitem(last=False)

    @property
    def kept(self) -> int:
        """How many keys are in memory."""
        return len(self._kept)

    async def _key_of(self, owner: KeyOwner) -> DataKey:
        key_id = self._ids.get(owner)
        kept = None if key_id is None else self._still_kept(key_id)
        if kept is not None:
            return kept
        asked = self._clock()
        row = await self._database.read(lambda connection: _find(connection, owner))
        if row is None:
            row = await self._database.write(lambda connection: _make(connection, self._ring, owner))
        key = self._keep(row, asked)
        _remember(self._ids, owner, key.id, _MOST_OWNERS)
        return key

    def _is_kept(self, workflow_id: str) -> bool:
        owner = self._owners.get(workflow_id)
        return owner is not None and self._ids.get(owner) in self._kept

    def _still_kept(self, key_id: str) -> DataKey | None:
        self.forget_old()
        kept = self._kept.get(key_id)
        return None if kept is None else kept[1]

    def _keep(self, row: RowMapping, asked: float) -> DataKey:
        """``asked`` is from before the row was read: it may have been destroyed at any moment since."""
        if row["wrapped"] is None:
            raise Erased(f"The key {row['id']} was destroyed: the person was erased, and what it sealed is gone")
        key = DataKey(row["id"], _owner(row), AESGCM(_unwrap(self._ring, row["id"], row["wrapped"])))
        # in the order of their ends: a key is never kept longer for being used
        end = asked + KEPT_SECONDS
        self._kept.pop(key.id, None)
        sooner_read = list(takewhile(lambda other: self._kept[other][0] > end, reversed(self._kept)))
        self._kept[key.id] = (end, key)
        for other in reversed(sooner_read):
            self._kept.move_to_end(other)
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        self._set_alarm()
        return key

    def _set_alarm(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._soonest()
        if self._alarm is not None and self._rings_at > due:
            self._alarm.cancel()
            self._alarm = None
        if self._alarm is None:  # the handle is not asked when it rings: uvloop's is no timer when that is at once
            self._alarm, self._rings_at = loop.call_at(due, self._on_alarm), due

    def _on_alarm(self) -> None:
        self._alarm = None
        self.forget_old()
        if self._kept:
            self._set_alarm()

    def _soonest(self) -> float:
        return max(0.0, next(iter(self._kept.values()))[0] - self._clock())


def destroy_within(connection: Connection, contact_id: str, at: datetime) -> int:
    """Destroy every key of one person, of all tenants, inside a transaction of the caller's; how many it destroyed now.

    No key is ever made for this contact again, not even by a transaction that runs at the same time. Repeating is
    harmless: the first instant stays. On SQLite the old bytes are overwritten in the file (``secure_delete``); the
    write-ahead log holds them until the next checkpoint, which is the caller's to ask for after the commit.
    """
    _one_at_a_time(connection, contact_id)
    tombstone = _values(KeyOwner(KeyKind.CONTACT, NOBODY, contact_id), at) | {"destroyed_at": at}
    insert_new(connection, keys, tombstone, key=["id"])
    statement = (
        update(keys)
        .where(keys.c.contact_id == contact_id, keys.c.purpose == KeyKind.CONTACT.value, keys.c.wrapped.is_not(None))
        .values(wrapped=None, destroyed_at=at)
    )
    return connection.execute(statement).rowcount


def _find(connection: Connection, owner: KeyOwner) -> RowMapping | None:
    whose = {"kind": owner.kind.value, "of_tenant": owner.tenant, "contact": owner.contact_id}
    return connection.execute(_KEY_OF, whose).mappings().one_or_none()


def _owners(connection: Connection, key_ids: Sequence[str]) -> dict[str, KeyOwner]:
    found: dict[str, KeyOwner] = {}
    for start in range(0, len(key_ids), _AT_ONCE):
        page = select(keys).where(keys.c.id.in_(key_ids[start : start + _AT_ONCE]))
        found |= {row["id"]: _owner(row) for row in connection.execute(page).mappings()}
    return found


def _make(connection: Connection, ring: KeyRing, owner: KeyOwner) -> RowMapping:
    """Make the owner's key unless there is one. Raises ``Erased``."""
    if owner.kind is KeyKind.CONTACT:
        _one_at_a_time(connection, owner.contact_id)
        if _find(connection, KeyOwner(KeyKind.CONTACT, NOBODY, owner.contact_id)) is not None:
            raise Erased(f"The person behind contact {owner.contact_id} was erased: nothing more is kept of them")
    values = _values(owner, bookkeeping_now())
    values["wrapped"] = _wrap(ring, str(values["id"]), secrets.token_bytes(KEY_BYTES))
    values["master_id"] = ring.current_id
    insert_new(connection, keys, values, key=["id"])
    row = _find(connection, owner)
    if row is None:  # rows are never deleted
        raise NotFound("A data key vanished while it was being made")
    return row


def _owner_of(connection: Connection, workflow_id: str) -> KeyOwner:
    row = connection.execute(_OWNER_OF, {"engagement": workflow_id}).one_or_none()
    if row is None:
        raise NotFound(f"Engagement {workflow_id} is not registered, so nothing can be sealed for it")
    return KeyOwner(KeyKind.CONTACT, row.tenant, row.contact_id)


def _held_for(connection: Connection, workflow_ids: Sequence[str]) -> list[RowMapping]:
    """The keys of engagements' candidates that are not destroyed, each with ``workflow_id``."""
    found: list[RowMapping] = []
    for start in range(0, len(workflow_ids), _AT_ONCE):
        found += connection.execute(_HELD_FOR, {"them": workflow_ids[start : start + _AT_ONCE]}).mappings()
    return found


def _rewrap(connection: Connection, ring: KeyRing, limit: int) -> int:
    c = keys.c
    old = (
        select(c.id, c.wrapped)
        .where(c.wrapped.is_not(None), c.master_id != ring.current_id)
        .order_by(c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)  # one that is just being destroyed stays so
    )
    rows = connection.execute(old).all()
    for key_id, wrapped in rows:
        again = _wrap(ring, key_id, _unwrap(ring, key_id, wrapped))
        statement = update(keys).where(c.id == key_id, c.wrapped.is_not(None))
        connection.execute(statement.values(wrapped=again, master_id=ring.current_id))
    return len(rows)


def _values(owner: KeyOwner, at: datetime) -> dict[str, object]:
    return {
        "id": PREFIX + base64.b32encode(secrets.token_bytes(16)).decode().lower().rstrip("="),
        "purpose": owner.kind.value,
        "tenant": owner.tenant,
        "contact_id": owner.contact_id,
        "master_id": "",
        "wrapped": None,
        "created_at": at,
    }


def _owner(row: RowMapping) -> KeyOwner:
    return KeyOwner(KeyKind(row["purpose"]), row["tenant"], row["contact_id"] or NOBODY)


def _wrap(ring: KeyRing, key_id: str, secret: bytes) -> bytes:
    """A wrapped key opens in its own row only: the id is sealed with it."""
    return ring.seal(key_id.encode() + secret, PURPOSE)


def _unwrap(ring: KeyRing, key_id: str, wrapped: bytes) -> bytes:
    opened = ring.open(wrapped, PURPOSE)
    if opened[:-KEY_BYTES] != key_id.encode():
        raise SetupError(f"The key in the row of {key_id} is another one's: the table was altered")
    return opened[-KEY_BYTES:]


def _one_at_a_time(connection: Connection, contact_id: str) -> None:
    """Let making and destroying a contact's keys wait for each other; on SQLite every writer does anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"contact-key:{contact_id}"))))


def _remember(into: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    into[key] = value
    while len(into) > most:
        into.popitem(last=False)
