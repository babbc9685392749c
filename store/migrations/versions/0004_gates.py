"""What gates need: trials of a hold, the category that was asked for, submissions, and room for their ids."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_HEARING = ("inbox_events", "inbox_relays")
"""Tables whose ``workflow_id`` may be a gate's: it holds the name of a template, of up to 512 characters."""


def upgrade() -> None:
    op.add_column("holds", sa.Column("code", sa.Text(), server_default="", nullable=False))
    op.add_column("holds", sa.Column("trial", sa.Text(), server_default="", nullable=False))
    op.add_column("template_states", sa.Column("asked_category", sa.Text(), server_default="", nullable=False))
    op.add_column("template_states", sa.Column("heard_at", sa.DateTime(timezone=True), nullable=True))
    # what was read before is the first category that we know of
    op.execute("UPDATE template_states SET asked_category = category")
    op.create_table(
        "template_submissions",
        sa.Column("account", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("language", sa.String(length=10), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("account", "name", "language", name=op.f("pk_template_submissions")),
    )
    for table in _HEARING:
        _resize(table, 200, 700)


def _resize(table: str, old: int, new: int) -> None:
    with op.batch_alter_table(table) as batch:  # SQLite changes no column in place
        batch.alter_column("workflow_id", existing_type=sa.String(length=old), type_=sa.String(length=new))


def downgrade() -> None:
    for table in _HEARING:
        _resize(table, 700, 200)
    op.drop_table("template_submissions")
    op.drop_column("template_states", "heard_at")
    op.drop_column("template_states", "asked_category")
    op.drop_column("holds", "trial")
    op.drop_column("holds", "code")
