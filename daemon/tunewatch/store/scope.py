"""Within what a person chooses events: the sources, the job, and who may get them.

Learned once, before anything is looked for. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from tunewatch.store.choice import CannotChoose, Selection, Stretch, Subscribed
from tunewatch.store.overview import keys_of_job
from tunewatch.store.schema import source

_SHOWN = 10
"""Ids that a reason names, at most."""


@dataclass(slots=True)
class Found:
    """What was found so far."""

    stretches: list[Stretch] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)  #: letters whose events are gone
    letters: list[int] = field(default_factory=list)  #: that were looked at

    def __iadd__(self, other: Found) -> Found:
        """Add what was found elsewhere."""
        self.stretches += other.stretches
        self.refused += other.refused
        self.gone += other.gone
        self.letters += other.letters
        return self

    def reasons(self) -> tuple[str, ...]:
        """Return why something cannot be done, that events are gone in one line."""
        if not self.gone:
            return tuple(self.refused)
        shown = ", ".join(map(str, self.gone[:_SHOWN]))
        more = len(self.gone) - _SHOWN
        shown += f" and {more} more" if more > 0 else ""
        gone = f"the events of dead letter {shown} are gone: retention removed them"
        return (*self.refused, gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """See the module."""

    asked: Selection
    plugins: dict[str, Subscribed]
    sources: dict[int, str]  #: names by id; only the one that was named, if one was
    jobs: list[int] | None  #: keys of the job that is meant; None: any

    def plugin(self, name: str) -> Subscribed:
        """Return a configured plugin. Raises CannotChoose."""
        if name not in self.plugins:
            raise CannotChoose(f"there is no plugin {name} in the configuration")
        return self.plugins[name]

    def refusal(self, name: str, source_id: int, what: str) -> str | None:
        """Return why a plugin is not given something of a source, None if it may be."""
        plugin, heard = self.plugins.get(name), self.sources.get(source_id)
        if heard is None:
            return f"{what} is of another source than {self.asked.source}"
        if plugin is None:
            return f"{what} cannot go to {name}: it is not in the configuration"
        if not plugin.events:
            return f"{what} cannot go to {name}: it takes no events"
        if not plugin.hears(heard):
            return f"{what} cannot go to {name}: it does not listen to source {heard}"
        return None


def learn(
    connection: Connection, asked: Selection, plugins: Iterable[Subscribed]
) -> Scope:
    """Return the scope of a selection. Raises CannotChoose."""
    rows = connection.execute(select(source.c.id, source.c.name).order_by(source.c.id))
    sources: dict[int, str] = {row.id: row.name for row in rows}
    if asked.source is not None:
        sources = {key: name for key, name in sources.items() if name == asked.source}
        if not sources:
            raise CannotChoose(f"there is no source {asked.source} in the store")
    jobs: list[int] | None = None
    if asked.job is not None:
        jobs = keys_of_job(connection, asked.job)
        if not jobs:
            raise CannotChoose(f"there is no job {asked.job} in the store")
    by_name = {one.name: one for one in plugins}
    return Scope(asked=asked, plugins=by_name, sources=sources, jobs=jobs)
