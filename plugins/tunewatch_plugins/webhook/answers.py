"""What a receiver's answer means: one table from status to what the dispatcher does.

Pure: no HTTP client, no clock of its own.
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal

from msgspec import Struct
from yarl import URL

from tunewatch.plugin import Pause, Receipt, Retry
from tunewatch_plugins.webhook.redaction import LONGEST, Censor

LONGEST_WAIT = 86_400.0  #: s, the most a receiver can make us wait
LONGEST_RECEIPT = 1024  #: bytes of a receiver's words that are kept
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
_MOST_DIGITS = 12
_OF_THE_EVENT = frozenset({400, 413, 415, 422})
"""What a receiver says of one event. Any other refusal says something of the receiver:
a wrong address or method must not turn every event into a dead letter."""
_OF_A_CERTIFICATE = b"SSL certificate"
"""What nginx writes into its 400 when it is not content with the client's certificate:
that says nothing of the event."""


class Answer(Struct, frozen=True, kw_only=True):
    """An answer as it came, as far as it was read."""

    status: int
    phrase: str = ""
    retry_after: str | None = None
    location: str | None = None
    words: bytes = b""  #: the beginning of the body, empty if it is encoded

    @property
    def is_accepted(self) -> bool:
        """Whether the receiver has the event for good."""
        return 200 <= self.status < 300


def receipt(answer: Answer, censor: Censor) -> Receipt:
    """Return what is kept of an answer."""
    if not answer.words:
        return _WORDLESS.get(answer.status) or Receipt(answer.status)
    return Receipt(answer.status, _said(answer, censor))


_WORDLESS = {status: Receipt(status) for status in range(200, 300)}


def _said(answer: Answer, censor: Censor) -> str:
    words = answer.words[: 8 * LONGEST_RECEIPT].decode("utf-8", "replace")
    shown = censor(words, longest=LONGEST_RECEIPT)
    return shown.encode()[:LONGEST_RECEIPT].decode("utf-8", "ignore")


def refusal(answer: Answer, *, host: str, now: float, censor: Censor) -> Retry | Pause:
    """Return what an answer other than 2xx means; `now` is in unix seconds.

    `Pause` if the receiver wants no more, else `Retry`: for the lane if it refuses this
    event, for the plugin if it is itself in trouble or elsewhere.
    """
    kept = receipt(answer, censor)
    reason = _reason(answer, host, kept.answer[:LONGEST], censor)
    if answer.status == 410:
        return Pause(f"{reason}; it wants nothing more", receipt=kept)
    after = wait(answer.retry_after, now)
    return Retry(reason, after=after, scope=_scope(answer), receipt=kept)


def _scope(answer: Answer) -> Literal["lane", "plugin"]:
    if answer.status == 400 and _OF_A_CERTIFICATE in answer.words:
        return "plugin"
    return "lane" if answer.status in _OF_THE_EVENT else "plugin"


def _reason(answer: Answer, host: str, words: str, censor: Censor) -> str:
    phrase = censor(answer.phrase, longest=60)
    said = f"HTTP {answer.status} {phrase}".rstrip() + f" from {host}"
    if 300 <= answer.status < 400:
        where = _host_of(answer.location, censor)
        return f"{said}: redirects to {where} are not followed; set url to where it is"
    return f"{said}: {words}" if words else said


def _host_of(location: str | None, censor: Censor) -> str:
    """Return the host of a Location and nothing else: the rest may be a secret."""
    try:
        host = URL(location or "").host
    except ValueError:
        host = None
    return censor(host or "", longest=100) or "somewhere on the same host"


def wait(text: str | None, now: float) -> float | None:
    """Return the seconds that a Retry-After asks for, at most a day.

    None for none, for what has passed and for what is neither seconds nor a date.
    """
    if text is None:
        return None
    text = text.strip()
    if _SECONDS.fullmatch(text):
        whole = text.partition(".")[0].lstrip("0")
        seconds = LONGEST_WAIT if len(whole) > _MOST_DIGITS else float(text[:30])
    else:
        seconds = _until(text, now)
    return min(seconds, LONGEST_WAIT) if seconds > 0 else None


def _until(text: str, now: float) -> float:
    if len(text) > 64:
        return 0.0
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
