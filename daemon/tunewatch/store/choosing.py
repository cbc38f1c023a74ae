"""Which events a person means by a redelivery: found by reading, in short parts.

A dry run shows the same plan that a request writes. Each stretch is one job's events,
so that none holds up another. Knows how plugins are subscribed, not what they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from tunewatch.store import choosing_letters as letters
from tunewatch.store import choosing_range as ranges
from tunewatch.store.carrier import Carrier
from tunewatch.store.choice import CannotChoose, Plan, Selection, Subscribed
from tunewatch.store.scope import Found, Scope, learn
from tunewatch.store.under_way import beyond
from tunewatch.store.waiting import PART


async def choose(
    carrier: Carrier, selection: Selection, plugins: Iterable[Subscribed]
) -> Plan:
    """Return what a selection comes to; what is under way already is left out.

    Raises CannotChoose, StoreFault.
    """
    scope = await carrier.read(partial(learn, asked=selection, plugins=plugins))
    found = await _found(carrier, scope)
    kept, under_way = await carrier.read(
        partial(beyond, asked=found.stretches, plugins=scope.plugins)
    )
    return Plan(
        selection=selection,
        stretches=tuple(kept),
        refused=found.reasons(),
        under_way=under_way,
    )


async def _found(carrier: Carrier, scope: Scope) -> Found:
    asked = scope.asked
    if asked.plugin is not None:
        scope.plugin(asked.plugin)
    if asked.events:
        return await carrier.read(partial(letters.named_events, scope=scope))
    if asked.letters:
        return await _named_letters(carrier, scope)
    if asked.dead:
        return await _open_letters(carrier, scope)
    return await _a_range(carrier, scope)


async def _named_letters(carrier: Carrier, scope: Scope) -> Found:
    ids, found = list(dict.fromkeys(scope.asked.letters)), Found()
    for begin in range(0, len(ids), letters.AT_ONCE):
        some = ids[begin : begin + letters.AT_ONCE]
        read = partial(letters.named_letters, scope=scope, letters=some)
        found += await carrier.read(read)
    return found


async def _open_letters(carrier: Carrier, scope: Scope) -> Found:
    found, after = Found(), 0
    while True:
        read = partial(letters.open_letters, scope=scope, after=after)
        some = await carrier.read(read)
        found += some
        if len(some.letters) < letters.AT_ONCE:
            return found
        after = some.letters[-1]


async def _a_range(carrier: Carrier, scope: Scope) -> Found:
    asked, found = scope.asked, Found()
    if not ranges.is_bounded(asked):
        raise CannotChoose(
            "nothing is chosen: name events or dead letters, or ask for all that are "
            "dead, for what was missed, or for a range of time or positions"
        )
    if asked.plugin is None:
        raise CannotChoose("a range is of one plugin: say which")
    plugin = scope.plugin(asked.plugin)
    for source_id, name in scope.sources.items():
        if plugin.hears(name):
            found += await _of_source(carrier, scope, plugin, (source_id, name))
    return found


async def _of_source(
    carrier: Carrier, scope: Scope, plugin: Subscribed, source: tuple[int, str]
) -> Found:
    asked, found = scope.asked, Found()
    read = partial(ranges.bounds, asked=asked, plugin=plugin, source=source)
    whole = await carrier.read(read)
    if scope.jobs is not None:
        for key in scope.jobs:
            look = partial(ranges.of_job, asked=whole, job_key=key, types=asked.types)
            one = await carrier.read(look)
            found.stretches += [] if one is None else [one]
        return found
    groups: list[ranges.Group] = []
    for begin in range(whole.after, whole.upto, PART):
        part = whole._replace(after=begin, upto=min(begin + PART, whole.upto))
        groups += await carrier.read(partial(ranges.groups, asked=part))
    found.stretches = ranges.put_together(plugin, source[0], groups, asked.types)
    return found
