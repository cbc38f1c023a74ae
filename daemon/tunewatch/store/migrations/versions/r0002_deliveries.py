"""The delivery log, redeliveries, and how plugins are in each process.

The previous release neither reads nor writes any of it: a mark that it makes has no
`start`, and what it delivers meanwhile is missing in the log.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Take the step."""
    _log()
    _redeliveries()
    op.add_column("mark", sa.Column("start", sa.BigInteger()))
    op.create_table(
        "plugin_state",
        sa.Column("replica", sa.Text(), nullable=False),
        sa.Column("plugin", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("retry_at", sa.Double()),
        sa.Column("told_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("replica", "plugin"),
        sqlite_with_rowid=False,
    )


def _log() -> None:
    op.create_table(
        "attempt",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("plugin", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("job_key", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("redelivery", sa.BigInteger()),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("status", sa.BigInteger()),
        sa.Column("reason", sa.Text()),
        sa.Column("answer", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("attempt_by_job", "attempt", ["job_key", "id"])
    failed = sa.text("outcome <> 'accepted'")
    op.create_index(
        "attempt_failed",
        "attempt",
        ["id"],
        sqlite_where=failed,
        postgresql_where=failed,
    )
    asked_for = sa.text("redelivery IS NOT NULL")
    op.create_index(
        "attempt_by_redelivery",
        "attempt",
        ["redelivery"],
        sqlite_where=asked_for,
        postgresql_where=asked_for,
    )


def _redeliveries() -> None:
    op.create_table(
        "redelivery",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("asked", sa.LargeBinary(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "stretch",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("redelivery", sa.BigInteger(), nullable=False),
        sa.Column("plugin", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("job_key", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("letter", sa.BigInteger(), nullable=False),
        sa.Column("named", sa.Boolean(), nullable=False),
        sa.Column("types", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "plugin", "source_id", "job_key", "first", "last", "letter", "types"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("stretch_by_source", "stretch", ["source_id", "plugin", "id"])
    op.create_index("stretch_by_redelivery", "stretch", ["redelivery", "first"])
