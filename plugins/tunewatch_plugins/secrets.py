"""A value made of secrets, made anew when one of them changes.

The secrets look after their own files; this looks after what their text means. Knows
neither URLs nor keys, and shows neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from tunewatch.plugin import Secret

T = TypeVar("T")
Trouble = Callable[[str | None], None]
"""Told why a re-read setting cannot be used, and None when it can again."""


class Parsed(Generic[T]):
    """What the text of one or more secrets means.

    Raises ValueError if it will not do at first. Later, while it is wrong, the last
    good value stays in use: a rotation half done must not stop deliveries. Without
    secrets it is made once.
    """

    __slots__ = ("_parse", "_secrets", "_text", "_trouble", "_value", "_wrong")

    def __init__(
        self, secrets: Sequence[Secret], parse: Callable[[str], T], trouble: Trouble
    ) -> None:
        self._secrets = tuple(secrets)
        self._parse = parse
        self._trouble = trouble
        self._wrong: str | None = None
        self._text = text_of(self._secrets)
        self._value = parse(self._text)

    def __repr__(self) -> str:
        return f"Parsed({self._origins()})"

    def _origins(self) -> str:
        return ", ".join(dict.fromkeys(secret.origin for secret in self._secrets))

    def current(self) -> T:
        """Return the value of the text as it is now, the last good one if it is wrong.

        `trouble` is called when that begins, when its reason changes and when it ends.
        """
        if not self._secrets:
            return self._value
        text = text_of(self._secrets)
        if text == self._text:
            return self._value
        self._text = text
        wrong: str | None = None
        try:
            self._value = self._parse(text)
        except ValueError as error:
            wrong = f"{self._origins()}: {error}"
        if wrong != self._wrong:
            self._wrong = wrong
            self._trouble(wrong)
        return self._value


def text_of(secrets: Sequence[Secret]) -> str:
    """Return the secrets one below the other."""
    if len(secrets) == 1:
        return secrets[0].get() or ""
    return "\n".join(secret.get() or "" for secret in secrets)
