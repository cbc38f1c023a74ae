"""The tables of organisations: whose projects are watched, and with which keys.

A project of an organisation becomes a source under its id. What a table says beside its
own keys are defaults for those sources. Knows no kind: their models are handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tunewatch.config.files import Draft
from tunewatch.config.models import (
    OrganizationKeys,
    OrganizationSettings,
    SourceKeys,
    SourceSettings,
)
from tunewatch.config.tables import (
    ModelOf,
    fields_of,
    halves,
    model_for,
    named_tables,
    with_defaults,
)
from tunewatch.settings import WAYS, Mistake, Place, checked, known_keys

SINGLE = frozenset(
    name + way
    for name in ("api_key", "webhook_secret", "renamed_from", "project")
    for way in ("", *WAYS)
)
"""Keys of a source that cannot be the same for all projects."""


def read_organizations(
    draft: Draft, environ: Mapping[str, str], source_model: ModelOf
) -> tuple[dict[str, OrganizationSettings], list[Mistake]]:
    """Return the organisations that are on, and every mistake in their tables."""
    tables, mistakes = named_tables(draft, "organizations")
    found = draft.tree.get("source_defaults", {})
    defaults = found if isinstance(found, dict) else {}  # told by the sources' reader
    organizations: dict[str, OrganizationSettings] = {}
    for name, table in tables.items():
        if table.get("enabled") in (False, "false"):
            continue
        place = Place(
            prefix=("organizations", name), environ=environ, origins=draft.origins
        )
        model, reason = model_for(table.get("kind", "openai"), source_model)
        if model is None:
            mistakes.append(place.mistake(("kind",), reason))
            continue
        organization, more = _organization(name, table, defaults, model, place)
        mistakes.extend(more)
        if organization is not None:
            organizations[name] = organization
    return organizations, mistakes


def shared_keys(model: type[BaseModel]) -> set[str]:
    """Return the keys of a kind's sources that an organisation may set for all."""
    return {*known_keys(SourceKeys), *known_keys(model)} - SINGLE - {"enabled", "kind"}


def _organization(
    name: str,
    table: dict[str, Any],
    defaults: dict[str, Any],
    model: type[BaseModel],
    place: Place,
) -> tuple[OrganizationSettings | None, list[Mistake]]:
    shared = shared_keys(model)
    own = {key: value for key, value in table.items() if key not in shared}
    keys, mistakes = checked(OrganizationKeys, own, place, also_known=shared)
    of_sources = {key: value for key, value in table.items() if key in shared}
    merged, aliases = with_defaults(place.prefix, of_sources, defaults, shared)
    there = Place(
        prefix=place.prefix,
        environ=place.environ,
        origins=place.origins,
        aliases=aliases,
    )
    template, more = _template(merged, model, there)
    mistakes = [*mistakes, *more]
    if keys is None or template is None:
        return None, mistakes
    directory = _located(keys.keys, place)
    if not directory.is_dir():
        text = (
            f"wanted a directory with the keys of projects; found none at {directory}"
        )
        mistakes.append(place.mistake(("keys",), text))
    if mistakes:
        return None, mistakes
    fields = {**fields_of(keys), "keys": directory}
    template = template.model_copy(update={"kind": keys.kind})
    made = OrganizationSettings.model_construct(**fields, name=name, template=template)
    return made, []


def _template(
    table: dict[str, Any], model: type[BaseModel], place: Place
) -> tuple[SourceSettings | None, list[Mistake]]:
    """Return what all sources of an organisation have in common."""
    keys, own, mistakes = halves(SourceKeys, model, table, place)
    if mistakes or keys is None or own is None:
        return None, mistakes
    return SourceSettings.model_construct(**fields_of(keys), name="", settings=own), []


def _located(path: Path, place: Place) -> Path:
    """Return an absolute path; a relative one starts at the file that says it."""
    said_in = Path(place.origin_of((*place.prefix, "keys")))
    path = path.expanduser()
    located = said_in.parent / path if said_in.is_file() else path
    return located.absolute()  # people are told to put files there
