"""Whether a process has the master keys that its store needs, asked before it does anything."""

from sqlalchemy import Connection, func, select

from domain.errors import SetupError
from store.database import Database
from store.keys import KeyRing
from store.tables import keys


async def require_master_keys(database: Database, ring: KeyRing) -> None:
    """Raise ``SetupError`` where a data key of this store stands under a master key that is not in ``ring``.

    A process without it could carry on no engagement of those keys, and what it made under another master key no
    other process could. Raises ``StoreUnavailable``.
    """
    lacking = await database.read(lambda connection: _lacking(connection, ring))
    if lacking:
        raise SetupError(
            f"data keys of this store stand under master key {' and '.join(lacking)}, which was not given: "
            "give it in RAPPORT_KEYS__FORMER (or in RAPPORT_KEYS__MASTER, if it is the current one) and start again"
        )


def _lacking(connection: Connection, ring: KeyRing) -> list[str]:
    """From one master key to the next by the index, however many data keys each has."""
    c, lacking, last = keys.c, [], ""
    while found := connection.execute(select(func.min(c.master_id)).where(c.master_id > last)).scalar_one():
        last = found
        alive = select(c.id).where(c.master_id == found, c.wrapped.is_not(None)).limit(1)
        if not ring.has(found) and connection.execute(alive).first() is not None:
            lacking.append(found)
    return lacking
