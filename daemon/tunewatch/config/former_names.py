"""Former names of sources, whoever gives them: which cannot be.

Knows no state: whether a former name was ever used is told at the start.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from tunewatch.config.models import OrganizationSettings, SourceSettings
from tunewatch.settings import Mistake, Place

Where = tuple[str, ...]


def former_names(
    sources: Mapping[str, SourceSettings],
    organizations: Mapping[str, OrganizationSettings],
) -> dict[str, tuple[str, Where]]:
    """Return by the name of a source what it was called, and the key that says so."""
    found: dict[str, tuple[str, Where]] = {}
    for organization, one in organizations.items():
        for project, old in one.renamed_from.items():
            key = ("organizations", organization, "renamed_from", project)
            found[project] = (old, key)
    for name, source in sources.items():
        if source.renamed_from is not None:
            found[name] = (source.renamed_from, ("sources", name, "renamed_from"))
    return found


def renamed_badly(
    former: Mapping[str, tuple[str, Where]], configured: Collection[str], place: Place
) -> Iterator[Mistake]:
    """Yield what is wrong with former names."""
    names = {name: old for name, (old, _) in former.items()}
    for name, (old, key) in former.items():
        text = None
        if [*names.values()].count(old) > 1:
            text = "two sources cannot have the same former name; keep one"
        elif _comes_back(name, names):
            text = "the names go round in a circle: each start would move them again"
        elif old in configured and old not in names:
            text = (
                "this former name belongs to a source that is configured: remove one; "
                "a source cannot both be there and have another name"
            )
        if text is not None:
            yield place.mistake(key, text)


def _comes_back(name: str, former: Mapping[str, str]) -> bool:
    """Whether the former names of a source lead back to it."""
    seen: set[str] = set()
    at: str | None = name
    while at is not None and at not in seen:
        seen.add(at)
        at = former.get(at)
    return at == name
