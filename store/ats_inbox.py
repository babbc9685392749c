"""What tenants' systems told us: kept before it is answered, carried out afterwards, at least once.

A delivery that is taken up is due again when its time is over, so what a dead gateway had in hand another one carries
out. Everything that is done with it may be done twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping, func, select, update

from domain.ats import AtsDelivery, AtsDeliveryState, AtsTelling
from domain.errors import NotFound
from store.ats_tables import ats_deliveries
from store.clock import bookkeeping_now
from store.database import Database, insert_new
from store.keys import KeyRing

HELD_FOR = timedelta(minutes=2)
"""How long one who took a delivery up may go without a word of progress before another one may."""

_PURPOSE = "ats-delivery"
_DELIVERY, _TELLING = "delivery", "telling"
_WAITING = AtsDeliveryState.WAITING.value
_SHOWN = [ats_deliveries.c[name] for name in AtsDelivery.model_fields if name != "number"]


@dataclass(frozen=True)
class AtsTaken:
    """A delivery that was taken up: as it came (``body``), or understood already (``telling``)."""

    number: int
    tenant: str
    key: str
    """A command id of it: equal however often it is carried out."""
    body: bytes
    telling: AtsTelling | None
    failures: int
    cursor: str
    reached: int
    received_at: datetime


class AtsInbox:
    """Deliveries of tenants' systems. Every method may raise ``StoreUnavailable``."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database, self._keys = database, keys

    async def keep(self, tenant: str, key: str, body: bytes, at: datetime) -> bool:
        """Keep an authentic delivery under its sender's ``key``. False when it was kept before."""
        return await self._insert(tenant, key, _DELIVERY, body, at)

    async def tell(self, tenant: str, key: str, telling: AtsTelling, at: datetime) -> bool:
        """Keep what an entitled caller told. False when it was told before under this ``key``."""
        return await self._insert(tenant, key, _TELLING, telling.model_dump_json().encode(), at)

    async def take(self, at: datetime, limit: int) -> tuple[AtsTaken, ...]:
        """Take up what is due, oldest first; nobody else gets it for ``HELD_FOR``."""
        rows = await self._database.write(lambda connection: _take(connection, at, limit))
        return tuple(self._taken(row) for row in rows)

    async def next_due(self) -> datetime | None:
        """When the next delivery is due; None when none waits."""
        wanted = select(func.min(ats_deliveries.c.due_at)).where(ats_deliveries.c.state == _WAITING)
        return await self._database.read(lambda connection: connection.execute(wanted).scalar_one())

    async def understood(self, number: int, telling: AtsTelling) -> None:
        """Note what a delivery says, for people."""
        said: dict[str, object] = {"status": telling.status.value, "reference": telling.reference, "job": telling.job}
        await self._update(number, said)

    async def progress(self, number: int, cursor: str, reached: int, at: datetime) -> None:
        """Engagements up to ``cursor`` have heard, ``reached`` in all; the time to go on begins anew."""
        await self._update(number, {"cursor": cursor, "reached": reached, "due_at": at + HELD_FOR})

    async def settle(self, number: int, state: AtsDeliveryState, reason: str, *, reached: int = 0) -> None:
        """Carried out, or found to be of no use; only what could not be read keeps its body, for a person."""
        values: dict[str, object] = {
            "state": state.value,
            "reason": reason,
            "reached": reached,
            "due_at": None,
            "settled_at": bookkeeping_now(),
        }
        if state is not AtsDeliveryState.UNREADABLE:
            values["body"] = None
        await self._update(number, values)

    async def postpone(self, number: int, until: datetime, failures: int, reason: str) -> None:
        """Try again then."""
        await self._update(number, {"due_at": until, "failures": failures, "reason": reason})

    async def list(
        self, tenant: str, *, states: Sequence[AtsDeliveryState] = (), limit: int = 50
    ) -> tuple[AtsDelivery, ...]:
        """A tenant's deliveries, newest first."""
        c = ats_deliveries.c
        wanted = select(c.id.label("number"), *_SHOWN).where(c.tenant == tenant).order_by(c.id.desc()).limit(limit)
        if states:
            wanted = wanted.where(c.state.in_([state.value for state in states]))
        rows = await self._database.read(lambda connection: connection.execute(wanted).mappings().all())
        return tuple(AtsDelivery.model_validate(dict(row)) for row in rows)

    async def _insert(self, tenant: str, key: str, form: str, body: bytes, at: datetime) -> bool:
        row: dict[str, object] = {
            "tenant": tenant,
            "key_digest": self._keys.fingerprint(f"{_PURPOSE}:{tenant}:{key}"),
            "form": form,
            "state": _WAITING,
            "body": self._keys.seal(body, _PURPOSE),
            "failures": 0,
            "reached": 0,
            "received_at": at,
            "due_at": at,
        }
        return await self._database.write(lambda connection: insert_new(connection, ats_deliveries, row, key=["id"]))

    async def _update(self, number: int, values: dict[str, object]) -> None:
        def work(connection: Connection) -> None:
            this = update(ats_deliveries).where(ats_deliveries.c.id == number)
            if not connection.execute(this.values(**values)).rowcount:
                raise NotFound(f"There is no delivery {number} of a tenant's system")

        await self._database.write(work)

    def _taken(self, row: RowMapping) -> AtsTaken:
        body = self._keys.open(row["body"], _PURPOSE)
        understood = row["form"] == _TELLING
        return AtsTaken(
            number=row["id"],
            tenant=row["tenant"],
            key=f"ats-{row['key_digest'][:40]}",
            body=b"" if understood else body,
            telling=AtsTelling.model_validate_json(body) if understood else None,
            failures=row["failures"],
            cursor=row["cursor"],
            reached=row["reached"],
            received_at=row["received_at"],
        )


def _take(connection: Connection, at: datetime, limit: int) -> Sequence[RowMapping]:
    c = ats_deliveries.c
    due = (
        select(ats_deliveries)
        .where(c.state == _WAITING, c.due_at <= at)
        .order_by(c.due_at, c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(due).mappings().all()
    mine = [row["id"] for row in rows]
    if mine:
        connection.execute(update(ats_deliveries).where(c.id.in_(mine)).values(due_at=at + HELD_FOR))
    return rows
