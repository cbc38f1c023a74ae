"""The steps from an empty database to today's tables.

Importing this names the steps only; Alembic, which takes them, is imported by `step`
when a database is behind. Each step can be used by the previous release: expand now,
contract later.
"""

from __future__ import annotations

REVISIONS = ("0001", "0002", "0003", "0004")
"""Every revision there has been, oldest first."""
HEAD = REVISIONS[-1]
"""What this version's tables are called."""
