"""What a request proves itself with: a key or a token, as it is at that moment.

Asked for every request, so that one that was exchanged is in use at once. Knows no
header and no provider.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tunewatch.sources.contract import Refused


class Credential:
    """A key or a token that may change; remembers the one sent last, to hide it."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[str | None]],
        *,
        noun: str = "key",
        where: str = "api_key_env or api_key_file",
    ) -> None:
        self._ask = ask
        self._noun = noun
        self._where = where
        self.last: str | None = None

    @classmethod
    def of(cls, secret: Callable[[], str | None], **words: str) -> Credential:
        """Return one that is read from where a secret is kept."""

        async def ask() -> str | None:
            return secret()

        return cls(ask, **words)

    async def __call__(self) -> str:
        """Return it as it is now: called by the client for every request.

        Raises Refused if there is none, or none that could be sent: an odd character
        would come back inside the exception that refuses it.
        """
        noun = self._noun
        try:
            said = (await self._ask() or "").strip()
        except OSError as error:
            raise Refused(f"the {noun} cannot be read: {error.strerror}") from None
        if not said:
            raise Refused(f"there is no {noun}: set {self._where}")
        if not (said.isascii() and said.isprintable()) or " " in said:
            raise Refused(
                f"the {noun} has characters that no {noun} has: look at its file"
            )
        self.last = said
        return said

    async def asked(self) -> str:
        """Return it as it was asked for last: for who is called in between."""
        return self.last if self.last is not None else await self()
