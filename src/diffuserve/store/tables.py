"""The schema: what `migrations/` build, in the words that the queries use. One schema for SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
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
    Column("model", Text, nullable=False, server_default="", comment="the request's, to count and to bill by"),
    Column("request", Text, nullable=False, comment="ResolvedRequest as JSON; input pictures by digest only"),
    Column("pixels", BigInteger, nullable=False, server_default="0", comment="to be drawn, summed over its pictures"),
    Column("steps", BigInteger, nullable=False, server_default="0", comment="to be taken, summed over its pictures"),
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
    Column("key_id", String(50), comment="the key that submitted it"),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("callback", Text, comment="Callback as JSON"),
    Column("charge_plan_id", _ID, comment="where `charge_amount` is reserved until the job ends"),
    Column("charge_unit", String(20)),
    Column("charge_amount", Double),
    Column("memo", Text, nullable=False, server_default="", comment="the dialect's own"),
)
# Serves the claim (highest priority first, then oldest), the count of the queue, and the search for leases that ran out.
Index("ix_jobs_claim", jobs.c.status, jobs.c.priority.desc(), jobs.c.id)
# Serves the count of a key's unended jobs, and holds no others.
_OPEN = jobs.c.key_id.is_not(None) & jobs.c.finished_at.is_(None)
Index("ix_jobs_open_by_key", jobs.c.key_id, sqlite_where=_OPEN, postgresql_where=_OPEN)

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

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(100), primary_key=True),
    Column("created_at", Double, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(50), primary_key=True),
    Column("account", String(100), ForeignKey("accounts.id"), nullable=False),
    Column("type", String(10), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("scopes", Text, nullable=False, comment="JSON list"),
    Column("requests_per_second", Double),
    Column("requests_per_day", Integer),
    Column("concurrent_jobs", Integer),
    Column("priority", Integer, nullable=False),
    Column("token_hash", String(64), unique=True, comment="of a bearer token; the token itself is nowhere"),
    Column("access_key", String(100), unique=True),
    Column("sealed_secret", LargeBinary, comment="of a pair, encrypted by whoever handed it over"),
    Column("revoked_at", Double),
    Index("ix_keys_account", "account"),
)

plans = Table(
    "plans",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("account", String(100), ForeignKey("accounts.id"), nullable=False),
    Column("unit", String(20), nullable=False),
    Column("amount", Double, nullable=False),
    Column("used", Double, nullable=False),
    Column("reserved", Double, nullable=False),
    Column("valid_from", Double, nullable=False),
    Column("valid_until", Double, nullable=False),
    Column("wallet", String(200)),
    Index("ix_plans_account", "account"),
    Index("ix_plans_wallet", "wallet"),
)

# A bill outlives the job and its account's keys: it refers to them by value only.
ledger = Table(
    "ledger",
    metadata,
    Column("job_id", _ID, primary_key=True, autoincrement=False),
    Column("account", String(200), nullable=False),
    Column("key_id", String(50)),
    Column("dialect", String(50), nullable=False),
    Column("model", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("finished_at", Double, nullable=False),
    Column("images", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("pixels", BigInteger, nullable=False),
    Column("device_seconds", Double, nullable=False),
    Column("plan_id", _ID),
    Column("charged", Double, nullable=False),
    # Serve one account's bill and everybody's, in the order in which they are paged.
    Index("ix_ledger_account", "account", "finished_at", "job_id"),
    Index("ix_ledger_time", "finished_at", "job_id"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("job_id", _ID, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("callback", Text, nullable=False, comment="Callback as JSON"),
    Column("status", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("delivered_at", Double),
    Column("last_error", Text),
    Index("ix_deliveries_due", "status", "next_at"),
    Index("ix_deliveries_job_id", "job_id"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("account", String(200), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    # Checked at the commit: the key is taken first, the job is inserted for whoever got it.
    Column(
        "job_id",
        _ID,
        ForeignKey("jobs.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED"),
        nullable=False,
    ),
    Column("created_at", Double, nullable=False),
    Index("ix_idempotency_created_at", "created_at"),
    Index("ix_idempotency_job_id", "job_id"),
)
