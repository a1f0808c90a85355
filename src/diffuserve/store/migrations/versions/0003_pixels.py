"""How much each job has to draw, to bound what waits. Jobs that wait already count as nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column(
            "pixels", sa.BigInteger, nullable=False, server_default="0", comment="to be drawn, summed over its pictures"
        ),
    )


def downgrade() -> None:
    op.drop_column("jobs", "pixels")
