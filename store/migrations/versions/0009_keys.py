"""Data keys belong to a tenant, and each owner has one."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_OWNER = "ix_keys_purpose_tenant_contact_id"


def upgrade() -> None:
    # no release before this one wrote to the table
    op.add_column("keys", sa.Column("tenant", sa.String(length=40), server_default="", nullable=False))
    op.create_index(_OWNER, "keys", ["purpose", "tenant", "contact_id"], unique=True)
    op.create_index(op.f("ix_keys_master_id"), "keys", ["master_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_keys_master_id"), table_name="keys")
    op.drop_index(_OWNER, table_name="keys")
    op.drop_column("keys", "tenant")
