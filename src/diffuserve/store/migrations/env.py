"""Alembic's entry: runs the migrations on the connection that `store.migrate` hands over."""

from __future__ import annotations

from alembic import context

from diffuserve.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can change little of a table that stands: such steps copy it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
