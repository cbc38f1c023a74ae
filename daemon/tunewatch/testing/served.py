"""A job as it is served: encoded once, kept until it changes, overruled by tests.

A job follows its script, or was given word for word. Either way tests may lay fields
over it and put events and checkpoints of their own. Knows no project and no request.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tunewatch.testing.checkpoints import checkpoints
from tunewatch.testing.entries import planned
from tunewatch.testing.lives import RESULTS, Act
from tunewatch.testing.results import result_csv
from tunewatch.testing.scripted import ScriptedJob


class Item(Protocol):
    """One item of a list: something with an id, that is there from a moment on."""

    @property
    def at(self) -> float:
        """The simulated time from which it is listed."""
        ...

    @property
    def id(self) -> str:
        """Its id, by which a cursor names it."""
        ...

    def encoded(self) -> bytes:
        """Return it as JSON."""
        ...


@dataclass(frozen=True, slots=True)
class GivenItem:
    """An item given word for word."""

    at: float
    id: str
    body: bytes

    def encoded(self) -> bytes:
        """Return it as it was given."""
        return self.body


def given(raw: Any, at: float = -math.inf) -> GivenItem:
    """Return an item for any JSON value, or for bytes that are served untouched.

    What has no id has the empty one. NaN is written bare, as a careless API would.
    """
    body = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    try:
        read = json.loads(body)
    except ValueError:
        read = None
    found = read.get("id") if isinstance(read, dict) else None
    return GivenItem(at, found if isinstance(found, str) else "", body)


class ServedJob:
    """One job of a project. Made by `SimulatedApi.add_job` and `put_job`."""

    def __init__(self, job: ScriptedJob | Mapping[str, Any], *, at: float) -> None:
        self._scripted: ScriptedJob | None = None
        self._raw: dict[str, Any] = {}
        if isinstance(job, ScriptedJob):
            self._scripted, self.id = job, job.id
        else:
            self._raw, self.id = dict(job), str(job["id"])
        self.at = at  #: simulated time from which it is listed
        self.number = 0  #: tells jobs of one moment apart; given by the project
        self.version = 0  #: grows with everything a test or a request changed
        self._laid: dict[str, Any] = {}
        self._dropped: frozenset[str] = frozenset()
        self._kept: dict[frozenset[str], bytes] = {}
        self._kept_until = -math.inf
        self._entries: list[Item] | None = None
        self._entry_moments: list[float] = []
        self._positions: dict[str, int] | None = None
        self._put_entries: list[Item] | None = None
        self._added_entries: list[Item] = []
        self._put_checkpoints: list[GivenItem] | None = None

    def __repr__(self) -> str:
        return f"<ServedJob {self.id}>"

    @property
    def scripted(self) -> ScriptedJob:
        """The job's script and life. Raises LookupError for a job given as it is."""
        if self._scripted is None:
            raise LookupError(f"{self.id} was given word for word: it has no script")
        return self._scripted

    @property
    def ends_at(self) -> float | None:
        """The simulated time of the terminal status, None if it never comes."""
        return self.scripted.life.ended

    @property
    def settles_at(self) -> float | None:
        """The simulated time at which everything was said, None if it never is."""
        return self.scripted.settles_at

    def fields(self, now: float) -> dict[str, Any]:
        """Return the job object of a moment, with what tests laid over it."""
        job = self._scripted
        fields = self._raw if job is None else job.fields(now)
        laid = {**fields, **self._laid}
        return {name: laid[name] for name in laid if name not in self._dropped}

    def encoded_at(self, now: float, without: frozenset[str] = frozenset()) -> bytes:
        """Return the job object of a moment as JSON, but for some fields."""
        if now >= self._kept_until:
            self._kept = {}
            self._kept_until = self._next_change(now)
        body = self._kept.get(without)
        if body is None:
            fields = self.fields(now)
            shown = {name: fields[name] for name in fields if name not in without}
            body = json.dumps(shown, separators=(",", ":")).encode()
            self._kept[without] = body
        return body

    def entries(self, now: float) -> tuple[Sequence[Item], int]:
        """Return the event list, oldest first, and how many of it are there yet."""
        if self._entries is None:
            told = self._put_entries
            if told is None:
                told = [] if self._scripted is None else [*planned(self._scripted)]
            told = sorted([*told, *self._added_entries], key=lambda item: item.at)
            self._entries = told
            self._entry_moments = [item.at for item in told]
            self._positions = None
        return self._entries, bisect_right(self._entry_moments, now)

    def entry_position(self, entry_id: str) -> int | None:
        """Return where an event is in the list of `entries`."""
        if self._positions is None:
            found = enumerate(self._entries or ())
            self._positions = {item.id: position for position, item in found}
        return self._positions.get(entry_id)

    def checkpoints(self, now: float) -> list[GivenItem]:
        """Return the checkpoints of a moment, oldest first."""
        if self._put_checkpoints is not None:
            return self._put_checkpoints
        if self._scripted is None:
            return []
        return [given(raw, now) for raw in reversed(checkpoints(self._scripted, now))]

    def result_file(self, file_id: str, now: float) -> tuple[bytes, int] | None:
        """Return the content and the birth of that result file, None if not its own."""
        job = self._scripted
        if job is None or job.result_file != file_id:
            return None
        if file_id not in job.result_files(now):
            return None
        born = now if job.life.ended is None else min(now, job.life.ended + RESULTS)
        return result_csv(job, now), job.stamp(born)

    def act(self, act: Act) -> None:
        """Take a request that steers the job."""
        self.scripted.act(act)
        self._changed()

    def lay(self, fields: Mapping[str, Any], drop: Iterable[str] = ()) -> None:
        """Lay fields over the job from now on, and leave some out."""
        self._laid |= fields
        self._dropped = self._dropped.union(drop).difference(fields)
        self._changed()

    def put_entries(self, raws: Sequence[Any]) -> None:
        """Serve these events, newest first, in place of all others."""
        self._put_entries = [given(raw) for raw in reversed(raws)]
        self._added_entries = []
        self._changed()

    def add_entries(self, raws: Sequence[Any], now: float) -> None:
        """Serve these events, newest first, above those that are there now."""
        self._added_entries += [given(raw, now) for raw in reversed(raws)]
        self._changed()

    def put_checkpoints(self, raws: Sequence[Any]) -> None:
        """Serve these checkpoints, newest first, in place of all others."""
        self._put_checkpoints = [given(raw) for raw in reversed(raws)]
        self._changed()

    def _changed(self) -> None:
        self.version += 1
        self._kept_until = -math.inf
        self._entries = None

    def _next_change(self, now: float) -> float:
        if self._scripted is None:
            return math.inf
        changes = self._scripted.changes
        following = bisect_right(changes, now)
        return changes[following] if following < len(changes) else math.inf
