"""Whether a process has the keys that its store needs, asked before it does anything."""

from typing import Final

from sqlalchemy import Connection, Text, func, select, type_coerce

from domain.errors import SetupError
from store.database import Database
from store.keys import KeyRing
from store.tables import consents, keys
from store.veil import is_of

_LOOKED_AT: Final = 5
"""Texts that are tried with the pepper: one that was altered keeps no process from beginning."""


async def require_master_keys(database: Database, ring: KeyRing) -> None:
    """Raise ``SetupError`` where a data key of this store stands under a master key that is not in ``ring``.

    A process without it could carry on no engagement of those keys, and what it made under another master key no
    other process could. Raised for another pepper too: it would recognise nobody, whoever opted out among them.
    Raises ``StoreUnavailable``.
    """
    lacking = await database.read(lambda connection: _lacking(connection, ring))
    if lacking:
        raise SetupError(
            f"data keys of this store stand under master key {' and '.join(lacking)}, which was not given: "
            "give it in RAPPORT_KEYS__FORMER (or in RAPPORT_KEYS__MASTER, if it is the current one) and start again"
        )
    evidence = await database.read(_evidence)
    if evidence and not any(is_of(text, ring) for text in evidence):
        raise SetupError(
            "the pepper is another one than that of this store, so nobody would be recognised, nor who opted out: "
            "give RAPPORT_KEYS__PEPPER as it was, for it never changes, and start again"
        )


def _evidence(connection: Connection) -> list[str]:
    """Some of what every opt-in leaves, as it lies there, the latest first."""
    wanted = select(type_coerce(consents.c.source, Text)).order_by(consents.c.id.desc()).limit(_LOOKED_AT)
    return list(connection.execute(wanted).scalars())


def _lacking(connection: Connection, ring: KeyRing) -> list[str]:
    """From one master key to the next by the index, however many data keys each has."""
    c, lacking, last = keys.c, [], ""
    while found := connection.execute(select(func.min(c.master_id)).where(c.master_id > last)).scalar_one():
        last = found
        alive = select(c.id).where(c.master_id == found, c.wrapped.is_not(None)).limit(1)
        if not ring.has(found) and connection.execute(alive).first() is not None:
            lacking.append(found)
    return lacking
