"""What a failed request means, in the words of the contract.

The one place where the client's exceptions and status codes are translated. Reasons say
what was asked, what came and what to do; they hold no key, no header and no body.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
import httpx2
import openai

from tunewatch.sources.contract import (
    Missing,
    Refused,
    SourceFault,
    Unavailable,
    Unreadable,
)
from tunewatch.sources.openai.headers import retry_after
from tunewatch.sources.openai.redaction import redacted

FOREIGN = (openai.OpenAIError, httpx2.HTTPError, aiohttp.ClientError, ssl.SSLError)
"""What the client and its transport may raise, beside TimeoutError and OSError."""

_ADVICE = {
    401: "the key is refused: check the key of this source",
    402: "the account must be put in order at the provider",
    403: "the key may not do this: it needs to read fine-tuning jobs and files",
    404: "nothing there: if that should not be, check {address}",
    407: "the proxy wants credentials: check the proxy's settings",
    410: "it is gone",
    429: "asked too often, or the account's quota is used up",
}
_REFUSED = {401, 402, 403, 407}
_MISSING = {404, 410}
# 409 and 425 are asked again by every client of this API: they pass.
_PASSING = {408, 409, 425, 429}


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of whom: the beginning of every reason."""

    what: str  #: jobs, job, events, checkpoints, file
    origin: str  #: scheme, host and port
    address: str = "base_url"  #: the setting that says where the API is
    advice: Mapping[int, str] = field(default_factory=dict)  #: a kind's own, by status

    def __str__(self) -> str:
        return f"asked {self.origin} for {self.what}"


def fault_of(
    error: Exception, *, asked: Asked, key: str | None, now: float
) -> SourceFault:
    """Return the fault that a foreign exception stands for."""
    if isinstance(error, openai.APIStatusError):
        return _fault_of_status(error, asked=asked, key=key, now=now)
    if isinstance(error, httpx2.DecodingError):
        return Unreadable(f"{asked}: the answer's compression is broken")
    return Unavailable(f"{asked}: {_network_trouble(error)}")


def not_json(asked: Asked, headers: Mapping[str, str], detail: str) -> Unreadable:
    """Return the fault of a success whose body is not what the API promises."""
    kind = redacted(headers.get("content-type", "").partition(";")[0]) or "no type"
    hint = ""
    if "html" in kind:
        hint = f"; a proxy or a login page in between? check {asked.address}"
    return Unreadable(f"{asked}: {detail} (came as {kind}){hint}")


def _fault_of_status(
    error: openai.APIStatusError, *, asked: Asked, key: str | None, now: float
) -> SourceFault:
    """Return the fault of an answer that is not a success."""
    status = error.status_code
    reason = f"{asked}: {status}{_api_words(error.body, key)}"
    advice = asked.advice.get(status, _ADVICE.get(status))
    if status < 400:
        advice = "a redirect, which is not followed: put the final address in {address}"
    elif status >= 500:
        advice = "the API is in trouble"
    if advice:
        reason = f"{reason}; {advice.format(address=asked.address)}"
    if status in _REFUSED:
        return Refused(reason)
    if status in _MISSING:
        return Missing(reason)
    if status in _PASSING or status >= 500:
        after = retry_after(error.response.headers, now=now)
        return Unavailable(reason, after=after)
    return Unreadable(reason)


def _api_words(body: object, key: str | None) -> str:
    """Return code and message of an error body, fit to be seen; "" if it has none."""
    if not isinstance(body, Mapping):
        return ""
    said = [body.get("code"), body.get("message")]
    words = [redacted(word, key) for word in said if isinstance(word, str) and word]
    return f" ({': '.join(words)})" if words else ""


def _network_trouble(error: Exception) -> str:
    """Say what went wrong below HTTP, from the causes of the client's exception.

    The client calls a refused connection a timeout: only the cause knows better.
    """
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            # The transport's own kind of it has no words: those below it have.
            words = (
                getattr(chain[-1], "verify_message", "") or "look at the trust store"
            )
            return f"its certificate is not trusted: {words}"
        if isinstance(cause, aiohttp.ClientConnectorDNSError):
            return "its name cannot be resolved"
    for cause in chain:
        if isinstance(cause, ssl.SSLError):
            return "TLS failed"
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        if isinstance(cause, ConnectionResetError | aiohttp.ServerDisconnectedError):
            return "the connection was closed before the answer was complete"
    if any(isinstance(cause, aiohttp.ClientPayloadError) for cause in chain):
        return "the answer ended before it was complete"
    if any(
        isinstance(cause, TimeoutError | httpx2.TimeoutException) for cause in chain
    ):
        return "no answer in time"
    return f"no connection ({type(chain[-1]).__name__})"


def _causes(error: BaseException) -> list[BaseException]:
    """Return an exception and what it was raised from, outermost first."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain
