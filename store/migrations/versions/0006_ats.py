"""Both ways of a tenant's system: what it told us, what it did not take, and the engagements of a job."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JOB_INDEX = "ix_engagements_tenant_job_created_at"


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def _instant(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    _create_deliveries()
    _create_notices()
    op.create_index(_JOB_INDEX, "engagements", ["tenant", "job", "created_at"])


def _create_deliveries() -> None:
    op.create_table(
        "ats_deliveries",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("tenant", sa.String(length=40), nullable=False),
        sa.Column("key_digest", sa.String(length=64), nullable=False),
        sa.Column("form", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        _text("status"),
        _text("reference"),
        _text("job"),
        _text("reason"),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("reached", sa.Integer(), nullable=False),
        _text("cursor"),
        _instant("received_at"),
        _instant("due_at", nullable=True),
        _instant("settled_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ats_deliveries")),
        sa.UniqueConstraint("tenant", "key_digest", name=op.f("uq_ats_deliveries_tenant_key_digest")),
    )
    op.create_index(op.f("ix_ats_deliveries_state_due_at"), "ats_deliveries", ["state", "due_at"])
    op.create_index(op.f("ix_ats_deliveries_received_at"), "ats_deliveries", ["received_at"])


def _create_notices() -> None:
    op.create_table(
        "ats_notices",
        sa.Column("event_id", sa.String(length=300), nullable=False),
        sa.Column("tenant", sa.String(length=40), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("event_type", sa.String(length=60), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _text("code"),
        _text("reason"),
        sa.Column("notice", sa.LargeBinary(), nullable=True),
        _instant("made_at"),
        _instant("tried_at"),
        _instant("gives_up_at", nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_ats_notices")),
    )
    op.create_index(op.f("ix_ats_notices_tenant_state_made_at"), "ats_notices", ["tenant", "state", "made_at"])


def downgrade() -> None:
    op.drop_index(_JOB_INDEX, table_name="engagements")
    op.drop_table("ats_notices")
    op.drop_table("ats_deliveries")
