"""The API as an OpenAPI 3.1 document, made from the table and its types.

Nothing is described twice: what is not in a type or in the table is the same for all.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from msgspec import Struct, inspect

from tunewatch import __version__
from tunewatch.api.asked import PRINTABLE
from tunewatch.api.operations import (
    ACTIONS,
    OPERATIONS,
    ROOT,
    SPECIAL,
    Action,
    Operation,
    Special,
)
from tunewatch.api.schemas import any_event
from tunewatch.web.problems import CONTENT_TYPE as PROBLEM
from tunewatch.web.v1.parameters import fields_of

_REF = "#/components/schemas/{name}"
_REASONS = {
    "400": "A parameter is wrong: `errors` tells each, what was wanted and found.",
    "401": "The token is missing or wrong.",
    "403": "Not from there (the Host or Origin is another), not with this token (it "
    "lacks the scope), or no token is set.",
    "404": "There is no such thing, or not any more.",
    "406": "Accept refuses the only form there is.",
    "409": "It cannot be done as things are, or several sources know a job of that id: "
    "`sources` names them.",
    "413": "The body is larger than 64 KiB.",
    "415": "The body is not JSON.",
    "429": "Too many wrong tokens; Retry-After says when to ask again.",
    "503": "The store is away; Retry-After says when to ask again.",
}
_ALWAYS = ("400", "401", "403", "406", "429", "503")


@cache
def document() -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(ROOT + operation.path, {})["get"] = _read(operation)
    for action in ACTIONS:
        paths.setdefault(ROOT + action.path, {})["post"] = _act(action)
    for special in SPECIAL:
        paths.setdefault(ROOT + special.path, {})["get"] = _special(special)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tunewatch",
            "version": __version__,
            "summary": "What tunewatch knows of fine-tuning jobs.",
            "description": "On loopback reading needs no token, unless somebody has a "
            "password; everything else does. "
            "Within version 1 there are only additions: ignore fields that you do not "
            "know. Errors are RFC 9457 problem documents.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}, {"password": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `daemon.api_token`: with the scope "
                    "`read` for GET, `act` for POST.",
                },
                "password": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "A name and password of `basic_auth_users`, where "
                    "`daemon.web_config_file` has some: for GET alone.",
                },
            },
        },
    }


def _schemas() -> dict[str, Any]:
    kinds: list[type[Struct]] = [operation.answer for operation in OPERATIONS]
    kinds += [kind for action in ACTIONS for kind in (action.body, action.answer)]
    _, parts = msgspec.json.schema_components(kinds, ref_template=_REF)
    return {
        **parts,
        "Event": any_event(),
        "Problem": {
            "description": "Why there is no answer (RFC 9457).",
            "type": "object",
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "errors": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "parameter": {"type": "string"},
                            "detail": {"type": "string"},
                        },
                        "required": ["parameter", "detail"],
                    },
                },
                "sources": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["type", "title", "status", "detail"],
        },
    }


def _read(operation: Operation) -> dict[str, Any]:
    name = operation.answer.__name__
    content = {"application/json": {"schema": {"$ref": _REF.format(name=name)}}}
    reasons = list(_ALWAYS)
    if "{id}" in operation.path or "after" in fields_of(operation.asked):
        reasons.append("404")
    if "{id}" in operation.path:
        reasons.append("409")
    return {
        "operationId": operation.name,
        "summary": operation.about,
        "parameters": [
            *_path(operation.path),
            *_query(operation.asked),
            _header("If-None-Match", "The ETag that you have already."),
        ],
        "responses": {
            "200": {
                "description": (operation.answer.__doc__ or "").partition("\n\n")[0],
                "headers": {"ETag": {"schema": {"type": "string"}}},
                "content": content,
            },
            "304": {"description": "You have it already."},
            **_problems(reasons),
        },
    }


def _act(action: Action) -> dict[str, Any]:
    body = {"schema": {"$ref": _REF.format(name=action.body.__name__)}}
    answer = {"schema": {"$ref": _REF.format(name=action.answer.__name__)}}
    reasons = [*_ALWAYS, "404", "409", "413", "415"]
    return {
        "operationId": action.name,
        "summary": action.about,
        "security": [{"token": []}],
        "parameters": [*_path(action.path), *_query(action.asked)],
        "requestBody": {"required": False, "content": {"application/json": body}},
        "responses": {
            "200": {
                "description": "Nothing was asked for: a dry run, or nothing to do.",
                "content": {"application/json": answer},
            },
            "202": {
                "description": (action.answer.__doc__ or "").partition("\n\n")[0],
                "content": {"application/json": answer},
            },
            **_problems(reasons),
        },
    }


def _special(special: Special) -> dict[str, Any]:
    schemas = {
        "event": {"$ref": _REF.format(name="Event")},
        "stream": {"type": "string"},
        "openapi": {"type": "object"},
    }
    headers = [_header("If-None-Match", "The ETag that you have already.")]
    answers: dict[str, Any] = {"304": {"description": "You have it already."}}
    if special.name == "stream":
        answers = {}
        about = "The id that came last: everything behind it follows."
        headers = [_header("Last-Event-ID", about)]
    return {
        "operationId": f"get_{special.name}",
        "summary": special.about,
        "parameters": [*_path(special.path), *_query(special.asked), *headers],
        "responses": {
            "200": {
                "description": special.about,
                "content": {special.content_type: {"schema": schemas[special.name]}},
            },
            **answers,
            **_problems([*_ALWAYS, *(["404"] if "{id}" in special.path else [])]),
        },
    }


def _problems(statuses: list[str]) -> dict[str, Any]:
    problem = {PROBLEM: {"schema": {"$ref": _REF.format(name="Problem")}}}
    return {
        status: {"description": _REASONS[status], "content": problem}
        for status in sorted(statuses)
    }


def _path(path: str) -> list[dict[str, Any]]:
    if "{id}" not in path:
        return []
    schema = {"type": "string", "minLength": 1, "pattern": PRINTABLE}
    return [{"name": "id", "in": "path", "required": True, "schema": schema}]


def _header(name: str, about: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {"name": name, "in": "header", "description": about, "schema": schema}


def _query(kind: type[Struct]) -> list[dict[str, Any]]:
    """Return the query parameters of a question, from its type alone."""
    (ref,), parts = msgspec.json.schema_components([kind])
    properties = parts[ref["$ref"].rpartition("/")[2]]["properties"]
    return [_parameter(kind, name, properties[name]) for name in fields_of(kind)]


def _parameter(kind: type[Struct], name: str, said: dict[str, Any]) -> dict[str, Any]:
    schema = dict(said)
    if "anyOf" in schema:  # a parameter is left out, it is never null
        (schema,) = (dict(one) for one in said["anyOf"] if one.get("type") != "null")
    elif schema.get("default") in ([], {}):
        del schema["default"]
    about = schema.pop("description")
    written: dict[str, Any] = {}
    match fields_of(kind)[name].of:
        case inspect.VarTupleType():
            written = {"style": "form", "explode": False}
        case inspect.DictType():
            written = {"style": "deepObject", "explode": True}
        case _:
            pass
    return {
        "name": name,
        "in": "query",
        "description": about,
        "schema": schema,
        **written,
    }
