"""What the store itself seals under a master key, sealed again under the current one after a rotation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, Connection, Table, and_, func, select, update
from sqlalchemy.engine import RowMapping

from store.ats_tables import ats_deliveries, ats_notices
from store.database import Database
from store.inbox_tables import inbox_deliveries, inbox_events, purpose_of
from store.keys import KeyRing
from store.tables import engagements

_KEY_ID: Final = (2, 8)
"""Where a sealed blob names its master key (``KeyRing.seal``): bytes counted from 1, and how many."""

Purpose = Callable[[RowMapping], str]


@dataclass(frozen=True)
class SealedPlace:
    """A column of sealed blobs and the purpose that each was sealed for."""

    column: Column[bytes | None]
    purpose: Purpose

    @property
    def table(self) -> Table:
        """Where the column stands."""
        return self.column.table

    @property
    def name(self) -> str:
        """The place, for people."""
        return f"{self.table.name}.{self.column.name}"


def _always(purpose: str) -> Purpose:
    return lambda _row: purpose


def _of_its_day(row: RowMapping) -> str:
    return purpose_of(row["received_at"])


PLACES: Final = (
    SealedPlace(engagements.c.input, _always("engagement-input")),
    SealedPlace(engagements.c.archive, _always("engagement-archive")),
    SealedPlace(ats_deliveries.c.body, _always("ats-delivery")),
    SealedPlace(ats_notices.c.notice, _always("ats-notice")),
    SealedPlace(inbox_deliveries.c.body, _of_its_day),
    SealedPlace(inbox_events.c.payload, _of_its_day),
)


class Resealing:
    """Rows that a master key seals. Every method may raise ``StoreUnavailable``."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database, self._ring = database, ring

    async def reseal(self, place: SealedPlace, limit: int = 200) -> int:
        """Seal up to ``limit`` rows of a place again; how many it did. Call until 0; it may be stopped anywhere.

        Raises ``SetupError`` when the master key of a row is not given.
        """
        return await self._database.write(lambda connection: _reseal(connection, self._ring, place, limit))

    async def counts(self) -> Mapping[str, Mapping[str, int]]:
        """By place and master key: how many rows it seals."""
        return await self._database.read(
            lambda connection: {place.name: _counts(connection, place) for place in PLACES}
        )


def _reseal(connection: Connection, ring: KeyRing, place: SealedPlace, limit: int) -> int:
    table, column = place.table, place.column
    current = bytes.fromhex(ring.current_id)
    old = and_(func.length(column) > sum(_KEY_ID), func.substr(column, *_KEY_ID) != current)
    keyed = list(table.primary_key)
    wanted = select(table).where(old).order_by(*keyed).limit(limit).with_for_update(skip_locked=True)
    rows = connection.execute(wanted).mappings().all()
    for row in rows:
        purpose, sealed = place.purpose(row), row[column.name]
        again = ring.seal(ring.open(sealed, purpose), purpose)
        this = and_(*(one == row[one.name] for one in keyed), column == sealed)
        connection.execute(update(table).where(this).values({column.name: again}))
    return len(rows)


def _counts(connection: Connection, place: SealedPlace) -> dict[str, int]:
    named = func.substr(place.column, *_KEY_ID)
    wanted = select(named, func.count()).where(func.length(place.column) > sum(_KEY_ID)).group_by(named)
    return {bytes(key_id).hex(): count for key_id, count in connection.execute(wanted)}
