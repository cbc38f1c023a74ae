"""The tables of sources and plugins: what all kinds share, and each kind's own keys.

Knows no kind: their models are handed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from tunewatch.config.files import Draft, rivals
from tunewatch.config.models import (
    ALWAYS_ON,
    PluginKeys,
    PluginSettings,
    SourceKeys,
    SourceSettings,
)
from tunewatch.settings import (
    Mistake,
    NoSuchKind,
    Place,
    checked,
    kind_of_value,
    known_keys,
)

KeysT = TypeVar("KeysT", bound=BaseModel)
Tables = dict[str, dict[str, Any]]
"""Tables by name, not yet checked."""

ModelOf = Callable[[str], type[BaseModel]]
"""Returns the settings model of a kind, or raises NoSuchKind."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What sources and plugins may be called."""
_WANTED_NAME = (
    "wanted a name of up to 64 letters, digits, dots, dashes and underscores; "
    "found another one"
)


def read_sources(
    draft: Draft, environ: Mapping[str, str], source_model: ModelOf
) -> tuple[dict[str, SourceSettings], list[Mistake]]:
    """Return the sources that are on, and every mistake in their tables."""
    tables, mistakes = named_tables(draft, "sources")
    defaults = draft.tree.get("source_defaults", {})
    place = Place(environ=environ, origins=draft.origins)
    if not isinstance(defaults, dict):
        text = f"wanted a table; found {kind_of_value(defaults)}"
        mistakes.append(place.mistake(("source_defaults",), text))
        defaults = {}
    sources: dict[str, SourceSettings] = {}
    known_to_any = set(known_keys(SourceKeys))
    for name, table in tables.items():
        kind = table.get("kind", defaults.get("kind", "openai"))
        model, reason = model_for(kind, source_model)
        if model is None:
            mistakes.append(place.mistake(("sources", name, "kind"), reason))
            continue
        known = {*known_keys(SourceKeys), *known_keys(model)}
        known_to_any |= known
        merged, aliases = with_defaults(("sources", name), table, defaults, known)
        here = Place(
            prefix=("sources", name),
            environ=environ,
            origins=draft.origins,
            aliases=aliases,
        )
        source, more = _source(name, merged, model, here)
        mistakes.extend(more)
        if source is not None and source.enabled:
            sources[name] = source
    mistakes.extend(_unknown_defaults(defaults, known_to_any, place))
    return sources, mistakes


def read_plugins(
    draft: Draft, environ: Mapping[str, str], plugin_model: ModelOf
) -> tuple[dict[str, PluginSettings], list[Mistake]]:
    """Return the plugins that are on, and every mistake in their tables."""
    tables, mistakes = named_tables(draft, "plugins")
    kinds = {table.get("kind", name) for name, table in tables.items()}
    for kind in ALWAYS_ON:
        if kind not in kinds:
            tables[kind] = {}
    plugins: dict[str, PluginSettings] = {}
    for name, table in tables.items():
        place = Place(prefix=("plugins", name), environ=environ, origins=draft.origins)
        # Who is left out may lack its package and its secrets.
        if table.get("enabled") is False or table.get("enabled") == "false":
            continue
        model, reason = model_for(table.get("kind", name), plugin_model)
        if model is None:
            if "kind" not in table:
                reason += (
                    '; a table of another name says what it is, as kind = "webhook"'
                )
            mistakes.append(place.mistake(("kind",) if "kind" in table else (), reason))
            continue
        plugin, more = _plugin(name, table, model, place)
        mistakes.extend(more)
        if plugin is not None and plugin.enabled:
            plugins[name] = plugin
    return plugins, mistakes


def named_tables(
    draft: Draft, key: str
) -> tuple[dict[str, dict[str, Any]], list[Mistake]]:
    """Return the named tables under a key, and what is no table or has no good name."""
    place = Place(prefix=(key,), origins=draft.origins)
    found = draft.tree.get(key, {})
    if not isinstance(found, dict):
        text = f"wanted a table for each name; found {kind_of_value(found)}"
        return {}, [place.mistake((), text)]
    tables: Tables = {}
    mistakes: list[Mistake] = []
    for name, table in found.items():
        if not isinstance(table, dict):
            text = f"wanted a table, as in [{key}.name]; found {kind_of_value(table)}"
            mistakes.append(place.mistake((name,), text))
        elif not NAME.fullmatch(name):
            mistakes.append(place.mistake((name,), _WANTED_NAME))
        else:
            tables[name] = table
    return tables, mistakes


def model_for(kind: object, model_of: ModelOf) -> tuple[type[BaseModel] | None, str]:
    """Return the model of a kind, or None and why there is none."""
    if not isinstance(kind, str):
        return None, f"wanted the name of a kind; found {kind_of_value(kind)}"
    try:
        return model_of(kind), ""
    except NoSuchKind as error:
        return None, str(error)


def with_defaults(
    place: tuple[str, ...],
    table: dict[str, Any],
    defaults: dict[str, Any],
    known: set[str],
) -> tuple[dict[str, Any], dict[tuple[str, ...], tuple[str, ...]]]:
    """Return a table over the defaults that its kind knows, and where those stand.

    A secret given in one way replaces a default given in another.
    """
    said = {rival for key in table for rival in rivals(key)} | set(table)
    taken = {
        key: value
        for key, value in defaults.items()
        if key in known and key not in said
    }
    aliases: dict[tuple[str, ...], tuple[str, ...]] = {
        (*place, key): ("source_defaults", key) for key in taken
    }
    return {**taken, **table}, aliases


def _unknown_defaults(
    defaults: dict[str, Any], known: set[str], place: Place
) -> list[Mistake]:
    unknown = {key: value for key, value in defaults.items() if key not in known}
    if not unknown:
        return []
    here = place.under("source_defaults")
    return checked(SourceKeys, unknown, here, also_known=known)[1]


def halves(
    shared: type[KeysT], own: type[BaseModel], table: dict[str, Any], place: Place
) -> tuple[KeysT | None, BaseModel | None, list[Mistake]]:
    """Return what all kinds share, what is the kind's own, and every mistake.

    A key of both goes to both.
    """
    common, special = known_keys(shared), known_keys(own)
    keys, mistakes = checked(
        shared, {key: value for key, value in table.items() if key in common}, place
    )
    rest = {k: v for k, v in table.items() if k in special or k not in common}
    made, more = checked(own, rest, place, also_known=common)
    return keys, made, [*mistakes, *more]


def _source(
    name: str, table: dict[str, Any], model: type[BaseModel], place: Place
) -> tuple[SourceSettings | None, list[Mistake]]:
    if table.get("enabled") in (False, "false"):
        # It may lack its secrets; only what could be misspelt is still looked at.
        return None, []
    keys, own, mistakes = halves(SourceKeys, model, table, place)
    if keys is not None and keys.api_key is None and getattr(model, "needs_key", True):
        text = (
            "wanted the key of the source, as api_key_env, api_key_file, "
            "api_key_credential or api_key; found none"
        )
        mistakes.append(place.mistake(("api_key",), text))
    if mistakes or keys is None or own is None:
        return None, mistakes
    return SourceSettings.model_construct(
        **fields_of(keys), name=name, settings=own
    ), []


def _plugin(
    name: str, table: dict[str, Any], model: type[BaseModel], place: Place
) -> tuple[PluginSettings | None, list[Mistake]]:
    keys, own, mistakes = halves(PluginKeys, model, table, place)
    if mistakes or keys is None or own is None:
        return None, mistakes
    fields = {**fields_of(keys), "kind": keys.kind or name}
    return PluginSettings.model_construct(**fields, name=name, settings=own), []


def fields_of(keys: BaseModel) -> dict[str, Any]:
    """Return what a model holds, by field."""
    return {name: getattr(keys, name) for name in type(keys).model_fields}
