"""Open the configured sources and meet them in the store.

All sources share one HTTP client. The key of a source, or the secret that its kind has
instead, is watched: one that was exchanged is tried at once. What a source was called,
where it lives and from when on it tells is fixed in its row at first contact.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from tunewatch import pace, sources
from tunewatch.app.parts import Parts
from tunewatch.app.terms import SourceLife
from tunewatch.config import Settings, SourceSettings
from tunewatch.poller.source_poller import SourceSetting
from tunewatch.settings import Secret, secrets_of
from tunewatch.sources.contract import SourceContext
from tunewatch.sources.http import shared_http


async def open_lives(
    stack: AsyncExitStack, settings: Settings, parts: Parts
) -> list[SourceLife]:
    """Return the sources, ready to live. Raises StoreFault, KindFault."""
    http = await stack.enter_async_context(shared_http())
    lives = []
    for name, one in settings.sources.items():
        context = SourceContext(
            name=name,
            secret=_key(one.api_key),
            observe=partial(parts.measures.called, name),
            http=http,
            now=parts.clock.now,
        )
        kind = sources.load(one.kind)
        source = await stack.enter_async_context(kind.open(one.settings, context))
        row = await parts.store.sources.contact(
            name,
            one.kind,
            one.realm or source.realm,
            backfill=one.backfill,
            renamed_from=one.renamed_from,
            realm_is_explicit=one.realm is not None,
        )
        life = SourceLife(
            source=source,
            row=row,
            key=_key(one.api_key or next(secrets_of(one.settings), None)),
            setting=_setting(one),
            parts=parts,
        )
        lives.append(life)
    return lives


def _key(secret: Secret | None) -> Callable[[], str | None]:
    return (lambda: None) if secret is None else secret.get


def _setting(one: SourceSettings) -> SourceSetting:
    rates = pace.Rates(
        poll_interval=one.poll_interval,
        idle_interval=one.idle_interval,
        settle_window=one.settle_window,
    )
    return SourceSetting(rates=rates, requests_per_minute=one.requests_per_minute)
