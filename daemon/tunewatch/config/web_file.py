"""The keys of the web configuration file: how Prometheus and its exporters say it.

The schema is that of the Prometheus exporter-toolkit. Every key of it is known here,
and a value that cannot be honoured is refused: who wrote it relies on it. Opens no
file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tunewatch.config.tls_names import CURVES, SUITES, SUITES_OF_13
from tunewatch.settings import Wanted, parse_duration

ClientAuth = Literal[
    "NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"
]
Version = Literal["TLS12", "TLS13"]

_UNVERIFIED = ("RequestClientCert", "RequireClientCert", "RequireAnyClientCert")


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _blank_is_unset(cls, data: Any) -> Any:
        return _set_ones(data)


def _set_ones(value: object) -> object:
    """Return a table without its blank values: the schema says unset if blank."""
    if not isinstance(value, dict):
        return value
    return {key: one for key, one in value.items() if one not in (None, "")}


def _client_auth(value: object) -> object:
    if value in _UNVERIFIED:
        raise Wanted(
            "RequireAndVerifyClientCert: certificates that nobody verifies say nothing"
        )
    return value


def _version(value: object) -> object:
    if value in ("TLS10", "TLS11"):
        raise Wanted("TLS12 or TLS13: older versions are not served")
    return value


def _suite(value: object) -> object:
    if isinstance(value, str) and value in SUITES_OF_13:
        raise Wanted(
            "suites of TLS 1.2 alone: those of TLS 1.3 are always offered, leave this "
            "one out"
        )
    if not isinstance(value, str) or value not in SUITES:
        raise Wanted(f"one of {', '.join(SUITES)}")
    return value


def _curve(value: object) -> object:
    if not isinstance(value, str) or value not in CURVES:
        raise Wanted(f"one of {', '.join(CURVES)}")
    return value


def _path(value: object) -> object:
    if not isinstance(value, str) or "\0" in value:
        raise Wanted("a path")
    return value


File = Annotated[Path, BeforeValidator(_path)]


def _inline(_value: object) -> NoReturn:
    raise Wanted("a file, as cert_file, key_file and client_ca_file name one")


class TlsServer(_Keys):
    """`tls_server_config`."""

    cert_file: File = Field(
        description="The certificate, with those between it and "
        "its authority, in PEM form."
    )
    key_file: File = Field(
        description="The private key of the certificate, in PEM "
        "form without a passphrase."
    )
    client_ca_file: File | None = None
    client_auth_type: Annotated[ClientAuth, BeforeValidator(_client_auth)] = (
        "NoClientCert"
    )
    client_allowed_sans: tuple[str, ...] = ()
    min_version: Annotated[Version, BeforeValidator(_version)] = "TLS12"
    max_version: Annotated[Version, BeforeValidator(_version)] = "TLS13"
    cipher_suites: tuple[Annotated[str, BeforeValidator(_suite)], ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[Annotated[str, BeforeValidator(_curve)], ...] = ()
    cert: Annotated[str | None, BeforeValidator(_inline)] = None
    key: Annotated[str | None, BeforeValidator(_inline)] = None
    client_ca: Annotated[str | None, BeforeValidator(_inline)] = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that is read beside the file itself."""
        ca = () if self.client_ca_file is None else (self.client_ca_file,)
        return (self.cert_file, self.key_file, *ca)


class HttpServer(_Keys):
    """`http_server_config`."""

    http2: bool = False
    headers: Annotated[dict[str, str], BeforeValidator(_set_ones)] = Field(
        default_factory=dict
    )


def _interval(value: object) -> float:
    if value in (0, "0"):
        return 0.0
    return parse_duration(value)


class RateLimit(_Keys):
    """`rate_limit`: of all requests together."""

    interval: Annotated[float, BeforeValidator(_interval)] = 0.0
    """s after which one request more is let in; 0: no limit."""
    burst: int = Field(default=0, ge=0)


class WebFile(_Keys):
    """The whole file."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer = Field(default_factory=HttpServer)
    basic_auth_users: dict[str, str] = Field(default_factory=dict, repr=False)
    rate_limit: RateLimit = Field(default_factory=RateLimit)
