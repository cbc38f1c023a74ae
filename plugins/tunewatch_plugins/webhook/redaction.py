"""What a receiver says, made fit to be shown: short, printable, without secrets.

Receivers repeat what they were asked ("Cannot POST /services/T0…"), whole or in part.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterable, Iterator

LONGEST = 200  #: characters of a receiver's own words
_WINDOW = 8  #: as many characters in a row of a secret are a secret
_SHORTEST = 4  #: less is no secret
_FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_MARK = "…"


class Censor:
    """Takes the secrets of one moment out of what is said."""

    __slots__ = ("_sizes", "_windows")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._windows = frozenset(_windows(secrets))
        self._sizes = {len(window) for window in self._windows}

    def __call__(self, text: str, *, longest: int = LONGEST) -> str:
        """Return what may be shown of a text, at most so many characters.

        Any stretch of it that is found in a secret is replaced, in either case of
        letters. No more is looked at than twice as many.
        """
        return self._without(_printable(text[: 2 * longest]))[:longest]

    def _without(self, text: str) -> str:
        folded = text.translate(_FOLD)
        hidden = bytearray(len(text))
        for size in self._sizes:
            starts = range(len(text) - size + 1)
            # Nearly always there is none, which is known sooner.
            if self._windows.isdisjoint([folded[at : at + size] for at in starts]):
                continue
            for start in starts:
                if folded[start : start + size] in self._windows:
                    hidden[start : start + size] = b"\1" * size
        if 1 not in hidden:
            return text
        return "".join(
            (_MARK if at == 0 or not hidden[at - 1] else "") if hidden[at] else char
            for at, char in enumerate(text)
        )


def _printable(text: str) -> str:
    spaced = " ".join(text.split())
    if spaced.isprintable():
        return spaced
    # Invisible characters go before secrets are sought, so that none can hide one.
    seen = (char for char in spaced if unicodedata.category(char)[0] != "C")
    return " ".join("".join(seen).split())


def _windows(secrets: Iterable[str]) -> Iterator[str]:
    for secret in secrets:
        folded = secret.translate(_FOLD)
        size = min(len(folded), _WINDOW)
        if size >= _SHORTEST:
            for start in range(len(folded) - size + 1):
                yield folded[start : start + size]
