"""What a request says beside its path, read as one of `api.asked`'s questions.

Every mistake is told at once, with what was wanted and what was found. Knows no path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, get_type_hints

import msgspec
from aiohttp import web
from msgspec import Struct, inspect

from tunewatch.api.faults import Mistaken
from tunewatch.settings import closest

AskedT = TypeVar("AskedT", bound=Struct)

_WHOLE = re.compile(r"-?[0-9]{1,18}")
_KEYED = re.compile(r"([^\[\]]+)\[(.*)\]", re.DOTALL)
_SHOWN = 60  #: characters of what was found


class _Mistake(Exception):
    """A value is not what was wanted; the message says what was found."""


def parameters(kind: type[AskedT], pairs: Iterable[tuple[str, str]]) -> AskedT:
    """Return the question that these names and values put. Raises Mistaken."""
    fields = fields_of(kind)
    mistakes: dict[str, str] = {}
    given: dict[str, list[tuple[str | None, str]]] = {}
    for name, text in pairs:
        keyed = _KEYED.fullmatch(name)
        if name in fields:
            given.setdefault(name, []).append((None, text))
        elif keyed and keyed[1] in fields and fields[keyed[1]].is_keyed:
            given.setdefault(keyed[1], []).append((keyed[2], text))
        else:
            mistakes[name[:_SHOWN]] = _unknown(name, fields)
    values = {}
    for name, texts in given.items():
        try:
            values[name] = _checked(kind, name, _read(fields[name].of, texts))
        except _Mistake as found:
            mistakes[name] = f"wanted {fields[name].wanted}; found {found}"
    if mistakes:
        raise Mistaken(mistakes)
    return kind(**values)


async def body_of(request: web.Request, kind: type[AskedT]) -> AskedT | None:
    """Return what the body of a request says; nothing at all says nothing.

    None if it is of another type than JSON. Raises Mistaken, and aiohttp's own
    exception for a body that is too large.
    """
    raw = await request.read()
    if not raw:
        return kind()
    if request.content_type != "application/json":
        return None
    try:
        return msgspec.convert(_whole(msgspec.json.decode(raw)), kind)
    except msgspec.MsgspecError as error:
        # It names the field and what was expected, and never a value.
        raise Mistaken({"body": f"{error}"}) from None
    except RecursionError:
        raise Mistaken({"body": "wanted less depth"}) from None


def _whole(value: Any) -> Any:
    """Return JSON with 3.0 as 3: to its schemas they are the same number."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_whole(one) for one in value]
        case dict():
            return {key: _whole(value[key]) for key in value}
        case _:
            return value


@dataclass(frozen=True, slots=True)
class Field:
    """What a parameter is, without its "or nothing"."""

    of: inspect.Type
    wanted: str  #: as a noun

    @property
    def is_keyed(self) -> bool:
        """Whether it is given as name[key]=value."""
        return isinstance(self.of, inspect.DictType)


@cache
def fields_of(kind: type[Struct]) -> Mapping[str, Field]:
    """Return what the parameters of a question are."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - by the signature
    return {field.name: _field(field.type) for field in info.fields}


def _field(of: inspect.Type, wanted: str | None = None) -> Field:
    match of:
        case inspect.Metadata(type=inner, extra=extra):
            return _field(inner, (extra or {}).get("wanted", wanted))
        case inspect.UnionType(types=types):
            (inner,) = (one for one in types if not isinstance(one, inspect.NoneType))
            return _field(inner, wanted)
        case _:
            return Field(of, wanted or _wanted(of))


def _wanted(of: inspect.Type) -> str:
    match of:
        case inspect.IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType(values=values):
            return " or ".join(map(str, values))
        case inspect.StrType(max_length=most):
            return f"1 to {most} characters that can be printed"
        case inspect.VarTupleType(max_length=most):
            return f"at most {most} names, separated by commas"
        case inspect.DictType(max_length=most):
            return f"at most {most} of name[key]=value"
        case _:
            raise AssertionError(of)


def _unknown(name: str, fields: Mapping[str, Field]) -> str:
    meant = closest(name.partition("[")[0], fields)
    if meant is not None:
        return f"there is no such parameter; did you mean {meant}?"
    known = ", ".join(fields) or "none"
    return f"there is no such parameter; known here: {known}"


def _read(of: inspect.Type, texts: list[tuple[str | None, str]]) -> Any:
    """Return the value that the texts stand for, limits unchecked."""
    if isinstance(of, inspect.DictType):
        return _read_keyed(texts)
    if isinstance(of, inspect.VarTupleType):
        return tuple(part for _, text in texts if text for part in text.split(","))
    if len(texts) > 1:
        raise _Mistake("it more than once")
    ((_, text),) = texts
    if isinstance(of, inspect.IntType):
        if not _WHOLE.fullmatch(text):
            raise _Mistake(_shown(text))
        return int(text)
    if isinstance(of, inspect.BoolType):
        if text not in {"true", "false"}:
            raise _Mistake(_shown(text))
        return text == "true"
    return text


def _read_keyed(texts: list[tuple[str | None, str]]) -> dict[str, str]:
    read: dict[str, str] = {}
    for key, text in texts:
        if key is None:
            raise _Mistake("it without [key]")
        if key in read:
            raise _Mistake(f"[{key[:_SHOWN]}] more than once")
        read[key] = text
    return read


@cache
def _hints(kind: type[Struct]) -> Mapping[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _checked(kind: type[Struct], name: str, value: Any) -> Any:
    try:
        return msgspec.convert(value, _hints(kind)[name])
    except msgspec.ValidationError:
        raise _Mistake(_shown(value)) from None


def _shown(value: Any) -> str:
    text = ",".join(value) if isinstance(value, tuple) else value
    shown = json.dumps(text) if isinstance(text, str | dict) else str(text)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
