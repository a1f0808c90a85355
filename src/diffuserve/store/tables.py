"""The schema: what `migrations/` build, in the words that `queries.py` uses. One schema for SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

# On SQLite an INTEGER primary key is the row's own number, which saves an index.
_ID = BigInteger().with_variant(Integer, "sqlite")

jobs = Table(
    "jobs",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=False),
    Column("account", String(200), nullable=False),
    Column("dialect", String(50), nullable=False),
    Column("request", Text, nullable=False, comment="ResolvedRequest as JSON; input pictures by digest only"),
    Column("status", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("owner", String(200), comment="the worker that runs it"),
    Column("lease_until", Double, comment="Unix seconds; afterwards any worker may take it over"),
    Column("attempts", Integer, nullable=False, default=0),
    Column("crashes", Integer, nullable=False, default=0),
    Column("notes", Text, nullable=False, comment="JSON list of sentences"),
    Column("usage", Text, comment="Usage as JSON"),
    Column("error_code", String(50)),
    Column("error_message", Text),
    # Serves the claim (oldest queued first), the count of the queue, and the search for leases that ran out.
    Index("ix_jobs_status_id", "status", "id"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("job_id", _ID, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("index", Integer, nullable=False),
    Column("blob_key", String(300), nullable=False),
    Column("media_type", String(100), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    # Seeds go up to 2**64 - 1, over what a signed 64-bit column holds.
    Column("seed", String(20), nullable=False),
    Column("digest", String(64), nullable=False),
    UniqueConstraint("job_id", "index", name="uq_artifacts_job_id_index"),
)
