"""What is stored of a job is compressed by LZ4, where PostgreSQL has it.

A job's row is just too long to be stored as it is, and its own way to compress takes
most of the time in which thousands of jobs are read. What is stored already stays as it
is until it is written again. The previous release notices nothing of it.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_LONG = ("raw", "view", "state", "selection")
# A server can be built without it, and those before 14 do not know the words.
_SET = """
DO $$ BEGIN
  {each}
EXCEPTION WHEN feature_not_supported OR syntax_error THEN NULL;
END $$
"""
_EACH = "EXECUTE 'ALTER TABLE job ALTER COLUMN {name} SET COMPRESSION lz4';"


def upgrade() -> None:
    """Take the step."""
    if op.get_bind().dialect.name == "postgresql":
        each = " ".join(_EACH.format(name=name) for name in _LONG)
        op.execute(_SET.format(each=each))
