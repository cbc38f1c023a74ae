"""What kept a receiver from answering, in words for a person.

Knows the HTTP client's errors, whose own words may hold the whole URL. Decides nothing:
whatever it is, the receiver is in trouble.
"""

from __future__ import annotations

import ssl

import aiohttp

from tunewatch_plugins.webhook.allowed import AddressRefused
from tunewatch_plugins.webhook.exchange import NotHttp
from tunewatch_plugins.webhook.target import Target
from tunewatch_plugins.webhook.transport import CONNECT


def trouble(
    error: aiohttp.ClientError | OSError, target: Target, longest: float
) -> str:
    """Return what kept us from an answer. Tells the host, and no more of the URL."""
    at = f"{target.host}:{target.url.port}"
    cause = error.__cause__
    match error:
        case aiohttp.ConnectionTimeoutError():
            return f"no connection to {at} within {CONNECT:g} s"
        case TimeoutError():
            return f"no answer from {at} within {longest:g} s"
        case aiohttp.ClientConnectorDNSError():
            return f"the name {target.host} is not found: {_words(cause)}"
        case aiohttp.ClientConnectorCertificateError():
            return f"the certificate of {at} is refused: {_words(cause)}"
        case aiohttp.ClientConnectorSSLError():
            return f"no TLS with {at}: {_words(cause)}"
        case aiohttp.ClientConnectorError() if isinstance(cause, AddressRefused):
            return str(cause.strerror)
        case aiohttp.ClientConnectorError():
            return f"cannot connect to {at}: {_words(cause)}"
        case aiohttp.ServerDisconnectedError():
            return f"{at} closed the connection without an answer"
        case NotHttp(message=message):
            return f"{at} answered what is not HTTP: {message}"
        case OSError():
            broken = cause if isinstance(cause, ssl.SSLError) else error
            return f"the connection to {at} broke: {_words(broken)}"
        case _:
            return f"the request to {at} failed: {type(error).__name__}"


def _words(error: BaseException | None) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return error.verify_message
        case ssl.SSLError(reason=str(reason)):
            return _of_tls(reason)
        case OSError(strerror=str(words)) if words:
            return words
        case _:
            return type(error).__name__


def _of_tls(reason: str) -> str:
    """Return in words what OpenSSL says by a name: `TLSV1_ALERT_UNKNOWN_CA`."""
    _, is_alert, what = reason.partition("_ALERT_")
    words = (what or reason).replace("_", " ").lower()
    return f"it refuses us: {words}" if is_alert else words
