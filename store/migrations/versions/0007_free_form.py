"""How a message left that could leave without a template, and when the person had last written by then."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sends", sa.Column("form", sa.String(length=16), nullable=True))
    op.add_column("sends", sa.Column("inbound_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("sends", "inbound_at")
    op.drop_column("sends", "form")
