"""The settings of an MQTT plugin, checked as a whole before anything is dialled.

No message repeats a value that may be a secret. The host makes a `Secret` of each way
to give one (`password_file`, `password_env` …); here they have arrived.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tunewatch.plugin import Duration, Secret
from tunewatch_plugins.mqtt.topics import checked_prefix
from tunewatch_plugins.secrets import Parsed, Trouble
from tunewatch_plugins.tls import Papers, Tls, trust
from tunewatch_plugins.tls_settings import (
    CaFile,
    ClientCert,
    ClientKey,
    ClientKeyPassword,
    papers_of,
    read_again,
    tls_of,
)

LONGEST_KEEPALIVE = 3600  #: s
PORTS = {"mqtt": 1883, "mqtts": 8883}
_WANTED_URL = "wanted mqtts://HOST:PORT, or mqtt:// without TLS;"


class Broker(NamedTuple):
    """Where a broker is."""

    host: str
    port: int
    is_encrypted: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class MqttSettings(BaseModel):
    """One broker."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str = Field(
        description="the broker: mqtts://HOST:PORT, or mqtt:// without TLS",
        examples=["mqtts://broker:8883"],
    )
    protocol: Literal["5", "3.1.1"] = Field(
        default="5",
        description=(
            "the version of MQTT: 5 or 3.1.1, in which a broker cannot say that its"
            " access rules refused an event, and which has no properties"
        ),
    )
    username: Secret | None = Field(
        default=None,
        examples=["username_file=/run/secrets/mqtt-username"],
        description="who to be for the broker",
    )
    password: Secret | None = Field(
        default=None,
        examples=["password_file=/run/secrets/mqtt-password"],
        description="the password for that",
    )
    ca_file: CaFile = None
    client_cert: ClientCert = None
    client_key: ClientKey = None
    client_key_password: ClientKeyPassword = None
    keepalive: Duration = Field(
        default=15.0,
        description=(
            "after how much silence the broker is asked whether it is there; it is"
            " gone if it stays silent for as long again"
        ),
    )
    prefix: str = Field(
        default="tunewatch",
        description="what every topic begins with: one or more levels",
    )
    client_id: str = Field(
        default="tunewatch",
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description=(
            "what the client id begins with; the plugin's name and the replica follow,"
            " so that no two throw each other out"
        ),
    )
    window: Duration = Field(
        default=3600.0,
        description="how long the state of a finished job stays, a duration",
    )
    max_jobs: int = Field(
        default=1000,
        ge=1,
        le=10_000,
        description="the most jobs to keep a state of, those that go on first",
    )
    format: Literal["standard", "cloudevents"] = Field(
        default="standard",
        description="the shape of events: standard or cloudevents",
    )
    mode: Literal["structured", "binary"] = Field(
        default="structured",
        description=(
            "of a cloudevent: structured, all in the payload, or binary, its"
            " attributes as user properties, which takes MQTT 5"
        ),
    )
    home_assistant: bool = Field(
        default=False,
        description="announce sensors of each running job to Home Assistant",
    )
    discovery_prefix: str = Field(
        default="homeassistant",
        description="where Home Assistant looks for announcements",
    )

    @field_validator("url")
    @classmethod
    def _leads_to_a_broker(cls, url: str) -> str:
        _broker(url)
        return url

    @field_validator("prefix", "discovery_prefix")
    @classmethod
    def _begins_topics(cls, text: str) -> str:
        return checked_prefix(text)

    @field_validator("keepalive")
    @classmethod
    def _can_be_said(cls, seconds: float) -> float:
        if not 1 <= seconds <= LONGEST_KEEPALIVE:
            raise ValueError("wanted 1s to 1h")
        return seconds

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if find_spec("aiomqtt") is None:
            raise ValueError(
                "MQTT needs the package aiomqtt, which is not installed: pip install"
                " 'tunewatch[mqtt]'"
            )
        if self.password is not None and self.username is None:
            raise ValueError("a password is of no use without username")
        if self.mode == "binary" and self.format != "cloudevents":
            raise ValueError('mode is said of format = "cloudevents" and no other')
        if self.mode == "binary" and self.protocol != "5":
            raise ValueError(
                'mode = "binary" takes user properties: wanted protocol = "5"'
            )
        self._can_introduce_itself()
        return self

    def _can_introduce_itself(self) -> None:
        papers = self._papers()
        if papers is not None and not self.broker.is_encrypted:
            raise ValueError("a client_cert is shown by TLS only: wanted an mqtts url")
        if papers is not None:
            _tls(self.ca_file, papers)
        if self.ca_file is not None and not self.broker.is_encrypted:
            raise ValueError("a ca_file is of use for TLS only: wanted an mqtts url")

    @property
    def broker(self) -> Broker:
        """Where to connect."""
        return _broker(self.url)

    def doubts(self) -> Iterator[tuple[str, str]]:
        """Yield what is probably a slip: a key, and what is odd about its value."""
        broker = self.broker
        if not broker.is_encrypted and broker.port == PORTS["mqtts"]:
            yield "url", f"port {broker.port} is that of TLS: mqtts://{broker}?"

    def _papers(self) -> Papers | None:
        return papers_of(self.client_cert, self.client_key, self.client_key_password)

    def connections(self, trouble: Trouble) -> Parsed[Tls] | None:
        """Return what to connect with, None without TLS. Raises ValueError."""
        if not self.broker.is_encrypted:
            return None
        papers = self._papers()
        kept = read_again(self.ca_file, papers)
        return Parsed(kept, lambda _: _tls(self.ca_file, papers), trouble)


def _broker(url: str) -> Broker:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{_WANTED_URL} found none") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            f"{_WANTED_URL} found a user in it: name it by username, and the password"
            " by password_file"
        )
    if parts.scheme not in PORTS:
        raise ValueError(f"{_WANTED_URL} found another scheme, or none")
    if not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{_WANTED_URL} found no host, or more than host and port")
    return Broker(host, port or PORTS[parts.scheme], parts.scheme == "mqtts")


def _tls(ca_file: Path | None, papers: Papers | None) -> Tls:
    made = tls_of(ca_file, papers)
    # The client library takes no hint that the system's authorities will do.
    is_whole = isinstance(made.context, ssl.SSLContext)
    return made if is_whole else replace(made, context=trust(None))
