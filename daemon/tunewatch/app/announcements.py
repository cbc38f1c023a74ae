"""Webhooks of providers: proved, told apart from repeats, and turned into a look.

Only ever a reason to look at that job now: what happened is read from the provider. A
source that lives on another replica is reached by a request row.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import structlog

from tunewatch import sources
from tunewatch.app.terms import SourceLife
from tunewatch.clock import Clock
from tunewatch.config import SourceSettings
from tunewatch.settings import ConfigError, Mistake, Secret, Wanted
from tunewatch.sources.contract import Unreadable, Unverified, Webhooks
from tunewatch.store.records import StoreFault
from tunewatch.telemetry import Telemetry
from tunewatch.web import Heard

REMEMBERED = 10_000
"""Webhooks whose repeats are known as such; what is older costs one look more."""
PATIENCE = 5.0
"""s that the store may take for a request: providers give up soon after."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listening:
    """What is needed to take the webhooks of one source."""

    kind: str
    webhooks: Webhooks
    secret: Secret


@dataclass(slots=True, kw_only=True)
class Announcements:
    """`web.Hooks` of one process."""

    find: Callable[[str], SourceLife | None]  #: the source of that name, once it lives
    clock: Clock
    telemetry: Telemetry
    _listening: dict[str, Listening] = field(default_factory=dict)
    _heard: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    _refusing: set[str] = field(default_factory=set)  # said so in the log

    def listen(self, settings: Iterable[SourceSettings]) -> None:
        """Take webhooks for the sources that have a secret for them.

        Raises ConfigError with every secret that cannot be used.
        """
        for name, listening in listening_of(settings).items():
            self._listening[name] = listening
            self.telemetry.webhooks_born(name)

    def hears(self, source: str) -> bool:
        """Whether webhooks are taken for a source of this name."""
        return source in self._listening

    def forget(self, source: str) -> None:
        """Take no more webhooks for a source."""
        self._listening.pop(source, None)

    def takes(self, kind: str, source: str) -> bool:
        """See `web.Hooks`."""
        listening = self._listening.get(source)
        return listening is not None and listening.kind == kind

    def unread(self, kind: str, source: str) -> None:  # noqa: ARG002 - see `web.Hooks`
        """See `web.Hooks`."""
        self._refused(source, "it was too large, too slow or compressed")

    async def hear(
        self,
        kind: str,  # noqa: ARG002 - told apart by `takes`
        source: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> Heard:
        """See `web.Hooks`."""
        listening = self._listening[source]
        text = listening.secret.get() or ""
        try:
            said = listening.webhooks.read(headers, body, text, self.clock.now())
        except Unverified as doubt:
            self._refused(source, doubt.reason)
            return Heard.REFUSED
        except Unreadable as fault:
            self.telemetry.webhook_came(source, "unreadable")
            _log.warning("webhook.unreadable", source=source, reason=fault.reason)
            return Heard.UNREADABLE
        self._verified(source)
        if said.job_id is None:
            self.telemetry.webhook_came(source, "ignored")
            return Heard.TAKEN
        mark = _mark(source, said.id)
        if mark in self._heard:
            self.telemetry.webhook_came(source, "duplicate")
            return Heard.TAKEN
        if not await self._look(source, said.job_id):
            self.telemetry.webhook_came(source, "unavailable")
            return Heard.NOT_NOW
        # Not before: who is told to send it again must be believed again.
        self._remember(mark)
        self.telemetry.webhook_came(source, "accepted")
        _log.debug("webhook.accepted", source=source, job=said.job_id)
        return Heard.TAKEN

    async def _look(self, source: str, job_id: str) -> bool:
        """Let the job be looked at; return whether somebody will."""
        life = self.find(source)
        if life is None:
            return False
        if life.poller is not None:
            life.poller.look_now(job_id)
            return True
        body = msgspec.json.encode({"job": job_id})
        try:
            async with asyncio.timeout(PATIENCE):
                requests = life.parts.store.requests
                await requests.add_once("look", life.row.id, body)
        except (StoreFault, TimeoutError):
            return False  # said where it hurts
        return True

    def _remember(self, mark: bytes) -> None:
        self._heard[mark] = None
        while len(self._heard) > REMEMBERED:
            self._heard.popitem(last=False)

    def _refused(self, source: str, reason: str) -> None:
        self.telemetry.webhook_came(source, "refused")
        if source not in self._refusing:
            self._refusing.add(source)
            _log.warning("webhook.refused", source=source, reason=reason)

    def _verified(self, source: str) -> None:
        if source in self._refusing:
            self._refusing.remove(source)
            _log.info("webhook.verified_again", source=source)


def listening_of(settings: Iterable[SourceSettings]) -> dict[str, Listening]:
    """Return what is needed to take webhooks, by the source's name.

    Raises ConfigError with every secret that cannot be used.
    """
    found: dict[str, Listening] = {}
    mistakes: list[Mistake] = []
    for one in settings:
        try:
            listening = _listening(one)
        except Wanted as wanted:
            key = f"sources.{one.name}.webhook_secret"
            mistakes.append(Mistake(where="", key=key, text=f"wanted {wanted}"))
            continue
        if listening is not None:
            found[one.name] = listening
    if mistakes:
        raise ConfigError(mistakes)
    return found


def _listening(one: SourceSettings) -> Listening | None:
    """Return how to take a source's webhooks. Raises Wanted."""
    if one.webhook_secret is None:
        return None
    webhooks = sources.load(one.kind).webhooks
    if webhooks is None:
        raise Wanted(
            f"no webhook secret: the provider of kind {one.kind} sends no webhooks"
        )
    webhooks.check(one.webhook_secret.get() or "")
    return Listening(one.kind, webhooks, one.webhook_secret)


def _mark(source: str, ident: str) -> bytes:
    """Return what a repeat is known by: ids are as long as a provider likes."""
    return hashlib.blake2b(f"{source}\n{ident}".encode(), digest_size=16).digest()
