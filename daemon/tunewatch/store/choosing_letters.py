"""Events and dead letters that a person means, by name or all that are open.

Plain functions over a connection; writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, select

from tunewatch.events import matcher
from tunewatch.store.choice import Stretch
from tunewatch.store.counting import counted
from tunewatch.store.schema import dead_letter, event
from tunewatch.store.scope import Found, Scope

AT_ONCE = 500
"""Dead letters looked at in one read."""

_letters = select(
    dead_letter.c.id,
    dead_letter.c.plugin,
    dead_letter.c.source_id,
    dead_letter.c.job_key,
    dead_letter.c.first_position.label("first"),
    dead_letter.c.last_position.label("last"),
    dead_letter.c.closed_at,
).order_by(dead_letter.c.id)
_kinds = select(event.c.position, event.c.type).where(
    event.c.position.in_(bindparam("positions", expanding=True))
)


def named_events(connection: Connection, scope: Scope) -> Found:
    """Return the events that are named, each for the plugins that are to get it."""
    found = Found()
    for event_id in dict.fromkeys(scope.asked.events):
        row = connection.execute(
            select(event).where(event.c.id == event_id)
        ).one_or_none()
        if row is None:
            found.refused.append(
                f"event {event_id} is not kept: retention removed it, or there is no "
                "such"
            )
        else:
            found += _event(connection, scope, row)
    return found


def _event(connection: Connection, scope: Scope, row: Row[Any]) -> Found:
    found, asked = Found(), scope.asked
    letters = connection.execute(
        _letters.where(
            dead_letter.c.closed_at.is_(None),
            dead_letter.c.source_id == row.source_id,
            dead_letter.c.job_key == row.job_key,
            dead_letter.c.first_position <= row.position,
            dead_letter.c.last_position >= row.position,
        )
    ).all()
    names = {one.plugin for one in letters} if asked.plugin is None else {asked.plugin}
    if not names:
        found.refused.append(
            f"event {row.id} is no plugin's dead letter: say which plugin is to get it"
        )
    # A letter for this event alone is closed by it.
    closes = {one.plugin: one.id for one in letters if one.first == one.last}
    for name in sorted(names):
        reason = scope.refusal(name, row.source_id, f"event {row.id}")
        if reason is not None:
            found.refused.append(reason)
            continue
        where = (row.source_id, row.job_key, row.position, row.position)
        letter = closes.get(name, 0)
        found.stretches.append(Stretch(name, *where, letter, named=True))
    return found


def named_letters(
    connection: Connection, scope: Scope, letters: Sequence[int]
) -> Found:
    """Return the dead letters of these ids."""
    found = _read(connection, scope, _letters.where(dead_letter.c.id.in_(letters)))
    found.refused += (
        f"there is no dead letter {missing}"
        for missing in letters
        if missing not in found.letters
    )
    return found


def open_letters(connection: Connection, scope: Scope, after: int) -> Found:
    """Return the next open dead letters that are meant, at most `AT_ONCE`."""
    asked, letter = scope.asked, dead_letter.c
    wanted = _letters.where(
        letter.closed_at.is_(None),
        letter.source_id.in_(list(scope.sources)),
        letter.id > after,
    )
    if asked.plugin is not None:
        wanted = wanted.where(letter.plugin == asked.plugin)
    if scope.jobs is not None:
        wanted = wanted.where(letter.job_key.in_(scope.jobs))
    if asked.since is not None:
        wanted = wanted.where(letter.at >= asked.since)
    if asked.until is not None:
        wanted = wanted.where(letter.at < asked.until)
    return _read(connection, scope, wanted.limit(AT_ONCE))


def _read(connection: Connection, scope: Scope, wanted: Select[Any]) -> Found:
    letters = connection.execute(wanted).all()
    found = Found(letters=[one.id for one in letters])
    alone = [one.first for one in letters if one.first == one.last]
    rows = connection.execute(_kinds, {"positions": alone}) if alone else ()
    kinds: dict[int, str] = {row.position: row.type for row in rows}
    is_meant = matcher(scope.asked.types or ("*",))
    for one in letters:
        reason = _refusal(scope, one)
        if reason is not None:
            found.refused.append(reason)
        elif one.first != one.last:
            _many(connection, scope, one, found)
        elif one.first not in kinds:
            found.gone.append(one.id)
        elif is_meant(kinds[one.first]):
            where = (one.source_id, one.job_key, one.first, one.last)
            found.stretches.append(Stretch(one.plugin, *where, one.id, named=True))
    return found


def _refusal(scope: Scope, letter: Row[Any]) -> str | None:
    what = f"dead letter {letter.id}"
    if letter.closed_at is not None:
        return f"{what} was redelivered already: name its event to send it again"
    return scope.refusal(letter.plugin, letter.source_id, what)


def _many(connection: Connection, scope: Scope, letter: Row[Any], found: Found) -> None:
    types = scope.asked.types
    where = (letter.source_id, letter.job_key, letter.first, letter.last)
    # Not closed by a part of its events.
    closes = 0 if types else letter.id
    whole = Stretch(letter.plugin, *where, closes, types=types)
    kept = counted(connection, scope.plugins[letter.plugin], whole)
    if kept is not None:
        found.stretches.append(kept)
    elif not types:
        found.gone.append(letter.id)
