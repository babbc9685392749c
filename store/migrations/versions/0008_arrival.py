"""Whether a message is known to have arrived, or known not to have: what failed uses up no cap of the person's."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sends", sa.Column("arrived", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("sends", "arrived")
