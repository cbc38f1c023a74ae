"""What a person asked to be delivered once more, as a range of positions.

The request's row is the durable promise: it goes in the transaction that ends the
redelivery. Knows no plugin's subscription.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, text

KIND = "redeliver"
"""The kind of the requests that are read here."""


class Redelivery(NamedTuple):
    """A range of events that one plugin is to get again."""

    request: int  #: id of the request
    plugin: str
    job_key: int | None  #: None: of all jobs of the source
    first: int  #: position
    last: int
    letter: int | None = None  #: id of the dead letter that is closed by it

    @property
    def is_single(self) -> bool:
        """Whether it is one event, named by a person: no subscription is asked."""
        return self.first == self.last


class RedeliveryAsked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request: exactly one of the last three."""

    plugin: str
    letter: int | None = None  #: id of a dead letter
    event: str | None = None  #: id of an event
    since: float | None = None  #: unix seconds: everything committed after it


_body = msgspec.json.Decoder(RedeliveryAsked)
_LETTER = text(
    "SELECT d.plugin, d.job_key, d.first_position, d.last_position,"
    " (SELECT count(*) FROM event e WHERE e.position = d.first_position) AS kept"
    " FROM dead_letter d WHERE d.id = :id AND d.source_id = :source"
)
_EVENT = text(
    "SELECT position, job_key FROM event WHERE id = :id AND source_id = :source"
)
_SINCE = text(
    "SELECT min(position) AS first, max(position) AS last FROM event"
    " WHERE source_id = :source AND observed_at >= :since"
)


def encode_redelivery(asked: RedeliveryAsked) -> bytes:
    """Return the body of a request."""
    return msgspec.json.encode(asked)


def find_redelivery(
    connection: Connection, source_id: int, request: int, body: bytes
) -> Redelivery | str:
    """Return what a request asks for, or why it cannot be done.

    What cannot be done is to be refused to the person, and the request removed.
    """
    try:
        asked = _body.decode(body)
    except msgspec.MsgspecError as error:
        return f"the request cannot be read: {error}"
    if asked.letter is not None:
        return _of_letter(connection, source_id, request, asked.plugin, asked.letter)
    if asked.event is not None:
        row = connection.execute(
            _EVENT, {"id": asked.event, "source": source_id}
        ).first()
        if row is None:
            return f"event {asked.event} is not kept: retention removed it, or no such"
        position, job_key = row
        return Redelivery(request, asked.plugin, job_key, position, position)
    values = {"source": source_id, "since": asked.since or 0.0}
    row = connection.execute(_SINCE, values).one()
    if row.first is None:
        return "nothing was committed since"
    return Redelivery(request, asked.plugin, None, row.first, row.last)


def _of_letter(
    connection: Connection, source_id: int, request: int, plugin: str, letter: int
) -> Redelivery | str:
    row = connection.execute(_LETTER, {"id": letter, "source": source_id}).first()
    if row is None:
        return f"there is no dead letter {letter}"
    if row.plugin != plugin:
        return f"dead letter {letter} is {row.plugin}'s, not {plugin}'s"
    if not row.kept:
        return f"the events of dead letter {letter} are gone: retention removed them"
    return Redelivery(
        request, plugin, row.job_key, row.first_position, row.last_position, letter
    )
