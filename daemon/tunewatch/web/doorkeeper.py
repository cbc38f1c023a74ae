"""Which token opens what, as the file says it now.

The file is read again by whoever lends its text; here it is understood anew whenever
that text is another. Knows no address and no header.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from tunewatch.config import Tokens, read_tokens

Text = Callable[[], str | None]
"""Returns the lines as they are now; None: there are none."""

_log = structlog.get_logger(__name__)


class Doorkeeper:
    """Knows the tokens."""

    def __init__(self, text: Text | None) -> None:
        self._text = text
        # What is wrong with it at the start was told with the configuration.
        self._said = self._now()
        self._tokens = _read(self._said)

    def tokens(self) -> Tokens:
        """Return those that open something now; says once what is wrong with a line."""
        said = self._now()
        if said != self._said:
            self._said, self._tokens = said, _read(said)
            for line in self._tokens.bad:
                _log.warning("token.refused", line=line.number, wanted=line.wanted)
            _log.info("tokens.read", tokens=len(self._tokens.accepted))
        return self._tokens

    def _now(self) -> str | None:
        return None if self._text is None else self._text()


def _read(said: str | None) -> Tokens:
    return Tokens() if said is None else read_tokens(said)
