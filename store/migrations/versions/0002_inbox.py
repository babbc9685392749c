"""The inbox: deliveries, the events read from them, and which engagements are to hear."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "inbox_deliveries",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("owner", sa.String(length=64), server_default="", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("parsed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox_deliveries")),
    )
    op.create_index(op.f("ix_inbox_deliveries_state_id"), "inbox_deliveries", ["state", "id"], unique=False)
    op.create_index(op.f("ix_inbox_deliveries_received_at"), "inbox_deliveries", ["received_at"], unique=False)
    op.create_table(
        "inbox_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("delivery_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=40), nullable=False),
        sa.Column("key_digest", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("rule", sa.Text(), server_default="", nullable=False),
        sa.Column("workflow_id", sa.String(length=200), server_default="", nullable=False),
        sa.Column("send_key", sa.String(length=300), server_default="", nullable=False),
        sa.Column("contact_id", sa.String(length=64), server_default="", nullable=False),
        sa.Column("sighting", sa.Text(), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox_events")),
        sa.UniqueConstraint("account", "key_digest", name=op.f("uq_inbox_events_account_key_digest")),
    )
    op.create_index(op.f("ix_inbox_events_contact_id"), "inbox_events", ["contact_id"], unique=False)
    op.create_index(op.f("ix_inbox_events_received_at"), "inbox_events", ["received_at"], unique=False)
    op.create_index(op.f("ix_inbox_events_state_id"), "inbox_events", ["state", "id"], unique=False)
    op.create_index(
        op.f("ix_inbox_events_workflow_id_state_delivery_id"),
        "inbox_events",
        ["workflow_id", "state", "delivery_id"],
        unique=False,
    )
    op.create_table(
        "inbox_relays",
        sa.Column("workflow_id", sa.String(length=200), nullable=False),
        sa.Column("wanted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("one_by_one", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.String(length=64), server_default="", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("workflow_id", name=op.f("pk_inbox_relays")),
    )
    op.create_index(op.f("ix_inbox_relays_wanted_at"), "inbox_relays", ["wanted_at"], unique=False)


def downgrade() -> None:
    op.drop_table("inbox_relays")
    op.drop_table("inbox_events")
    op.drop_table("inbox_deliveries")
