"""Whom the operator API knows: the lines of `daemon.api_token_file`.

A line is a token, which may do everything, or `NAME SCOPES sha256:HEX`, which holds no
secret: the digest of a token of that name, and what it opens. Knows no request.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

from tunewatch.settings import Secret

Scope: TypeAlias = Literal["read", "act"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""What a token can open: questions, and having something done."""

WANTED = (
    "a token without blanks, or NAME SCOPES sha256:HEX with SCOPES of "
    f"{' and '.join(SCOPES)}, as `tunewatch secret --token NAME` prints it"
)
_MARK = "sha256:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DIGEST = re.compile(rf"{_MARK}([0-9a-fA-F]{{64}})")


@dataclass(frozen=True, slots=True)
class Token:
    """One that is accepted: never itself, only its digest."""

    digest: bytes
    scopes: frozenset[Scope]
    name: str | None = None  #: None: it stands there as itself, without a name


class BadLine(NamedTuple):
    """A line that lets nobody in. Says nothing of what stands there."""

    number: int  #: from 1
    wanted: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the file says."""

    accepted: tuple[Token, ...] = ()
    bad: tuple[BadLine, ...] = ()
    secret: tuple[str, ...] = ()  #: lines that are a secret, or may be one

    def find(self, given: str) -> Token | None:
        """Return the token that this is, None if it is none of them.

        Takes a time that tells nothing: not which line is close, nor how long it is.
        """
        digest = digest_of(given)
        found = None
        for token in self.accepted:
            # No early end: all lines are compared, whichever it is.
            if hmac.compare_digest(digest, token.digest):
                found = token
        return found


class SecretTokens(Secret):
    """The secret that `daemon.api_token` is: of it, only bare tokens are secret.

    Names and digests may be read in logs.
    """

    __slots__ = ()

    @classmethod
    def around(cls, given: Secret) -> SecretTokens:
        """Return the same secret, understood as lines of tokens."""
        made = cls(given.get, given.origin, file=given.file, is_inline=given.is_inline)
        made.get()
        return made

    def known(self) -> tuple[str, ...]:
        """Return the tokens it has had lately: what must never be printed."""
        return tuple(
            line for text in super().known() for line in read_tokens(text).secret
        )


def digest_of(token: str) -> bytes:
    """Return what is compared of a token."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def line_of(token: str, *, name: str, scopes: frozenset[Scope]) -> str:
    """Return the line that lets a token in. Raises ValueError for a name that is none.

    The digest needs neither salt nor a slow hash: such a token cannot be guessed.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            "wanted a name of letters, digits and _ . -, of 64 characters at most"
        )
    said = ",".join(scope for scope in SCOPES if scope in scopes)
    return f"{name} {said} {_MARK}{digest_of(token).hex()}"


def read_tokens(text: str) -> Tokens:
    """Return what lines say; one that says nothing is told and the others count."""
    accepted: dict[bytes, Token] = {}
    bad: list[BadLine] = []
    secret: list[str] = []
    for number, line in _lines(text):
        token = _token(line)
        if token is None:
            bad.append(BadLine(number, WANTED))
        elif token.digest in accepted:
            # Which of the two should count is anybody's guess.
            bad.append(BadLine(number, "a token that no line above has already"))
        else:
            accepted[token.digest] = token
        if token is None or token.name is None:
            secret.append(line)
    return Tokens(tuple(accepted.values()), tuple(bad), tuple(secret))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        said = line.strip()
        if said and not said.startswith("#"):
            yield number, said


def _token(line: str) -> Token | None:
    match line.split():
        # A digest alone is a name forgotten: as a token it would be one that is public.
        case [bare] if not bare.startswith(_MARK):
            return Token(digest_of(bare), frozenset(SCOPES))
        case [name, scopes, digest]:
            return _named(name, scopes, digest)
        case _:
            return None


def _named(name: str, scopes: str, digest: str) -> Token | None:
    said = scopes.split(",")
    known = frozenset(scope for scope in SCOPES if scope in said)
    found = _DIGEST.fullmatch(digest)
    if found is None or len(known) != len(said) or not _NAME.fullmatch(name):
        return None
    return Token(bytes.fromhex(found[1]), known, name)
