"""The configuration file as a JSON Schema, for editors and for who checks files early.

Made from the models themselves and those of every installed kind. It finds what no
daemon would take; nothing is required, because the environment may say it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema

from tunewatch.config.described import default_of, told
from tunewatch.config.models import (
    DaemonSettings,
    OrganizationKeys,
    PluginKeys,
    SourceKeys,
)
from tunewatch.config.organizations import shared_keys
from tunewatch.config.tables import NAME, ModelOf
from tunewatch.settings import (
    DURATION,
    MARK,
    WAYS,
    NoSuchKind,
    duration_text,
    known_keys,
)

Schema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
"""What editors of TOML understand."""

_ABOUT_WAYS = {
    "_file": "Path of a file that holds it; read again when it changes.",
    "_env": "Name of an environment variable that holds it.",
    "_credential": "Name of a credential of systemd that holds it.",
}
_OF_NO_USE = {"title", "required", "examples"}
_SOME_TEXT: Schema = {"type": "string", "minLength": 1}
_LEFT_OUT: Schema = {
    "type": "object",
    "properties": {"enabled": {"const": False}},
    "required": ["enabled"],
}
"""A table that is left out may lack its package and its secrets."""


def json_schema(
    source_model: ModelOf,
    plugin_model: ModelOf,
    *,
    source_kinds: Iterable[str],
    plugin_kinds: Iterable[str],
) -> Schema:
    """Return the schema of the whole file.

    A table of a kind has the keys of all kinds and its own, and no others; of a kind
    that cannot be imported anything is taken.
    """
    defined: Schema = {"daemon": _table("daemon", DaemonSettings)}
    sources = dict(_models(source_kinds, source_model))
    plugins = dict(_models(plugin_kinds, plugin_model))
    for kind, model in sources.items():
        defined[f"source.{kind}"] = _of_kind(kind, SourceKeys, model)
        defined[f"organization.{kind}"] = _organization(kind, model)
    for kind, model in plugins.items():
        defined[f"plugin.{kind}"] = _of_kind(kind, PluginKeys, model)
    defined["source_defaults"] = _merged(defined[f"source.{kind}"] for kind in sources)
    return _hoisted(
        {
            "$schema": DRAFT,
            "title": "tunewatch.toml",
            "description": "The configuration of tunewatch.",
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "daemon": _ref("daemon"),
                "source_defaults": _ref("source_defaults"),
                "sources": {
                    "description": "What is watched: one table for each key.",
                    **_named({"anyOf": [*_refs("source", sources), _LEFT_OUT]}),
                },
                "organizations": {
                    "description": "Whose projects are watched, each as a source.",
                    **_named({"anyOf": [*_refs("organization", sources), _LEFT_OUT]}),
                },
                "plugins": {
                    "description": "What is told: one table for each receiver.",
                    # A table that is named as a kind is of that kind unless it says.
                    "properties": {
                        kind: {
                            "anyOf": [
                                _ref(f"plugin.{kind}"),
                                *_saying(kinds=set(plugins) - {kind}),
                                _LEFT_OUT,
                            ]
                        }
                        for kind in plugins
                    },
                    **_named({"anyOf": [*_saying(plugins), _LEFT_OUT]}),
                },
            },
            "definitions": defined,
        }
    )


def _models(
    kinds: Iterable[str], model_of: ModelOf
) -> Iterator[tuple[str, type[BaseModel] | None]]:
    for kind in sorted(set(kinds)):
        try:
            yield kind, model_of(kind)
        except NoSuchKind:
            yield kind, None


def _named(table: Schema) -> Schema:
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^{NAME.pattern}$"},
        "additionalProperties": table,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _refs(what: str, kinds: Iterable[str]) -> list[Schema]:
    return [_ref(f"{what}.{kind}") for kind in kinds]


def _saying(kinds: Iterable[str]) -> list[Schema]:
    """Return the tables of plugins that have to say their kind."""
    return [
        {"allOf": [_ref(f"plugin.{kind}"), {"required": ["kind"]}]}
        for kind in sorted(kinds)
    ]


def _of_kind(kind: str, shared: type[BaseModel], own: type[BaseModel] | None) -> Schema:
    if own is None:
        says = {"kind": {"const": kind}}
        return {"type": "object", "properties": says}
    table = _table(kind, shared, own)
    about = table["properties"]["kind"].get("description", "")
    table["properties"]["kind"] = {"const": kind, "description": about}
    return table


def _organization(kind: str, model: type[BaseModel] | None) -> Schema:
    """Return the table of an organisation: its own keys, and what sources share."""
    table = _of_kind(kind, OrganizationKeys, model)
    if model is not None:
        shared = _table(kind, SourceKeys, model)["properties"]
        of_all = {name: shared[name] for name in shared if name in shared_keys(model)}
        own = known_keys(OrganizationKeys)
        table["properties"] = {
            **{name: table["properties"][name] for name in own},
            **of_all,
        }
    return table


def _table(kind: str, *models: type[BaseModel]) -> Schema:
    """Return a table that may have the keys of some models, and no others."""
    properties: Schema = {}
    inner: Schema = {}
    for model in models:
        made = model.model_json_schema(
            ref_template=f"#/definitions/{kind}.{{model}}", schema_generator=_Lenient
        )
        for name, one in made.pop("$defs", {}).items():
            inner[f"{kind}.{name}"] = _plain(one)
        means = told(model)
        for name, info in model.model_fields.items():
            setting = _plain(made["properties"][name])
            setting.pop("default", None)
            if means[name]:
                setting["description"] = means[name]
            if (
                not info.is_required()
                and (default := default_of(name, info)) is not None
            ):
                setting["default"] = default
            properties.setdefault(name, setting)
    if "kind" in properties:
        properties["kind"] = {**properties["kind"], "const": kind}
        properties["kind"].pop("default", None)
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": _with_ways(properties),
        "definitions": inner,
    }


class _Lenient(GenerateJsonSchema):
    """Lets anything be where a stranger's model does not say what it takes."""

    def emit_warning(self, kind: Any, detail: str) -> None:
        """Say nothing: defaults are written by `described`."""

    def handle_invalid_for_json_schema(
        self,
        schema: CoreSchema,  # noqa: ARG002 - pydantic's signature
        error_info: str,  # noqa: ARG002 - the same
    ) -> JsonSchemaValue:
        return {}


def _plain(schema: Any) -> Any:
    """Return a schema as a TOML file is checked by it: no null, nothing required."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made: Schema = {
        key: _properties(value) if key == "properties" else _plain(value)
        for key, value in schema.items()
        if key not in _OF_NO_USE and not (key == "default" and value is None)
    }
    if made.get("format") == "duration":
        del made["format"]
        made["pattern"] = DURATION
        if isinstance(found := made.get("default"), float):
            made["default"] = duration_text(found)
    choices: list[Schema] = made.pop("anyOf", [])
    choices = [one for one in choices if one != {"type": "null"}]
    if len(choices) == 1:
        return {**choices[0], **made}
    return {**made, "anyOf": choices} if choices else made


def _properties(properties: Mapping[str, Any]) -> Schema:
    return _with_ways({name: _plain(one) for name, one in properties.items()})


def _with_ways(properties: Mapping[str, Any]) -> Schema:
    """Return properties with the other ways to give each secret."""
    made: Schema = {}
    for name, one in properties.items():
        made[name] = _unmarked(one)
        for way in WAYS if made[name] != one else ():
            about = f"{one.get('description', '').rstrip('.')}. {_ABOUT_WAYS[way]}"
            other = {**_SOME_TEXT, "description": about.removeprefix(". ")}
            made.setdefault(name + way, other)
    return made


def _unmarked(setting: Schema) -> Schema:
    """Return a secret without its mark; of several one may stand for itself."""
    if MARK in setting:
        return {key: value for key, value in setting.items() if key != MARK}
    if MARK not in setting.get("items", {}):
        return setting
    rest = {key: setting[key] for key in setting if key not in ("type", "items")}
    return {**rest, "anyOf": [_SOME_TEXT, {"type": "array", "items": _SOME_TEXT}]}


def _merged(tables: Iterable[Schema]) -> Schema:
    """Return a table that may have any key of these: the defaults of all kinds."""
    properties: Schema = {}
    for table in tables:
        for name, one in table.get("properties", {}).items():
            known = properties.setdefault(name, one)
            if name == "kind":
                properties[name] = {**one, "type": "string"}
                properties[name].pop("const")
            elif known != one:
                properties[name] = {"anyOf": [known, one]}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _hoisted(schema: Schema) -> Schema:
    """Return the schema with what tables define moved to its end, where refs look."""
    for table in list(schema["definitions"].values()):
        schema["definitions"].update(table.pop("definitions", {}))
    return schema
