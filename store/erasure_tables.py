"""What is kept of erasing people: that it was asked for and done, and the opt-outs that outlive it."""

from sqlalchemy import JSON, Column, Connection, LargeBinary, String, Table, Text, bindparam, select

from store.tables import UtcDateTime, metadata

erasures = Table(
    "erasures",
    metadata,
    Column("contact_id", String(64), primary_key=True),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("erased_at", UtcDateTime),
    Column("counts", JSON),
    Column("cleared_at", UtcDateTime),
)
"""A person who is being erased, from the moment it was asked for: nothing of theirs begins any more. ``erased_at`` is
when the store had lost them, ``cleared_at`` when the bytes were overwritten too. The id leads to nobody then."""

suppressions = Table(
    "suppressions",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("scope", String(16), primary_key=True),
    Column("scope_value", Text, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)
"""Opt-outs of people who were erased, by the keyed hashes of their aliases: who comes back is still opted out."""


_MARKED = select(erasures.c.contact_id).where(erasures.c.contact_id == bindparam("contact"))


def is_marked_within(connection: Connection, contact_id: str) -> bool:
    """Whether this person was, or is being, erased."""
    return connection.execute(_MARKED, {"contact": contact_id}).first() is not None
