"""What goes between us and tenants' systems, as SQLAlchemy sees it: what they told, and what they did not take.

References and jobs are the tenant's own keys and stand plain; bodies and notices, which may hold answers, are sealed.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text, UniqueConstraint

from store.tables import UtcDateTime, metadata

_BigId = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only in an INTEGER column


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


ats_deliveries = Table(
    "ats_deliveries",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("tenant", String(40), nullable=False),
    Column("key_digest", String(64), nullable=False),
    Column("form", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    _text("status"),
    _text("reference"),
    _text("job"),
    _text("reason"),
    Column("body", LargeBinary),
    Column("failures", Integer, nullable=False),
    Column("reached", Integer, nullable=False),
    _text("cursor"),
    Column("received_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime),
    Column("settled_at", UtcDateTime),
    UniqueConstraint("tenant", "key_digest"),
    Index(None, "state", "due_at"),
    Index(None, "received_at"),
)
"""One row per thing that a tenant's system told, answered only once it stands here; telling it again adds nothing.
``cursor`` is the last engagement of a job that heard; ``body`` is gone once it was carried out."""

ats_notices = Table(
    "ats_notices",
    metadata,
    Column("event_id", String(300), primary_key=True),
    Column("tenant", String(40), nullable=False),
    Column("reference", String(64), nullable=False),
    Column("event_type", String(60), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    _text("code"),
    _text("reason"),
    Column("notice", LargeBinary),
    Column("made_at", UtcDateTime, nullable=False),
    Column("tried_at", UtcDateTime, nullable=False),
    Column("gives_up_at", UtcDateTime),
    Index(None, "tenant", "state", "made_at"),
)
"""Notices that a tenant's system did not take at once. ``notice`` is gone once it did."""
