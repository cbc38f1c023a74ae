"""What is valid and yet probably a slip: told by `tunewatch check` and at the start.

A mistake stops the daemon; a doubt does not: a source that left the configuration may
still have events that wait for a plugin which names it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase

from tunewatch.config.models import PluginSettings
from tunewatch.settings import Mistake, Place, hint


def doubts(
    plugins: Mapping[str, PluginSettings], sources: Collection[str], place: Place
) -> Iterator[Mistake]:
    """Yield the filters of plugins that let no configured source through."""
    for name, plugin in plugins.items():
        for number, pattern in enumerate(plugin.sources):
            if any(fnmatchcase(source, pattern) for source in sources):
                continue
            text = f"no source is or matches {pattern!r}; {hint(pattern, sources)}"
            yield place.mistake(("plugins", name, "sources", number), text)
