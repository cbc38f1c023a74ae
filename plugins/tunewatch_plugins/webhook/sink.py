"""Hands one event to one receiver: signed now, sent once, and its answer understood.

Holds no state between deliveries but open connections. Counts no tries and waits for
nobody: troubles of the receiver are told to the dispatcher, which says them once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp

from tunewatch import __version__
from tunewatch.plugin import Clock, Context, Delivery, Receipt, Retry
from tunewatch_plugins.secrets import Parsed, Trouble
from tunewatch_plugins.webhook.answers import receipt, refusal
from tunewatch_plugins.webhook.formats import Format
from tunewatch_plugins.webhook.headers import Extra
from tunewatch_plugins.webhook.redaction import Censor
from tunewatch_plugins.webhook.settings import WebhookSettings
from tunewatch_plugins.webhook.signing import Keyring
from tunewatch_plugins.webhook.target import Target
from tunewatch_plugins.webhook.transport import Lines
from tunewatch_plugins.webhook.troubles import trouble

AGENT = f"tunewatch/{__version__}"


class Moment(NamedTuple):
    """What the settings say at the time of one delivery."""

    target: Target
    keys: Keyring | None  #: None: nobody verifies what is sent
    extra: Extra

    def secrets(self) -> list[str]:
        """Return what a receiver may repeat and nobody may see."""
        spelled = [] if self.keys is None else self.keys.spelled()
        return [*self.target.secrets(), *spelled, *self.extra.secrets]


@dataclass(slots=True)
class Censors:
    """The censor of the moment: made once for as long as the settings say the same."""

    _moment: Moment | None = None
    _censor: Censor = field(default_factory=Censor)

    def of(self, moment: Moment) -> Censor:
        """Return what takes the secrets of this moment out of what is said."""
        before = self._moment or ()
        if list(map(id, before)) != list(map(id, moment)):
            self._moment, self._censor = moment, Censor(moment.secrets())
        return self._censor


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A receiver of webhooks, as a sink."""

    targets: Parsed[Target]
    keyrings: Parsed[Keyring] | None  #: None: what is sent is not signed
    extras: Parsed[Extra]
    render: Format
    lines: Lines
    clock: Clock
    censors: Censors = field(default_factory=Censors)

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Post the event; return when the receiver said 2xx. Raises Retry and Pause."""
        message = self.render(delivery)
        keyrings = None if self.keyrings is None else self.keyrings.current()
        moment = Moment(self.targets.current(), keyrings, self.extras.current())
        target, keys, extra = moment
        lapsed = self.lines.connections.current().lapsed(self.clock.now())
        if lapsed is not None:  # some servers would blame the event
            raise Retry(lapsed)

        def headers() -> dict[str, str]:
            made: dict[str, str] = {}
            if keys is not None:
                now = int(self.clock.now())
                made.update(keys.headers(delivery.event.id, now, message.body))
            made.update(message.headers)
            made.update(extra.values)
            return made

        try:
            answer = await self.lines.post(target, headers, message.body)
        except (aiohttp.ClientError, OSError) as error:
            # The reason says all there is. The error itself goes no further: the
            # client's own words may hold the whole URL.
            words = trouble(error, target, self.lines.longest)
            shown = self.censors.of(moment)(words, longest=300)
            raise Retry(shown) from None
        censor = self.censors.of(moment)
        if answer.is_accepted:
            return receipt(answer, censor)
        now = self.clock.now()
        raise refusal(answer, host=target.host, now=now, censor=censor)


@asynccontextmanager
async def open_webhook(
    settings: WebhookSettings, context: Context
) -> AsyncIterator[Webhook]:
    """Open a webhook; nothing is dialled before the first delivery.

    Raises ValueError if what the settings name has become wrong since they were read.
    """
    lines = Lines(
        allowed=settings.allowed,
        agent=AGENT,
        timeout=context.timeout,
        connections=settings.connections(_outage(context, "client_cert")),
    )
    try:
        yield Webhook(
            targets=settings.targets(_outage(context, "url")),
            keyrings=settings.keyrings(_outage(context, "secret")),
            extras=settings.extras(_outage(context, "headers")),
            render=settings.render,
            lines=lines,
            clock=context.clock,
        )
    finally:
        await lines.close()


def _outage(context: Context, what: str) -> Trouble:
    """Return what says once that a re-read setting went wrong, and that it is right."""

    def say(reason: str | None) -> None:
        if reason is None:
            context.log.info("webhook.setting_restored", setting=what)
        else:
            context.log.warning("webhook.setting_unusable", setting=what, reason=reason)

    return say
