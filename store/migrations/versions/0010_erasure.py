"""Erasing a person: that it was asked for and done, what stays of their opt-outs, and when an engagement lost them."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def _instant(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("contact_id", sa.String(length=64), nullable=False),
        _instant("asked_at"),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        _instant("erased_at", nullable=True),
        sa.Column("counts", sa.JSON(), nullable=True),
        _instant("cleared_at", nullable=True),
        sa.PrimaryKeyConstraint("contact_id", name=op.f("pk_erasures")),
    )
    op.create_table(
        "suppressions",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("scope_value", sa.Text(), nullable=False),
        _instant("at"),
        sa.PrimaryKeyConstraint("digest", "scope", "scope_value", name=op.f("pk_suppressions")),
    )
    op.add_column("engagements", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("engagements", "erased_at")
    op.drop_table("suppressions")
    op.drop_table("erasures")
