"""Hands one event to one receiver: signed now, sent once, and its answer understood.

Holds no state between deliveries but open connections. Counts no tries and waits for
nobody: troubles of the receiver are told to the dispatcher, which says them once.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from tunewatch import __version__
from tunewatch.plugin import Clock, Context, Delivery, Retry
from tunewatch_plugins.webhook.allowed import AddressRefused
from tunewatch_plugins.webhook.answers import refusal
from tunewatch_plugins.webhook.exchange import NotHttp
from tunewatch_plugins.webhook.formats import FORMATS, Format
from tunewatch_plugins.webhook.redaction import shown
from tunewatch_plugins.webhook.secrets import Parsed, Trouble
from tunewatch_plugins.webhook.settings import WebhookSettings
from tunewatch_plugins.webhook.signing import Keyring
from tunewatch_plugins.webhook.target import Target
from tunewatch_plugins.webhook.transport import CONNECT, Lines

AGENT = f"tunewatch/{__version__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A receiver of signed webhooks, as a sink."""

    targets: Parsed[Target]
    keyrings: Parsed[Keyring]
    render: Format
    lines: Lines
    clock: Clock

    async def deliver(self, delivery: Delivery) -> None:
        """Post the event; return when the receiver said 2xx. Raises Retry and Pause."""
        message = self.render(delivery)
        target = self.targets.current()
        keys = self.keyrings.current()

        def headers() -> dict[str, str]:
            now = int(self.clock.now())
            made = keys.headers(delivery.event.id, now, message.body)
            made["content-type"] = message.content_type
            return made

        try:
            answer = await self.lines.post(target, headers, message.body)
        except (aiohttp.ClientError, OSError) as error:
            # The reason says all there is. The error itself goes no further: the
            # client's own words may hold the whole URL.
            trouble = _trouble(error, target, self.lines.longest)
            secrets = _secrets(target, keys)
            raise Retry(shown(trouble, secrets, longest=300)) from None
        if not answer.is_accepted:
            now, secrets = self.clock.now(), _secrets(target, keys)
            raise refusal(answer, host=target.host, now=now, secrets=secrets)


def _secrets(target: Target, keys: Keyring) -> list[str]:
    return [*target.secrets(), *keys.spelled()]


def _trouble(
    error: aiohttp.ClientError | OSError, target: Target, longest: float
) -> str:
    """Return what kept us from an answer."""
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
            return f"the connection to {at} broke: {_words(error)}"
        case _:
            return f"the request to {at} failed: {type(error).__name__}"


def _words(error: BaseException | None) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return error.verify_message
        case OSError(strerror=str(words)) if words:
            return words
        case _:
            return type(error).__name__


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
        ca_file=settings.ca_file,
    )
    try:
        yield Webhook(
            targets=settings.targets(_outage(context, "url")),
            keyrings=settings.keyrings(_outage(context, "secret")),
            render=FORMATS[settings.format],
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
