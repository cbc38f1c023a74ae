"""Find kinds of sources: built-in and third-party by the same entry points.

Imports only what the configuration names, and no provider's client: commands that only
read the store stay fast.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any

from tunewatch.settings import kinds_there_are
from tunewatch.sources.contract import SourceKind

GROUP = "tunewatch.sources"
"""The entry point group that packages with sources use."""


class KindFault(Exception):
    """A kind of source cannot be used. `reason` says which, why and what there is."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def kinds(*, installed: EntryPoints | None = None) -> list[str]:
    """Return the names of the installed kinds, without importing any."""
    found = entry_points(group=GROUP) if installed is None else installed
    return sorted({entry.name for entry in found.select(group=GROUP)})


def load(kind: str, *, installed: EntryPoints | None = None) -> SourceKind[Any]:
    """Return the kind of source that goes by this name.

    `installed` are the entry points to look among, by default those of every installed
    package. Raises `KindFault` if there is none of that name, if more than one package
    provides it, or if it cannot be imported.
    """
    return _installed_kind(kind) if installed is None else _load(kind, installed)


@cache
def _installed_kind(kind: str) -> SourceKind[Any]:
    # A look at every installed package takes 5 ms, and a hundred sources are of one
    # kind.
    return _load(kind, entry_points(group=GROUP))


def _load(kind: str, installed: EntryPoints) -> SourceKind[Any]:
    candidates = installed.select(group=GROUP)
    entry = _only(
        kind, [entry for entry in candidates if entry.name == kind], candidates
    )
    try:
        loaded = entry.load()
    except ModuleNotFoundError as missing:
        raise KindFault(
            f"source kind '{kind}' needs a package that is not installed: "
            f"{missing.name}"
        ) from missing
    except AttributeError as missing:
        raise KindFault(
            f"source kind '{kind}' points at {entry.value}, which does not exist"
        ) from missing
    if not isinstance(loaded, SourceKind):
        raise KindFault(
            f"source kind '{kind}' points at {entry.value}, "
            f"which is a {type(loaded).__name__} and not a SourceKind"
        )
    return loaded


def _only(kind: str, named: list[EntryPoint], candidates: EntryPoints) -> EntryPoint:
    """Return the one entry point of that name."""
    if not named:
        there_are = kinds_there_are(kind, (entry.name for entry in candidates))
        raise KindFault(f"no source kind called '{kind}'; {there_are}")
    # One package may be seen twice, as source tree and as wheel: that is no conflict.
    packages = sorted({entry.dist.name if entry.dist else "?" for entry in named})
    if len(packages) > 1:
        raise KindFault(
            f"source kind '{kind}' is provided by more than one package: "
            + ", ".join(packages)
        )
    return named[0]
