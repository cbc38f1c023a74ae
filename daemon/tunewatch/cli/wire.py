"""A question as it stands in a URL, and what went wrong as it was before HTTP.

Opens no connection.
"""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Iterator
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from tunewatch.api.faults import Ambiguous, Impossible, Mistaken, NotThere
from tunewatch.cli.exits import UNREACHABLE, USAGE, Quit
from tunewatch.openssl import in_words


class _Problem(Struct, frozen=True):
    detail: str = ""
    errors: tuple[dict[str, str], ...] = ()
    sources: tuple[str, ...] = ()


class Unreachable(Quit):
    """Nobody answers there, or not now: it may be tried again."""

    def __init__(self, reason: str) -> None:
        super().__init__(UNREACHABLE, reason)


def refused(url: str, response: aiohttp.ClientResponse, body: bytes) -> Exception:
    """Return why a daemon did not answer, as what it was before HTTP."""
    if response.content_type != "application/problem+json":
        return Unreachable(
            f"wanted a tunewatch daemon at {url}; found something else (HTTP "
            f"{response.status}): compare the address with daemon.listen there"
        )
    try:
        told = msgspec.json.decode(body, type=_Problem)
    except msgspec.MsgspecError:
        return Unreachable(f"{url} answers {response.status} and no reason")
    match response.status:
        case 400 if told.errors:
            return Mistaken({one["parameter"]: one["detail"] for one in told.errors})
        case 404:
            return NotThere(told.detail)
        case 409 if told.sources:
            return Ambiguous(told.detail.partition(";")[0], told.sources)
        case 400 | 409:
            return Impossible(told.detail)
        case 413:
            return Impossible(f"{url} does not take so much at once: name less")
        case 401 | 403:
            return Quit(
                USAGE,
                f"{url} refuses: {told.detail}. Give the token with "
                "--token-file, $TUNEWATCH_TOKEN_FILE or $TUNEWATCH_TOKEN",
            )
        case status:
            return Unreachable(f"{url} answers {status}: {told.detail}")


_HUNG_UP = (errno.ECONNRESET, errno.EPIPE)


def unreachable(url: str, error: Exception) -> Unreachable:
    """Return why nobody was reached."""
    number = getattr(getattr(error, "os_error", error), "errno", None)
    if isinstance(error, aiohttp.ClientSSLError):
        return Unreachable(f"no TLS with a daemon at {url}: {_tls(error)}")
    if isinstance(error, aiohttp.ServerDisconnectedError) or number in _HUNG_UP:
        # What a server does that speaks TLS alone, or that wants a certificate: what
        # was asked by then may turn its farewell into a reset.
        return Unreachable(f"{url} hung up without an answer. {_COMPARE}")
    if isinstance(error, TimeoutError):
        why = "it does not answer in time"
    elif number is not None and number > 0:
        why = os.strerror(number).lower()
    else:
        why = type(error).__name__
    return Unreachable(
        f"cannot reach a daemon at {url} ({why}): start `tunewatch run` "
        "there, or correct --url or $TUNEWATCH_URL"
    )


def _tls(error: aiohttp.ClientSSLError) -> str:
    """Return what is wrong with TLS between us, and what to do."""
    found = getattr(error, "certificate_error", None) or error.os_error
    if isinstance(found, ssl.SSLCertVerificationError):
        return (
            f"its certificate is refused here ({found.verify_message}). Name who signs "
            "it with --ca-file or $TUNEWATCH_CA_FILE, and the host as it is in the "
            "certificate"
        )
    reason = in_words(found) if isinstance(found, ssl.SSLError) else "no TLS"
    return f"{reason}. {_COMPARE}"


_COMPARE = (
    "Compare http and https in --url with daemon.web_config_file there; if it asks for "
    "a certificate, show one with --cert-file"
)


def pairs(asked: Struct) -> Iterator[tuple[str, str]]:
    """Yield the query parameters of a question; what is not said is left out."""
    defaults = type(asked)()
    for name in asked.__struct_fields__:
        value: Any = getattr(asked, name)
        if value is None or value == getattr(defaults, name):
            continue
        match value:
            case dict():
                yield from ((f"{name}[{key}]", value[key]) for key in value)
            case tuple():
                yield name, ",".join(value)
            case bool():
                yield name, "true" if value else "false"
            case _:
                yield name, str(value)
