"""What a dialect remembers of each call, and how many steps each job has to take, to tell how long others wait for it.

Jobs that wait already count as no steps.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column(
            "steps", sa.BigInteger, nullable=False, server_default="0", comment="to be taken, summed over its pictures"
        ),
    )
    op.add_column("jobs", sa.Column("memo", sa.Text, nullable=False, server_default="", comment="the dialect's own"))


def downgrade() -> None:
    op.drop_column("jobs", "memo")
    op.drop_column("jobs", "steps")
