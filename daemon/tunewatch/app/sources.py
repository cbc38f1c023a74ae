"""Open the configured sources and meet them in the store.

All sources share one HTTP client. The key of a source, or the secret that its kind has
instead, is watched: one that was exchanged is tried at once. What a source was called,
where it lives and from when on it tells is fixed in its row at first contact.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import structlog

from tunewatch import pace, sources
from tunewatch.app.lives import Opening
from tunewatch.app.parts import Parts
from tunewatch.app.terms import SourceLife
from tunewatch.config import Settings, SourceSettings
from tunewatch.poller.source_poller import SourceSetting
from tunewatch.settings import Secret, hint, secrets_of
from tunewatch.sources.contract import SourceContext

_log = structlog.get_logger(__name__)


def openings(settings: Settings, parts: Parts, http: object) -> dict[str, Opening]:
    """Return how each configured source is opened."""
    return {
        name: partial(opened, one, parts, http)
        for name, one in settings.sources.items()
    }


@asynccontextmanager
async def opened(
    one: SourceSettings, parts: Parts, http: object
) -> AsyncIterator[SourceLife]:
    """Open a source and meet it in the store. Raises StoreFault, KindFault."""
    context = SourceContext(
        name=one.name,
        secret=_key(one.api_key),
        observe=partial(parts.measures.called, one.name),
        http=http,
        now=parts.clock.now,
    )
    async with sources.load(one.kind).open(one.settings, context) as source:
        row = await parts.store.sources.contact(
            one.name,
            one.kind,
            one.realm or source.realm,
            backfill=one.backfill,
            realm_is_explicit=one.realm is not None,
        )
        yield SourceLife(
            source=source,
            row=row,
            key=_key(one.api_key or next(secrets_of(one.settings), None)),
            setting=_setting(one),
            parts=parts,
        )


async def rename(settings: Settings, parts: Parts) -> None:
    """Let sources take over what they had under another name. Raises StoreFault."""
    if not settings.former:
        return
    renamed = await parts.store.sources.rename(settings.former)
    for new, old in renamed.moved.items():
        _log.info("source.renamed", source=new, renamed_from=old)
    for new, old in renamed.missing.items():
        known = [row.name for row in await parts.store.sources.all()]
        said = hint(old, known, otherwise="the store knows")
        _log.warning(
            "source.nothing_to_rename", source=new, renamed_from=old, reason=said
        )


def _key(secret: Secret | None) -> Callable[[], str | None]:
    return (lambda: None) if secret is None else secret.get


def _setting(one: SourceSettings) -> SourceSetting:
    rates = pace.Rates(
        poll_interval=one.poll_interval,
        idle_interval=one.idle_interval,
        settle_window=one.settle_window,
    )
    return SourceSetting(rates=rates, requests_per_minute=one.requests_per_minute)
