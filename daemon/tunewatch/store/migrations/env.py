"""Alembic's door: run the steps over the connection that was handed in."""

from __future__ import annotations

from alembic import context

from tunewatch.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    # The caller's transaction: neither begun nor committed here.
    transactional_ddl=False,
    transaction_per_migration=False,
)
context.run_migrations()
