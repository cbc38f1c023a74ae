"""A million events that wait for a dead endpoint, put into a store that is closed.

Knows the store's tables by SQL of its own, and no daemon.
"""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

BACKLOG = 1_000_000
DEAD, WELL = "hook00", "hook01"
"""The first two webhooks of a scene."""


def add_events(path: Path, count: int) -> None:
    """Add so many messages of the jobs there are, which only the dead one is owed."""
    with closing(sqlite3.connect(path)) as db, db:
        jobs = db.execute(
            "SELECT event.source_id, job_key, max(job.sequence), event.id,"
            " event.sequence, body FROM event JOIN job ON job.key = job_key"
            " WHERE type = 'fine_tuning.event.message' GROUP BY job_key"
        ).fetchall()
        assert jobs, "no job has said anything yet: there is nothing to repeat"
        [last] = db.execute("SELECT value FROM position").fetchone()
        db.executemany(
            "INSERT INTO event VALUES (?, ?, ?, ?, 'fine_tuning.event.message', ?, ?,"
            " 0, ?)",
            itertools.islice(_messages(jobs, last), count),
        )
        each = count // len(jobs) + 1
        db.execute("UPDATE job SET sequence = sequence + ?", (each,))
        db.execute("UPDATE position SET value = ?", (last + count,))
        told = "UPDATE mark SET position = ? WHERE plugin = ?"
        assert db.execute(told, (last + count, WELL)).rowcount == 1


def _messages(jobs: list[Any], position: int) -> Iterator[tuple[Any, ...]]:
    now = time.time()
    for turn in itertools.count(1):
        for source, key, newest, old_id, old, body in jobs:
            position += 1
            event_id, sequence = f"evt_{position:032x}", newest + turn
            fresh = body.replace(old_id.encode(), event_id.encode()).replace(
                b'"sequence":%d' % old, b'"sequence":%d' % sequence
            )
            yield position, event_id, source, key, sequence, now, fresh


def waiting(path: Path) -> int:
    """Return how many events the dead one has not been told of."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        [told] = db.execute(
            "SELECT position FROM mark WHERE plugin = ?", (DEAD,)
        ).fetchone()
        [newest] = db.execute("SELECT value FROM position").fetchone()
        return int(newest - told)
