"""Fit an API's words for a reason that people and logs may see.

Providers echo keys ("Incorrect API key provided: sk-…"), whole or masked, and say much.
Knows no provider: whatever looks like a secret goes.
"""

from __future__ import annotations

import re

LONGEST = 200
"""Characters kept of what the API says."""

LOOKED_AT = 4000
"""Characters that are looked at: the rest could only be cut."""

HIDDEN = "[redacted]"

_SECRETS = (
    re.compile(r"(?i)\bbearer\s+\S+"),
    re.compile(r"(?i)\b(?:sk|rk|pk|sess|ek|whsec)[-_][^\s,;\"')]+"),
    # What follows "api key …:" and what was masked with stars or dots.
    re.compile(r"(?i)(?<=key provided: )\S+"),
    re.compile(r"[^\s:]*(?:\*{2,}|•{2,}|x{6,}|…)\S*"),
)
_LONG = re.compile(r"[A-Za-z0-9+/=_.~:-]{20,}")
_KNOWN_ID = re.compile(
    r"(?:ft|ftjob|ftevent|ftckpt|ftchkpt|file|org|proj|req)[-_:][A-Za-z0-9_.:-]{1,120}"
)


def redacted(text: str, *secrets: str | None) -> str:
    """Return the beginning of a text on one line, without anything like a secret.

    `secrets` are removed wherever they stand; so is every long token, unless it is an
    id that the API gives to jobs, files, models or requests.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    # A word cut in two could be half a secret that no longer looks like one.
    text = text if len(text) <= LOOKED_AT else text[:LOOKED_AT].rpartition(" ")[0]
    for pattern in _SECRETS:
        text = pattern.sub(HIDDEN, text)
    text = _LONG.sub(_unless_known, text)
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _unless_known(token: re.Match[str]) -> str:
    """Keep the ids that help to find the thing at the provider."""
    word = token.group()
    plain = word.rstrip(".:")
    if _KNOWN_ID.fullmatch(plain) or _is_words(plain):
        return word
    return HIDDEN


def _is_words(token: str) -> bool:
    """Whether it is words joined together, such as an error code or a path."""
    return all(
        part.isalpha() and part.islower() for part in re.split(r"[_./:-]", token)
    )
