"""Two plugins of one kind that would have the same job, where that cannot work.

Which kinds those are, they say themselves: their settings have an attribute
`alone_with_jobs`, a sentence that tells why and what to do, or None. Knows no kind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import combinations

from tunewatch.config.models import PluginSettings
from tunewatch.settings import Mistake, Place


def overlaps(
    plugins: Mapping[str, PluginSettings], sources: Collection[str], place: Place
) -> Iterator[Mistake]:
    """Yield the later one of each two plugins that a job would go to.

    Of sources that nobody knows yet, only what both are sure to have counts.
    """
    for (name, one), (later, other) in combinations(plugins.items(), 2):
        why = getattr(other.settings, "alone_with_jobs", None)
        if why is None or one.kind != other.kind:
            continue
        if getattr(one.settings, "alone_with_jobs", None) is None:
            continue
        if _have_a_source(one, other, sources) and not _tell_apart(one, other):
            text = f"it would have the same jobs as plugins.{name}: {why}"
            yield place.mistake(("plugins", later), text)


def _have_a_source(
    one: PluginSettings, other: PluginSettings, sources: Collection[str]
) -> bool:
    if set(one.sources) & set(other.sources):
        return True
    return any(
        all(
            any(fnmatchcase(source, pattern) for pattern in plugin.sources)
            for plugin in (one, other)
        )
        for source in (*sources, *one.sources, *other.sources)
    )


def _tell_apart(one: PluginSettings, other: PluginSettings) -> bool:
    """Whether no job can have the metadata that both ask for."""
    return any(
        value != other.metadata.get(key, value) for key, value in one.metadata.items()
    )
