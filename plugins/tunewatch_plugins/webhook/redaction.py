"""What a receiver says, made fit to be shown: short, printable, without secrets.

Receivers repeat what they were asked ("Cannot POST /services/T0…"), whole or in part.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterable

LONGEST = 200  #: characters of a receiver's own words
_READ = 4096  #: characters looked at
_WINDOW = 8  #: as many characters in a row of a secret are a secret
_SHORTEST = 4  #: less is no secret
_FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_MARK = "…"


def shown(text: str, secrets: Iterable[str], *, longest: int = LONGEST) -> str:
    """Return what may be shown of a text.

    Any stretch of it that is found in a secret is replaced, in either case of letters.
    """
    return _without(_printable(text[:_READ]), secrets)[:longest]


def _printable(text: str) -> str:
    # Invisible characters go before secrets are sought, so that none can hide one.
    spaced = "".join(" " if char.isspace() else char for char in text)
    seen = (char for char in spaced if unicodedata.category(char)[0] != "C")
    return " ".join("".join(seen).split())


def _without(text: str, secrets: Iterable[str]) -> str:
    windows = set(_windows(secrets))
    folded = text.translate(_FOLD)
    hidden = bytearray(len(text))
    for size in {len(window) for window in windows}:
        for start in range(len(text) - size + 1):
            if folded[start : start + size] in windows:
                hidden[start : start + size] = b"\1" * size
    return "".join(
        (_MARK if at == 0 or not hidden[at - 1] else "") if hidden[at] else char
        for at, char in enumerate(text)
    )


def _windows(secrets: Iterable[str]) -> Iterable[str]:
    for secret in secrets:
        folded = secret.translate(_FOLD)
        size = min(len(folded), _WINDOW)
        if size >= _SHORTEST:
            for start in range(len(folded) - size + 1):
                yield folded[start : start + size]
