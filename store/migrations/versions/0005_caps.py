"""What caps count by: the instant at which a send was let go, with what finds it by person and by tenant."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sends", sa.Column("left_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE sends SET left_at = claimed_at")
    op.create_index(op.f("ix_sends_contact_id_left_at"), "sends", ["contact_id", "left_at"])
    op.create_index(op.f("ix_sends_tenant_left_at"), "sends", ["tenant", "left_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_sends_tenant_left_at"), table_name="sends")
    op.drop_index(op.f("ix_sends_contact_id_left_at"), table_name="sends")
    op.drop_column("sends", "left_at")
