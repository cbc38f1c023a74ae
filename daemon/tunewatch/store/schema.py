"""The tables. One description for SQLite and PostgreSQL.

Knows names and types; what they mean in motion is told by `journal`, `lanes`, `lease`.
Bodies are bytes. There are no foreign keys: rows are written in a fixed lock order
(lease, jobs by key, lanes, counters, position), and a key check would lock out of it.
Times are unix seconds. Conditions of indexes are SQLite's here and the same on both: to
name PostgreSQL's too would load its dialect for every command that reads a file.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

# SQLite gives out row ids by itself only to a column declared INTEGER.
_Key = BigInteger().with_variant(Integer(), "sqlite")

source = Table(
    "source",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("realm", Text, nullable=False),
    Column("first_contact_at", Double, nullable=False),
    Column("backfill_before", Double, nullable=False),  # never moves
    Column("walk_cursor", Text),  # of the first sync, so that it resumes
    Column("walked", Boolean, nullable=False, default=False),  # first sync is done
    Column("sequence", BigInteger, nullable=False, default=0),
    Column("state", LargeBinary, nullable=False, default=b"{}"),  # down since, counts
)

lease = Table(
    "lease",
    metadata,
    Column("source_id", Integer, primary_key=True, autoincrement=False),
    Column("owner", Text, nullable=False),
    Column("token", BigInteger, nullable=False),  # the fence: grows at each takeover
    Column("expires_at", Double, nullable=False),  # by the database's clock
)

job = Table(
    "job",
    metadata,
    Column("key", _Key, primary_key=True, autoincrement=True),
    Column("source_id", Integer, nullable=False),
    Column("realm", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    # model.Job as JSON: readers need no provider's decoder.
    Column("view", LargeBinary, nullable=False),
    Column("state", LargeBinary, nullable=False),  # diff.JobState as JSON
    Column("status", Text, nullable=False),  # verbatim, as last committed
    Column("created_at", BigInteger, nullable=False),  # 0 if the provider did not say
    Column("ended_at", BigInteger),  # finished_at, else when the end was seen
    Column("settled", Boolean, nullable=False),
    Column("removed", Boolean, nullable=False),
    Column("term", BigInteger, nullable=False),  # lease token of the last look
    Column("look", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("metadata", LargeBinary),  # JSON, for subscriptions
    Column("selection", LargeBinary),  # model.Selection as JSON
    UniqueConstraint("realm", "id"),
    sqlite_autoincrement=True,  # what retention removed lends its key to nobody
)
Index("job_by_age", job.c.source_id, job.c.created_at)
Index(
    "job_unsettled",
    job.c.source_id,
    job.c.key,
    sqlite_where=text("settled = 0"),
)
Index("job_by_end", job.c.ended_at)
Index("job_by_creation", job.c.created_at, job.c.key)

entry = Table(  # ids of API events that are known
    "entry",
    metadata,
    Column("job_key", BigInteger, primary_key=True),
    Column("id", Text, primary_key=True),
    sqlite_with_rowid=False,
)

point = Table(
    "point",
    metadata,
    Column("job_key", BigInteger, primary_key=True),
    Column("n", BigInteger, primary_key=True),
    Column("step", BigInteger, nullable=False),
    Column("total_steps", BigInteger),
    Column("created_at", BigInteger),
    Column("metrics", LargeBinary, nullable=False),  # {key: finite value} as JSON
    sqlite_with_rowid=False,
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("job_key", BigInteger, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),  # model.Checkpoint as JSON
    Column("removed", Boolean, nullable=False, default=False),
    sqlite_with_rowid=False,
)

event = Table(
    "event",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("source_id", Integer, nullable=False),
    Column("job_key", BigInteger, nullable=False),  # 0: of the source itself
    Column("type", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("observed_at", Double, nullable=False),
    Column("derived", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
Index("event_by_job", event.c.job_key, event.c.position)
Index("event_by_source", event.c.source_id, event.c.position)

mark = Table(  # up to where a plugin has finished everything of a source
    "mark",
    metadata,
    Column("plugin", Text, primary_key=True),
    Column("source_id", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("in_flight", LargeBinary, nullable=False, default=b"[]"),  # positions, JSON
    Column("last_used_at", Double, nullable=False),
    Column("start", BigInteger),  # position after which it was to be told
)

lane = Table(  # exists only where its cursor is above the mark, or it is in trouble
    "lane",
    metadata,
    Column("plugin", Text, primary_key=True),
    Column("source_id", Integer, primary_key=True, autoincrement=False),
    Column("job_key", BigInteger, primary_key=True, autoincrement=False),
    Column("cursor", BigInteger, nullable=False),  # position finished in this lane
    Column("tries", Integer, nullable=False, default=0),  # spent by the head event
    Column("first_failure_at", Double),
    Column("wait", Double),  # s, the length of the wait
    Column("wait_until", Double),  # a start waits min(wait, what is left)
    Column("crashes", Integer, nullable=False, default=0),  # ends with only it out
    Column("last_error", Text),
    sqlite_with_rowid=False,
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=True),
    Column("plugin", Text, nullable=False),
    Column("source_id", Integer, nullable=False),
    Column("job_key", BigInteger, nullable=False),
    Column("first_position", BigInteger, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("event_id", Text, nullable=False),  # of the first
    Column("tries", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("closed_at", Double),  # redelivered since
    sqlite_autoincrement=True,
)
Index(
    "dead_letter_open",
    dead_letter.c.plugin,
    dead_letter.c.closed_at,
    dead_letter.c.source_id,
)
Index("dead_letter_by_age", dead_letter.c.source_id, dead_letter.c.at)

attempt = Table(  # the delivery log: one call of a plugin, and what it came to
    "attempt",
    metadata,
    # Not SQLite's AUTOINCREMENT, which costs a write for each row: the newest row is
    # never removed, so an id is never given twice.
    Column("id", _Key, primary_key=True, autoincrement=True),
    Column("plugin", Text, nullable=False),
    Column("source_id", Integer, nullable=False),
    Column("job_key", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("number", Integer, nullable=False),  # of the try, from 1
    Column("redelivery", BigInteger),  # what it was asked for by, if it was
    Column("at", Double, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", BigInteger),
    Column("reason", Text),
    Column("answer", Text),
)
Index("attempt_by_job", attempt.c.job_key, attempt.c.id)
Index(
    "attempt_failed",
    attempt.c.id,
    sqlite_where=text("outcome <> 'accepted'"),
)
Index(
    "attempt_by_redelivery",
    attempt.c.redelivery,
    sqlite_where=text("redelivery IS NOT NULL"),
)

plugin = Table(  # what outlives a process of a plugin's state
    "plugin",
    metadata,
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False),  # up, paused
    Column("reason", Text),
    Column("since", Double, nullable=False),
    Column("settings_digest", Text, nullable=False),
)

plugin_state = Table(  # how a plugin is in one process: told when it changes
    "plugin_state",
    metadata,
    Column("replica", Text, primary_key=True),  # the owner of its leases
    Column("plugin", Text, primary_key=True),
    Column("state", Text, nullable=False),  # up, probing, paused
    Column("reason", Text),
    Column("since", Double, nullable=False),
    Column("retry_at", Double),  # of the next probe
    Column("told_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

redelivery = Table(  # what a person asked to be delivered again; stays as a record
    "redelivery",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("by", Text, nullable=False),  # who asked
    Column("asked", LargeBinary, nullable=False),  # redelivery.Selection as JSON
    Column("events", BigInteger, nullable=False),  # how many it was for
    Column("refused", BigInteger, nullable=False, default=0),  # stretches not done
    Column("reason", Text),  # why the last of them was not
    sqlite_autoincrement=True,
)

stretch = Table(  # what is left of a redelivery: events of one job, in order
    "stretch",
    metadata,
    # Its lane's key is minus this: never given twice.
    Column("id", _Key, primary_key=True, autoincrement=True),
    Column("redelivery", BigInteger, nullable=False),
    Column("plugin", Text, nullable=False),
    Column("source_id", Integer, nullable=False),
    Column("job_key", BigInteger, nullable=False),
    Column("first", BigInteger, nullable=False),  # position
    Column("last", BigInteger, nullable=False),
    Column("letter", BigInteger, nullable=False, default=0),  # closed by it; 0: none
    Column("named", Boolean, nullable=False, default=False),  # whatever is subscribed
    Column("types", Text, nullable=False, default=""),  # only these: patterns, JSON
    # The same thing asked for twice while it is under way is one.
    UniqueConstraint(
        "plugin", "source_id", "job_key", "first", "last", "letter", "types"
    ),
    sqlite_autoincrement=True,
)
Index("stretch_by_source", stretch.c.source_id, stretch.c.plugin, stretch.c.id)
Index("stretch_by_redelivery", stretch.c.redelivery, stretch.c.first)

request = Table(  # what a person asked for; inserted anywhere, read by the owner
    "request",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),  # resume, pause, look
    Column("source_id", Integer),
    Column("body", LargeBinary, nullable=False),
    Column("at", Double, nullable=False),
    sqlite_autoincrement=True,
)

audit = Table(  # what was asked to be done, written with the doing; never changed
    "audit",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("by", Text, nullable=False),  # who
    Column("what", Text, nullable=False),  # by the name it has in the API
    Column("about", Text),  # the one it is about
    Column("outcome", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("audit_by_age", audit.c.at)

counter = Table(  # totals shown in /metrics: they grow in the commit
    "counter",
    metadata,
    Column("source_id", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("labels", Text, primary_key=True),  # JSON with sorted keys
    Column("value", Double, nullable=False),
    sqlite_with_rowid=False,
)

position = Table(  # one row, updated last: commit order is position order
    "position",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
)

tombstone = Table(  # what retention left of a job: never reopened
    "tombstone",
    metadata,
    Column("realm", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("at", Double, nullable=False),
    sqlite_with_rowid=False,
)
