"""Take the missing steps, over a connection that somebody else opened.

The caller owns the transaction: a step that fails leaves nothing behind.
"""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Bring the database to today's tables."""
    config = Config()
    config.set_main_option("script_location", "tunewatch.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
