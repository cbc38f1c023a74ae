"""JSON Schemas of events, from the catalogue's own types.

A receiver may check what it gets: fields that come later are allowed everywhere.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from tunewatch.api.answers import SchemaList
from tunewatch.events import (
    CATALOGUE,
    JOB_STATUS_PREFIX,
    Common,
    JobStatusChanged,
    Payload,
)
from tunewatch.events.wire import SCHEMA_VERSION

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@cache
def schemas() -> SchemaList:
    """Return the schema of every event type."""
    data = {
        kind.TYPE: {
            "$schema": DIALECT,
            "title": kind.TYPE,
            "description": (kind.__doc__ or "").partition("\n")[0],
            **envelope(_type_of(kind), _data_of(kind)),
        }
        for kind in CATALOGUE
    }
    return SchemaList(schema_version=SCHEMA_VERSION, data=data)


@cache
def any_event() -> dict[str, Any]:
    """Return the schema that every event keeps, of whatever type."""
    about = {"description": "An event; `/api/v1/schemas` has the schema of each type."}
    return {**about, **envelope({"type": "string"}, _fields_of(Common))}


def envelope(type_of: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an event whose type and data have these schemas."""
    properties = {
        "object": {"const": "event"},
        "id": {"type": "string", "pattern": "^evt_"},
        "type": type_of,
        "created_at": {"type": "integer"},
        "timestamp": {"type": "string", "format": "date-time"},
        "schema_version": {"const": SCHEMA_VERSION},
        "data": data,
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def _type_of(kind: type[Payload]) -> dict[str, Any]:
    if kind is JobStatusChanged:
        prefix = JOB_STATUS_PREFIX.replace(".", r"\.")
        return {"type": "string", "pattern": f"^{prefix}[a-z0-9_]*$"}
    return {"const": kind.TYPE}


def _data_of(kind: type[Payload]) -> dict[str, Any]:
    common, own = _fields_of(Common), _fields_of(kind)
    return {
        "type": "object",
        "properties": common["properties"] | own["properties"],
        "required": common["required"] + own["required"],
    }


def _fields_of(kind: type[Any]) -> dict[str, Any]:
    """Return the schema of a struct in itself; all its fields are always there."""
    (schema,), parts = msgspec.json.schema_components([kind])
    name = schema["$ref"].rpartition("/")[2]
    whole: dict[str, Any] = _resolved(parts[name], parts)
    return {**whole, "required": list(whole["properties"])}


def _resolved(schema: Any, parts: dict[str, Any]) -> Any:
    match schema:
        case {"$ref": str(ref)}:
            return _resolved(parts[ref.rpartition("/")[2]], parts)
        case dict():
            return {key: _resolved(inner, parts) for key, inner in schema.items()}
        case list():
            return [_resolved(inner, parts) for inner in schema]
        case _:
            return schema
