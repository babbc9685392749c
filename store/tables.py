"""The schema as SQLAlchemy sees it. ``store/migrations`` builds it; a test holds the two together.

No phone number, name or answer stands in a column as text: people are internal ids and keyed hashes, answers sealed.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

from store.veil import VeiledText


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: aware on the way in, aware and in UTC on the way out, on every database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive datetime: nobody could say which instant it means."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored: give it a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite keeps no zone: what lies there is UTC, because only UTC was written."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _contact() -> Column[Any]:  # the type of a foreign key column is that of the column it points to
    return Column("contact_id", String(64), ForeignKey("contacts.id", ondelete="CASCADE"), nullable=False)


store_host = Table(
    "store_host",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("machine", String(64), nullable=False),
    Column("hostname", Text, nullable=False),
    CheckConstraint("one = 1", name="single_row"),
)
"""SQLite only: the one machine that may open this file."""

contacts = Table(
    "contacts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
)
"""A person, by internal id."""

contact_aliases = Table(
    "contact_aliases",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    _contact(),
    Column("kind", String(16), nullable=False),
    _text("scope"),
    Column("learned_at", UtcDateTime, nullable=False),
    Index(None, "contact_id"),
)
"""Ways to recognise a person. The digest covers kind, scope and value, so it is unique by itself."""

consents = Table(
    "consents",
    metadata,
    Column("id", Integer, primary_key=True),
    _contact(),
    Column("tenant", String(40), nullable=False),
    Column("source", VeiledText, nullable=False),
    Column("obtained_at", UtcDateTime, nullable=False),
    UniqueConstraint("contact_id", "tenant", "source", "obtained_at"),
)
"""Evidence of opt-in, per tenant. Rows are added, never changed."""

opt_outs = Table(
    "opt_outs",
    metadata,
    Column("id", Integer, primary_key=True),
    _contact(),
    Column("scope", String(16), nullable=False),
    _text("scope_value"),
    Column("source", VeiledText, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("lifted_at", UtcDateTime),
    UniqueConstraint("contact_id", "scope", "scope_value", "source", "at"),
)
"""Withdrawals of consent. One is in force until ``lifted_at`` is set."""

opt_ins = Table(
    "opt_ins",
    metadata,
    Column("id", Integer, primary_key=True),
    _contact(),
    Column("scope", String(16), nullable=False),
    _text("scope_value"),
    Column("source", VeiledText, nullable=False, server_default=""),
    Column("at", UtcDateTime, nullable=False),
    UniqueConstraint("contact_id", "scope", "scope_value", "source", "at"),
)
"""Restorations of consent. Kept, because an opt-out that is older than one may arrive after it."""

contact_lines = Table(
    "contact_lines",
    metadata,
    Column("contact_id", String(64), ForeignKey("contacts.id", ondelete="CASCADE"), primary_key=True),
    Column("line", String(40), primary_key=True),
    Column("last_inbound_at", UtcDateTime, nullable=False),
)
"""When a person last wrote to a line: opens the 24-hour window."""

engagements = Table(
    "engagements",
    metadata,
    Column("tenant", String(40), primary_key=True),
    Column("reference", String(64), primary_key=True),
    Column("workflow_id", String(200), nullable=False, unique=True),
    Column("contact_id", String(64), nullable=False),
    Column("line", String(40), nullable=False),
    Column("account", String(40), nullable=False),
    Column("provider", String(40), nullable=False),
    _text("job"),
    Column("plan", String(80), nullable=False),
    Column("fingerprints", JSON, nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("input", LargeBinary),
    Column("started_at", UtcDateTime),
    Column("admitted_at", UtcDateTime),
    Column("admission_rule", String(40)),
    Column("admission_reason", Text),
    Column("outcome", String(40)),
    Column("closed_at", UtcDateTime),
    Column("archive", LargeBinary),
    Column("erased_at", UtcDateTime),
    Index(None, "contact_id", "line"),
    Index(None, "tenant", "created_at"),
    Index(None, "tenant", "job", "created_at"),
    Index(None, "started_at", "created_at"),
)
"""The registry. ``input`` and ``archive`` are sealed; ``started_at`` is null until Temporal knows the engagement.
``admission_rule`` is null while undecided, empty when admitted, else the rule that refused. Since ``erased_at`` a row
holds nothing of the person: its archive is the audit texts alone."""

sends = Table(
    "sends",
    metadata,
    Column("key", String(300), primary_key=True),
    Column("workflow_id", String(200), nullable=False),
    Column("tenant", String(40), nullable=False),
    Column("account", String(40), nullable=False),
    Column("line", String(40), nullable=False),
    Column("step", String(80), nullable=False),
    Column("n", Integer, nullable=False),
    Column("contact_id", String(64), nullable=False),
    _text("job"),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("reference", String(64), nullable=False, unique=True),
    Column("flow_token", String(64), nullable=False, unique=True),
    _text("flow_id"),
    _text("template"),
    _text("template_id"),
    _text("language"),
    Column("form", String(16)),
    Column("inbound_at", UtcDateTime),
    _text("run_id"),
    Column("message_id", VeiledText, nullable=False, server_default=""),  # one of WhatsApp's has the number in it
    _text("session_id"),
    _text("thread_id"),
    _text("scope"),
    _text("code"),
    _text("reason"),
    Column("suppress", Boolean, nullable=False),
    Column("claimed_at", UtcDateTime),
    Column("left_at", UtcDateTime),
    Column("arrived", Boolean),
    Column("settled_at", UtcDateTime),
    Index(None, "workflow_id"),
    Index(None, "contact_id", "line"),
    Index(None, "contact_id", "left_at"),
    Index(None, "tenant", "left_at"),
    Index(None, "state", "tenant"),
    Index(None, "run_id", "account"),
    Index(None, "message_id", "account"),
    Index(None, "session_id", "account"),
    Index(None, "thread_id", "account"),
)
"""The send ledger, which is the correlation table too. Ids are empty while unknown and mean something per account.
``claimed_at`` is when the workflow wanted it, ``left_at`` when its queue had let it through: caps count by that.
``form`` is how it left, where it could leave without a template, ``inbound_at`` when the person had last written.
``arrived`` is what the provider told of the message later: True when delivered or read, False when it failed."""

holds = Table(
    "holds",
    metadata,
    Column("scope_key", String(700), primary_key=True),
    Column("until", UtcDateTime),
    _text("code"),
    Column("reason", Text, nullable=False),
    _text("actor"),
    _text("trial"),
    Column("at", UtcDateTime, nullable=False),
)
"""What stops everything of one template, flow, line or account; without ``until`` it stays until it is lifted.
``trial`` is the workflow id of the one engagement that may pass."""

pauses = Table(
    "pauses",
    metadata,
    Column("scope", String(16), primary_key=True),
    Column("scope_value", String(40), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
"""A tenant or a line that a person paused."""

template_states = Table(
    "template_states",
    metadata,
    Column("account", String(40), primary_key=True),
    Column("name", String(512), primary_key=True),
    Column("language", String(10), primary_key=True),
    _text("template_id"),
    _text("provider_id"),
    Column("status", String(32), nullable=False),
    _text("raw"),
    _text("category"),
    _text("asked_category"),
    _text("reason"),
    Column("variables", Integer),
    Column("flow_missing", Boolean, nullable=False),
    Column("read_at", UtcDateTime, nullable=False),
    Column("stale", Boolean, nullable=False),
    Column("heard_at", UtcDateTime),
    Index(None, "account", "template_id"),
    Index(None, "account", "provider_id"),
)
"""The last reading of each template. ``template_id`` is the id in the plan, ``provider_id`` the one that was read.
``heard_at`` is when the last webhook about it happened: a reading from before that leaves it stale."""

template_submissions = Table(
    "template_submissions",
    metadata,
    Column("account", String(40), primary_key=True),
    Column("name", String(512), primary_key=True),
    Column("language", String(10), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    _text("reason"),
    Column("at", UtcDateTime, nullable=False),
    _text("actor"),
)
"""Templates that we submitted, claimed before the request. ``fingerprint`` is that of the specification."""

keys = Table(
    "keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("contact_id", String(64)),
    Column("purpose", String(40), nullable=False),
    Column("tenant", String(40), nullable=False, server_default=""),
    Column("master_id", String(64), nullable=False),
    Column("wrapped", LargeBinary),
    Column("created_at", UtcDateTime, nullable=False),
    Column("destroyed_at", UtcDateTime),
    Index(None, "contact_id"),
    Index(None, "master_id"),
    Index(None, "purpose", "tenant", "contact_id", unique=True),
)
"""Data keys, wrapped by a master key. ``purpose`` is the kind of owner; tenant and contact are empty where it has none.
A destroyed key leaves its row without the key; a person's row without a tenant says that they were erased."""

queue_leases = Table(
    "queue_leases",
    metadata,
    Column("queue", String(60), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("taken_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)
"""Which worker process polls the queue of a line's sends or an account's lookups; none where the owner is empty."""

worker_processes = Table(
    "worker_processes",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("queues", String(64), nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)
"""Which worker processes live, and a digest of the queues that each of them knows of: they share those evenly."""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant", String(40), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("response", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index(None, "created_at"),
)
"""What a REST request with an ``Idempotency-Key`` was answered."""
