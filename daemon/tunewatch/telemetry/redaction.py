"""The last line of defence: known secrets and values of rows do not leave in a log.

Works on finished lines. That no secret gets that far is the business of those who hold
it; this is for the day when a library prints what it should not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote, urlsplit

from tunewatch.settings import Secret

_SHORTEST = 6  #: a shorter text stands in a line by chance
_SHORTEST_PATH = 12  #: the same for the path of a URL that is a secret

# asyncpg prints the values of a row under DETAIL, SQLAlchemy under [parameters: …].
_VALUES = re.compile(r"^(.*?)(DETAIL:|\[parameters:|\[SQL:).*$", re.MULTILINE)


class Redactor:
    """Replaces every value that the secrets have, or lately had, by `***`."""

    def __init__(
        self, secrets: Iterable[Secret] = (), *, later: Sequence[Secret] = ()
    ) -> None:
        """`later` may become more at any time: secrets that are found meanwhile."""
        self._secrets = list(secrets)
        self._later = later
        self._former: dict[str, None] = {}  # values of secrets that were replaced
        self._seen: list[tuple[str, ...]] = []
        self._needles: list[bytes] = []

    def add(self, secrets: Iterable[Secret]) -> None:
        """Hide the values of these as well."""
        self._secrets.extend(secrets)

    def renew(self, secrets: Iterable[Secret]) -> None:
        """Hide the values of these from now on, and those that were known so far."""
        for secret in self._secrets:
            self._former.update(dict.fromkeys(secret.known()))
        self._secrets = list(secrets)
        self._seen = []

    def __call__(self, line: bytes) -> bytes:
        """Return the line without secrets."""
        for needle in self._current():
            if needle in line:
                line = line.replace(needle, b"***")
        return line

    def _current(self) -> list[bytes]:
        seen = [secret.known() for secret in (*self._secrets, *self._later)]
        seen.append(tuple(self._former))
        if seen != self._seen:
            forms = {
                form for known in seen for value in known for form in _forms(value)
            }
            # The longest first: a secret may be part of another one.
            self._needles = sorted(
                (form.encode(errors="replace") for form in forms), key=len, reverse=True
            )
            self._seen = seen
        return self._needles


def without_values(traceback: str) -> str:
    """Return a traceback without the values of rows that drivers put into messages."""
    return _VALUES.sub(r"\1\2 (left out)", traceback)


def _forms(secret: str) -> Iterator[str]:
    """Yield how a secret may look in a line: as it is, escaped, quoted, in parts."""
    parts = [secret, *secret.split()]
    for part in list(parts):
        parts.append(part.removeprefix("whsec_").removeprefix("whsk_"))
        if "://" in part:
            parts.extend(_tail(part))
    for part in parts:
        if len(part) >= _SHORTEST:
            yield part
            yield json.dumps(part)[1:-1]
            yield json.dumps(part, ensure_ascii=False)[1:-1]
            yield repr(part)[1:-1]
            yield quote(part, safe="")


def _tail(url: str) -> Iterator[str]:
    """Yield what of a secret URL opens the door: its path with the query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    tail = parts.path + (f"?{parts.query}" if parts.query else "")
    if len(tail) >= _SHORTEST_PATH:
        yield tail
    if parts.password:
        yield parts.password
