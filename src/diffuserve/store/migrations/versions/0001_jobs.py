"""Jobs and their artifacts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "jobs",
        sa.Column("id", number, primary_key=True, autoincrement=False),
        sa.Column("account", sa.String(200), nullable=False),
        sa.Column("dialect", sa.String(50), nullable=False),
        sa.Column("request", sa.Text, nullable=False, comment="ResolvedRequest as JSON; input pictures by digest only"),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("finished_at", sa.Double),
        sa.Column("owner", sa.String(200), comment="the worker that runs it"),
        sa.Column("lease_until", sa.Double, comment="Unix seconds; afterwards any worker may take it over"),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("notes", sa.Text, nullable=False, comment="JSON list of sentences"),
        sa.Column("usage", sa.Text, comment="Usage as JSON"),
        sa.Column("error_code", sa.String(50)),
        sa.Column("error_message", sa.Text),
    )
    op.create_index("ix_jobs_status_id", "jobs", ["status", "id"])
    op.create_table(
        "artifacts",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("job_id", number, sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("index", sa.Integer, nullable=False),
        sa.Column("blob_key", sa.String(300), nullable=False),
        sa.Column("media_type", sa.String(100), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("seed", sa.String(20), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.UniqueConstraint("job_id", "index", name="uq_artifacts_job_id_index"),
    )


def downgrade() -> None:
    op.drop_table("artifacts")
    op.drop_table("jobs")
