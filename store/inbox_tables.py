"""The inbox as SQLAlchemy sees it: deliveries as they came, the events read from them, and who is due to hear.

No text of a person stands here readable: bodies and events are sealed, event keys and addresses are keyed hashes. Ids
that providers gave to sends, runs and threads are plain, as they are in the send ledger.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from store.tables import UtcDateTime, metadata
from store.veil import VeiledTies

_BigId = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only in an INTEGER column


LONGEST_WORKFLOW_ID = 700
"""Characters; gates are named by what they hold, and a template's name alone may have 512."""


class DeliveryState(StrEnum):
    """How far a delivery got."""

    NEW = "new"
    PARSED = "parsed"


class EventState(StrEnum):
    """What became of an event."""

    PENDING = "pending"
    """Belongs to an engagement or a gate that has not taken it yet."""
    RELAYED = "relayed"
    LATE = "late"
    """Its engagement was over."""
    UNMATCHED = "unmatched"
    """Belongs to no engagement that we know; tried again."""
    PARKED = "parked"
    """Nobody but a person can say where it belongs."""
    DISCARDED = "discarded"
    """A person put it aside."""
    QUARANTINED = "quarantined"
    """A whole delivery that could not be read."""
    NO_EFFECT = "no-effect"
    """Belongs to no engagement by its kind, and nobody waits at its gate."""


inbox_deliveries = Table(
    "inbox_deliveries",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("provider", String(40), nullable=False),
    Column("account", String(40), nullable=False),
    Column("state", String(16), nullable=False),
    Column("body", LargeBinary),
    Column("received_at", UtcDateTime, nullable=False),
    Column("owner", String(64), nullable=False, server_default=""),
    Column("leased_until", UtcDateTime),
    Column("parsed_at", UtcDateTime),
    Index(None, "state", "id"),
    Index(None, "received_at"),
)
"""One row per request that was answered 200. ``body`` is sealed, and gone once every event of it is stored."""

inbox_events = Table(
    "inbox_events",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("delivery_id", _BigId, nullable=False),
    Column("provider", String(40), nullable=False),
    Column("account", String(40), nullable=False),
    Column("key_digest", String(64), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("state", String(16), nullable=False),
    Column("rule", Text, nullable=False, server_default=""),
    Column("workflow_id", String(LONGEST_WORKFLOW_ID), nullable=False, server_default=""),
    Column("send_key", String(300), nullable=False, server_default=""),
    Column("contact_id", String(64), nullable=False, server_default=""),
    Column("sighting", VeiledTies),
    Column("payload", LargeBinary),
    Column("received_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime),
    Column("settled_at", UtcDateTime),
    UniqueConstraint("account", "key_digest"),
    Index(None, "state", "id"),
    Index(None, "received_at"),
    Index(None, "workflow_id", "state", "delivery_id"),
    Index(None, "contact_id"),
)
"""One row per fact that a provider told; telling it again adds nothing. ``sighting`` is what correlation needs."""

inbox_relays = Table(
    "inbox_relays",
    metadata,
    Column("workflow_id", String(LONGEST_WORKFLOW_ID), primary_key=True),
    Column("wanted_at", UtcDateTime, nullable=False),
    Column("not_before", UtcDateTime, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("one_by_one", Boolean, nullable=False),
    Column("owner", String(64), nullable=False, server_default=""),
    Column("leased_until", UtcDateTime),
    Index(None, "wanted_at"),
)
"""One row per engagement with pending events: when it wants them, its own back-off, and who has it in hand."""


def purpose_of(received_at: datetime) -> str:
    """What inbox contents are sealed for: a key of their own per day of arrival."""
    return f"inbox/{received_at.date().isoformat()}"
