"""Which projects of an organisation are watched, and why the others are not.

Pure: from what is listed, which keys there are, and what the configuration wants.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase

from tunewatch.sources.contract import Project


class Verdict(Enum):
    """What is done about a project."""

    WATCHED = "watched"
    NO_KEY = "no_key"  #: its jobs can only be read with a key of its own
    ARCHIVED = "archived"
    LEFT_OUT = "left_out"  #: by include and exclude
    UNLISTED = "unlisted"  #: there is a key, but the organisation has no such project


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The filters of one organisation: globs of ids and titles."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()

    def take(self, *names: str) -> bool:
        """Whether a project with this id and this title is wanted."""
        return _any(self.include, names) and not _any(self.exclude, names)


def judge(
    project_id: str,
    *,
    listed: Project | None,
    is_listing_known: bool,
    has_key: bool,
    is_known: bool,
    rules: Rules,
) -> Verdict:
    """Return what is done about a project.

    `is_known`: it was watched before, at this start or an earlier one. While nobody
    knows the titles, that decides where the filters may mean them.
    """
    if listed is None:
        is_wanted = rules.take(project_id) or (
            is_known and not _any(rules.exclude, [project_id])
        )
    else:
        is_wanted = rules.take(project_id, listed.title)
    if not is_wanted:
        return Verdict.LEFT_OUT
    if listed is not None and listed.is_archived:
        return Verdict.ARCHIVED
    if not has_key:
        return Verdict.NO_KEY
    # A list may lag or be cut short: it is no reason to let go of what is watched.
    if listed is None and is_listing_known and not is_known:
        return Verdict.UNLISTED
    return Verdict.WATCHED


def _any(patterns: Iterable[str], names: Iterable[str]) -> bool:
    every = list(names)
    return any(fnmatchcase(name, one) for one in patterns for name in every if name)
