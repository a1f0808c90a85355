"""Accounts, keys, plans, the ledger, deliveries and idempotency; who submitted a job, how urgent it is, what it charges."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _widen_jobs()
    _make_accounts()
    _make_ledger()
    _make_outbox()


def downgrade() -> None:
    for table in ("idempotency", "deliveries", "ledger", "plans", "keys", "accounts"):
        op.drop_table(table)
    op.drop_index("ix_jobs_open_by_key", "jobs")
    op.drop_index("ix_jobs_claim", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        for column in ("charge_amount", "charge_unit", "charge_plan_id", "callback", "priority", "key_id", "model"):
            jobs.drop_column(column)
    op.create_index("ix_jobs_status_id", "jobs", ["status", "id"])


def _widen_jobs() -> None:
    for column in (
        sa.Column(
            "model", sa.Text, nullable=False, server_default="", comment="the request's, to count and to bill by"
        ),
        sa.Column("key_id", sa.String(50), comment="the key that submitted it"),
        sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
        sa.Column("callback", sa.Text, comment="Callback as JSON"),
        sa.Column("charge_plan_id", NUMBER, comment="where `charge_amount` is reserved until the job ends"),
        sa.Column("charge_unit", sa.String(20)),
        sa.Column("charge_amount", sa.Double),
    ):
        op.add_column("jobs", column)
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    model = "json_extract(request, '$.model')" if on_sqlite else "request::json->>'model'"
    op.execute(f"UPDATE jobs SET model = {model}")
    op.drop_index("ix_jobs_status_id", "jobs")
    op.create_index("ix_jobs_claim", "jobs", ["status", sa.text("priority DESC"), "id"])
    is_open = sa.text("key_id IS NOT NULL AND finished_at IS NULL")
    op.create_index("ix_jobs_open_by_key", "jobs", ["key_id"], sqlite_where=is_open, postgresql_where=is_open)


def _make_accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(100), primary_key=True),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(50), primary_key=True),
        sa.Column("account", sa.String(100), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("type", sa.String(10), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False, comment="JSON list"),
        sa.Column("requests_per_second", sa.Double),
        sa.Column("requests_per_day", sa.Integer),
        sa.Column("concurrent_jobs", sa.Integer),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("token_hash", sa.String(64), unique=True, comment="of a bearer token; the token itself is nowhere"),
        sa.Column("access_key", sa.String(100), unique=True),
        sa.Column("sealed_secret", sa.LargeBinary, comment="of a pair, encrypted by whoever handed it over"),
        sa.Column("revoked_at", sa.Double),
    )
    op.create_index("ix_keys_account", "keys", ["account"])
    op.create_table(
        "plans",
        sa.Column("id", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("account", sa.String(100), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("unit", sa.String(20), nullable=False),
        sa.Column("amount", sa.Double, nullable=False),
        sa.Column("used", sa.Double, nullable=False),
        sa.Column("reserved", sa.Double, nullable=False),
        sa.Column("valid_from", sa.Double, nullable=False),
        sa.Column("valid_until", sa.Double, nullable=False),
        sa.Column("wallet", sa.String(200)),
    )
    op.create_index("ix_plans_account", "plans", ["account"])
    op.create_index("ix_plans_wallet", "plans", ["wallet"])


def _make_ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("job_id", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("account", sa.String(200), nullable=False),
        sa.Column("key_id", sa.String(50)),
        sa.Column("dialect", sa.String(50), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("steps", sa.Integer, nullable=False),
        sa.Column("pixels", sa.BigInteger, nullable=False),
        sa.Column("device_seconds", sa.Double, nullable=False),
        sa.Column("plan_id", NUMBER),
        sa.Column("charged", sa.Double, nullable=False),
    )
    op.create_index("ix_ledger_account", "ledger", ["account", "finished_at", "job_id"])
    op.create_index("ix_ledger_time", "ledger", ["finished_at", "job_id"])


def _make_outbox() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("job_id", NUMBER, sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("callback", sa.Text, nullable=False, comment="Callback as JSON"),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("next_at", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("delivered_at", sa.Double),
        sa.Column("last_error", sa.Text),
    )
    op.create_index("ix_deliveries_due", "deliveries", ["status", "next_at"])
    op.create_index("ix_deliveries_job_id", "deliveries", ["job_id"])
    job = sa.ForeignKey("jobs.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED")
    op.create_table(
        "idempotency",
        sa.Column("account", sa.String(200), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("job_id", NUMBER, job, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"])
    op.create_index("ix_idempotency_job_id", "idempotency", ["job_id"])
