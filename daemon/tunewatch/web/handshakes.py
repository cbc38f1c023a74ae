"""Handshakes of TLS that failed: counted by reason, said when they begin and end.

Nothing that a client sent gets into the log, only its address and what OpenSSL calls
what is the matter.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakSet

import structlog

from tunewatch.openssl import in_words
from tunewatch.telemetry.families import Handshake

QUIET = 300.0
"""s without a failure of that kind after which it is over: some scrapes are minutes
apart."""

ADVICE: dict[Handshake, str] = {
    "certificate_missing": (
        "the client shows no certificate: give it one by an authority in client_ca_file"
    ),
    "certificate_expired": (
        "the client's certificate, or one it is signed by, has expired or does not "
        "hold yet: renew it, or compare the clocks"
    ),
    "certificate_refused": (
        "the client's certificate is by no authority in client_ca_file: give it "
        "another one, or add who signed it"
    ),
    "refused_by_client": (
        "the client does not trust the certificate in cert_file: name who signed it "
        "there (ca_file), and the host as it is in the certificate (server_name)"
    ),
    "plain_http": "the client asks without TLS: let it ask by https",
    "no_tls": "what came was no TLS: somebody speaks another protocol to this port",
    "nothing_in_common": (
        "the client has no version, suite or curve in common with min_version, "
        "max_version, cipher_suites and curve_preferences"
    ),
    "hung_up": (
        "the client began and hung up: it may not trust the certificate in cert_file "
        "without saying so, or only look what is here"
    ),
    "timed_out": (
        "the client began and did not go on: look at it, and at what is between"
    ),
    "other": "TLS was not agreed upon",
}
"""What is the matter, and what to do about it."""

_CLOCK = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""

_REASONS: dict[str, Handshake] = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "certificate_missing",
    "HTTP_REQUEST": "plain_http",
    "HTTPS_PROXY_REQUEST": "plain_http",
    "WRONG_VERSION_NUMBER": "no_tls",
    "UNKNOWN_PROTOCOL": "no_tls",
    "RECORD_LAYER_FAILURE": "no_tls",
    "PACKET_LENGTH_TOO_LONG": "no_tls",
    "BAD_RECORD_TYPE": "no_tls",
    "UNEXPECTED_MESSAGE": "no_tls",
    "UNSUPPORTED_PROTOCOL": "nothing_in_common",
    "VERSION_TOO_LOW": "nothing_in_common",
    "NO_SHARED_CIPHER": "nothing_in_common",
    "NO_SHARED_GROUPS": "nothing_in_common",
    "NO_SUITABLE_GROUPS": "nothing_in_common",
    "NO_SUITABLE_KEY_SHARE": "nothing_in_common",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "nothing_in_common",
    "NO_SHARED_SIGNATURE_ALGORITHMS": "nothing_in_common",
    "TLSV1_ALERT_PROTOCOL_VERSION": "nothing_in_common",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": "nothing_in_common",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "nothing_in_common",
}
"""What OpenSSL calls it."""

_log = structlog.get_logger(__name__)


def reason_of(error: OSError) -> Handshake:
    """Return why a handshake failed."""
    match error:
        case ConnectionAbortedError():  # by the event loop
            return "timed_out"
        case ssl.SSLCertVerificationError(verify_code=code):
            return "certificate_expired" if code in _CLOCK else "certificate_refused"
        case ssl.SSLError(reason=str(name)) if name in _REASONS:
            return _REASONS[name]
        case ssl.SSLError(reason=str(name)) if "_ALERT_" in name:
            return "refused_by_client"
        case ssl.SSLError() if not isinstance(error, ssl.SSLEOFError):
            return "other"
        case _:
            return "hung_up"


@dataclass(slots=True)
class _Trouble:
    """Handshakes that fail for one reason."""

    began: float
    last: float
    client: str  #: the last one's address
    count: int = 1


class Handshakes:
    """Hears of those that fail, until it is closed.

    `failed` is told the reason of each; one that was not heard of for `quiet` seconds
    is over.
    """

    def __init__(
        self, failed: Callable[[str], None] | None = None, *, quiet: float = QUIET
    ) -> None:
        self._failed = failed or (lambda _reason: None)
        self._quiet = quiet
        self._troubles: dict[Handshake, _Trouble] = {}
        self._timers: dict[Handshake, asyncio.TimerHandle] = {}
        self._withdrawn: WeakSet[ssl.SSLContext] = WeakSet()
        self._watched = _watched(self._agreed)

    def watch(self, context: ssl.SSLContext | None) -> None:
        """Have a word in the handshakes by a context, for when it is withdrawn."""
        if context is not None:
            context.sslobject_class = self._watched

    def withdraw(self, context: ssl.SSLContext | None) -> None:
        """Let no handshake by a context end well that is under way."""
        if context is not None:
            self._withdrawn.add(context)

    def _agreed(self, context: ssl.SSLContext) -> None:
        if context in self._withdrawn:
            raise ssl.SSLError("what was asked of clients is another thing now")

    def note(self, error: OSError, client: str, context: ssl.SSLContext) -> None:
        """Hear that one with a client at some address ended by an error."""
        if context in self._withdrawn:
            return
        reason = reason_of(error)
        self._failed(reason)
        now = asyncio.get_running_loop().time()
        trouble = self._troubles.get(reason)
        if trouble is not None:
            trouble.last, trouble.client = now, client
            trouble.count += 1
            return
        self._troubles[reason] = _Trouble(now, now, client)
        _log.warning(
            "tls.handshakes_fail",
            reason=reason,
            client=client,
            found=_found(error),
            advice=ADVICE[reason],
        )
        self._look_at(reason, now + self._quiet)

    def close(self) -> None:
        """Say no more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _look_at(self, reason: Handshake, when: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[reason] = loop.call_at(when, self._look, reason)

    def _look(self, reason: Handshake) -> None:
        """Say that it is over, or look again when it may be."""
        trouble = self._troubles[reason]
        over = trouble.last + self._quiet
        if over > asyncio.get_running_loop().time():
            self._look_at(reason, over)
            return
        del self._troubles[reason], self._timers[reason]
        _log.info(
            "tls.handshakes_fail_no_more",
            reason=reason,
            client=trouble.client,
            failed=trouble.count,
            seconds=round(trouble.last - trouble.began, 3),
        )


def _found(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return in_words(error)
    if isinstance(error, ConnectionAbortedError):
        return "it took too long"
    return "the connection ended"


def _watched(agreed: Callable[[ssl.SSLContext], None]) -> type[ssl.SSLObject]:
    """Return what makes handshakes, and asks `agreed` before one ends well.

    Both event loops ask the context for it, and neither ends one that it is told to.
    """

    class Watched(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            agreed(self.context)

    return Watched
