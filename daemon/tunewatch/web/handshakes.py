"""Handshakes of TLS that failed: counted by reason, said when they begin and end.

Whoever hangs up without a word is no trouble: probes do.
Nothing that a client sent gets into the log, only what OpenSSL calls it.
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


def reason_of(error: ssl.SSLError) -> Handshake:
    """Return why a handshake failed."""
    match error:
        case ssl.SSLCertVerificationError(verify_code=code):
            return "certificate_expired" if code in _CLOCK else "certificate_refused"
        case ssl.SSLError(reason=str(name)) if name in _REASONS:
            return _REASONS[name]
        case ssl.SSLError(reason=str(name)) if "_ALERT_" in name:
            return "refused_by_client"
        case _:
            return "other"


@dataclass(slots=True)
class _Trouble:
    """Handshakes that fail for one reason."""

    began: float
    last: float
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
        self._watched = _watched(self._note, self._agreed)

    def watch(self, context: ssl.SSLContext | None) -> None:
        """Hear of the handshakes by a context.

        The event loops keep to themselves why one fails, each in its own way; what they
        both ask for it is the context.
        """
        if context is not None:
            context.sslobject_class = self._watched

    def withdraw(self, context: ssl.SSLContext | None) -> None:
        """Let no handshake by a context end well that is under way."""
        if context is not None:
            self._withdrawn.add(context)

    def _agreed(self, context: ssl.SSLContext) -> None:
        if context in self._withdrawn:
            raise ssl.SSLError("what was asked of clients is another thing now")

    def _note(self, error: ssl.SSLError) -> None:
        reason = reason_of(error)
        self._failed(reason)
        now = asyncio.get_running_loop().time()
        trouble = self._troubles.get(reason)
        if trouble is not None:
            trouble.last, trouble.count = now, trouble.count + 1
            return
        self._troubles[reason] = _Trouble(now, now)
        found = in_words(error)
        advice = ADVICE[reason]
        _log.warning("tls.handshakes_fail", reason=reason, found=found, advice=advice)
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
            failed=trouble.count,
            seconds=round(trouble.last - trouble.began, 3),
        )


def _watched(
    failed: Callable[[ssl.SSLError], None], agreed: Callable[[ssl.SSLContext], None]
) -> type[ssl.SSLObject]:
    """Return what makes handshakes and tells what became of them."""

    class Watched(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise  # it goes on
            except ssl.SSLError as error:
                failed(error)
                raise
            agreed(self.context)

    return Watched
