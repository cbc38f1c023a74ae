"""Mistakes in settings: where, what was wanted, what was found. Never a value.

Knows no key by name.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Wanted(ValueError):
    """Raised by a validator: the message names what was wanted, as a noun."""


class NoSuchKind(LookupError):
    """No installed source or plugin is called so, or it cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One thing that is wrong with the configuration."""

    where: str  #: the file, or the environment variable
    key: str  #: its path, as TOML writes it; empty for the whole file
    text: str  #: what was wanted and what was found

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.text) if part)


class ConfigError(Exception):
    """The configuration cannot be used; tells every mistake at once."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__(str(self))

    def __str__(self) -> str:
        if len(self.mistakes) == 1:
            return f"the configuration has a mistake: {self.mistakes[0]}"
        lines = "".join(f"\n  {mistake}" for mistake in self.mistakes)
        return f"the configuration has {len(self.mistakes)} mistakes:{lines}"


def key_path(parts: Iterable[str | int]) -> str:
    """Return a key as TOML writes it: `plugins.ops.delivery.timeout`."""
    written = ""
    for part in parts:
        if isinstance(part, int):
            written += f"[{part}]"
        else:
            name = part if _BARE.fullmatch(part) else json.dumps(part)
            written += f".{name}" if written else name
    return written


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def hint(name: str, known: Iterable[str], *, otherwise: str = "known are") -> str:
    """Return what to say about a name that does not exist: the closest, or all."""
    names = list(dict.fromkeys(known))
    meant = closest(name, names)
    if meant is not None:
        return f"did you mean {meant}?"
    return f"{otherwise} {', '.join(names) or 'none'}"


def kinds_there_are(name: str, known: Iterable[str]) -> str:
    """Return what to say about a kind that is not installed: all, and the closest."""
    names = sorted(set(known))
    meant = closest(name, names)
    guess = "" if meant is None else f"; did you mean {meant}?"
    return f"installed: {', '.join(names) or 'none'}{guess}"


def kind_of_value(value: object) -> str:
    """Return what a value is, never the value: `a string`, `an array`."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number"
        case str():
            return "a string" if value.strip() else "an empty string"
        case list() | tuple():
            return "an array"
        case dict():
            return "a table"
        case _:
            return "something else"
