"""The settings of a webhook, checked as a whole before anything is sent.

No message repeats a value that may be a secret: the URL is one, too. The host makes a
`Secret` of each way to give one (`url_file`, `secret_env` …); here they have arrived.
"""

from __future__ import annotations

from typing import Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tunewatch.plugin import Secret
from tunewatch_plugins.secrets import Parsed, Trouble, text_of
from tunewatch_plugins.tls import Papers, Tls
from tunewatch_plugins.tls_settings import (
    CaFile,
    ClientCert,
    ClientKey,
    ClientKeyPassword,
    papers_of,
    read_again,
    tls_of,
)
from tunewatch_plugins.webhook import formats
from tunewatch_plugins.webhook.allowed import AllowList
from tunewatch_plugins.webhook.headers import (
    Extra,
    Value,
    current_headers,
    kept_headers,
)
from tunewatch_plugins.webhook.signing import Keyring, keyring
from tunewatch_plugins.webhook.target import Target, check, target


class WebhookSettings(BaseModel):
    """One receiver."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    # Before the URL, which is judged by it.
    allow_hosts: list[str] = Field(
        default_factory=list,
        description=(
            "receivers on private or loopback addresses, or reached by plain http:"
            ' names, "*.svc.cluster.local", "10.0.0.0/8", "localhost"'
        ),
    )
    url: Secret = Field(
        description="the receiver's URL; it is a secret",
        examples=["url_file=/run/secrets/webhook-url"],
    )
    # Before the secret, of which a chat has none.
    format: str = Field(
        default="standard",
        description=(
            "the shape of the body: standard or cloudevents, or a message for people:"
            " slack, discord or teams, which are not signed"
        ),
    )
    secret: list[Secret] = Field(
        examples=["secret_file=/run/secrets/webhook-secret"],
        default_factory=list,
        validate_default=True,
        description=(
            "what every delivery is signed with: whsec_ and the base64 of 24 to 64"
            " bytes, as `tunewatch secret` makes one, or whsk_ and an ed25519 key, as"
            " `tunewatch secret --kind ed25519` does; several, one per line and the"
            " current one first, while one replaces another"
        ),
    )
    mode: formats.Mode = Field(
        default="structured",
        description=(
            "of a cloudevent: structured, all in the body, or binary, its attributes"
            " as headers"
        ),
    )
    payload: formats.Payload = Field(
        default="full",
        description="full, or thin: only what happened to which job, without contents",
    )
    headers: dict[str, Value] = Field(
        default_factory=dict,
        description=(
            'headers to send as well, such as X-Team = "research"; a value may be kept'
            " elsewhere: Authorization = { file = … }, or env or credential"
        ),
    )
    ca_file: CaFile = None
    client_cert: ClientCert = None
    client_key: ClientKey = None
    client_key_password: ClientKeyPassword = None

    @field_validator("allow_hosts")
    @classmethod
    def _is_a_list_of_hosts(cls, entries: list[str]) -> list[str]:
        AllowList.of(entries)
        return entries

    @field_validator("url")
    @classmethod
    def _can_be_reached(cls, url: Secret, info: ValidationInfo) -> Secret:
        receiver = target(text_of([url]))
        entries = info.data.get("allow_hosts")
        if entries is not None:
            check(receiver, AllowList.of(entries))
        return url

    @field_validator("secret", mode="before")
    @classmethod
    def _is_one_or_several(cls, given: object) -> object:
        return [given] if isinstance(given, str | Secret) else given

    @field_validator("secret")
    @classmethod
    def _can_sign(cls, secrets: list[Secret], info: ValidationInfo) -> list[Secret]:
        name = info.data.get("format", "")
        if formats.is_chat(name):
            if secrets:
                raise ValueError(f"{name} verifies no signature: leave it out")
            return secrets
        if not secrets:
            raise ValueError(
                "a webhook is signed or not sent: make a secret with `tunewatch"
                " secret`, give it to the receiver, and name it here by secret_file,"
                " secret_env or secret"
            )
        keyring(text_of(secrets))
        return secrets

    @field_validator("format")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return formats.known(name)

    @field_validator("mode", mode="before")
    @classmethod
    def _has_a_meaning(cls, mode: object, info: ValidationInfo) -> object:
        is_default = mode == cls.model_fields["mode"].default
        name = info.data.get("format")
        if name in formats.FORMATS and name != "cloudevents" and not is_default:
            raise ValueError('this is said of format = "cloudevents" and no other')
        return mode

    @field_validator("payload")
    @classmethod
    def _is_not_for_people(
        cls, payload: formats.Payload, info: ValidationInfo
    ) -> formats.Payload:
        if payload == "thin" and formats.is_chat(info.data.get("format", "")):
            raise ValueError("a message for people is short as it is: leave it out")
        return payload

    @field_validator("headers", mode="plain")
    @classmethod
    def _can_be_sent(cls, given: object) -> dict[str, Value]:
        if not isinstance(given, dict):
            raise ValueError("wanted a table of headers")  # noqa: TRY004 - pydantic's
        return kept_headers(given)

    @model_validator(mode="after")
    def _can_introduce_itself(self) -> Self:
        papers = self._papers()
        if papers is None:
            return self
        if target(text_of([self.url])).url.scheme != "https":
            raise ValueError("a client_cert is shown by TLS only: wanted an https url")
        tls_of(self.ca_file, papers)
        return self

    def _papers(self) -> Papers | None:
        return papers_of(self.client_cert, self.client_key, self.client_key_password)

    @property
    def allowed(self) -> AllowList:
        """Who may be reached inside."""
        return AllowList.of(self.allow_hosts)

    def targets(self, trouble: Trouble) -> Parsed[Target]:
        """Return where to send. Raises ValueError."""
        allowed = self.allowed
        return Parsed([self.url], lambda text: check(target(text), allowed), trouble)

    def keyrings(self, trouble: Trouble) -> Parsed[Keyring] | None:
        """Return what to sign with, None for a chat. Raises ValueError."""
        if formats.is_chat(self.format):
            return None
        return Parsed(self.secret, keyring, trouble)

    def extras(self, trouble: Trouble) -> Parsed[Extra]:
        """Return the operator's own headers. Raises ValueError."""
        kept = [one for one in self.headers.values() if isinstance(one, Secret)]
        return Parsed(kept, lambda _: current_headers(self.headers), trouble)

    def connections(self, trouble: Trouble) -> Parsed[Tls]:
        """Return what to connect with. Raises ValueError."""
        papers = self._papers()
        kept = read_again(self.ca_file, papers)
        return Parsed(kept, lambda _: tls_of(self.ca_file, papers), trouble)

    @property
    def render(self) -> formats.Format:
        """What makes messages of deliveries."""
        return formats.shaped(self.format, mode=self.mode, payload=self.payload)
