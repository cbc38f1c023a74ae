"""The settings as they can be shown to anyone: no secret in them.

Knows what is secret by its type, and as a second line by its name and form.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretBytes, SecretStr

from tunewatch.config.address import Address
from tunewatch.config.models import Settings, SourceSettings
from tunewatch.settings import Secret, duration_text, is_duration

_SECRETISH = re.compile(
    r"password|secret|token|api_?key|credential|authorization", re.IGNORECASE
)
_MEASURED = {"backfill"}  #: durations with words of their own


def redacted(settings: Settings) -> dict[str, Any]:
    """Return the settings under their keys in the file, fit for anyone's eyes."""
    return {
        "daemon": _table(settings.daemon),
        "sources": {name: _named(item) for name, item in settings.sources.items()},
        **_organizations(settings),
        "plugins": {name: _named(item) for name, item in settings.plugins.items()},
    }


def shown(model: BaseModel) -> dict[str, Any]:
    """Return one table, fit for anyone's eyes."""
    return _table(model)


def _organizations(settings: Settings) -> dict[str, Any]:
    if not settings.organizations:
        return {}
    tables = {}
    for name, item in settings.organizations.items():
        table = _table(item)
        table.pop("name")
        table.pop("template")
        of_sources = _named(item.template)
        tables[name] = {**of_sources, **table}
    return {"organizations": tables}


def _named(item: BaseModel) -> dict[str, Any]:
    """Return a source's or plugin's table: shared keys and its kind's own."""
    table = _table(item)
    table.pop("name", None)
    own = table.pop("settings", None) or {}
    return {**table, **own}


def _table(model: BaseModel) -> dict[str, Any]:
    table = {}
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if value is None:
            continue
        if isinstance(model, SourceSettings) and name in _MEASURED:
            table[name] = _backfill(value)
        elif isinstance(value, float) and is_duration(info):
            table[name] = duration_text(value)
        else:
            table[name] = _shown(name, value)
    return table


def _backfill(seconds: float) -> str:
    if math.isinf(seconds):
        return "all"
    return duration_text(seconds) if seconds else "none"


def _shown(name: str, value: Any) -> Any:
    match value:
        case Secret():
            return f"*** ({value.origin})"
        case SecretStr() | SecretBytes():
            return "***"
        case BaseModel():
            return _table(value)
        case Mapping():
            return {str(key): _shown(str(key), item) for key, item in value.items()}
        case Address():
            return str(value)
        case list() | tuple() | set() | frozenset():
            return [_shown(name, item) for item in value]
        case bool() | int() | float():
            return value
        case _:
            return _shown_text(name, str(value))


def _shown_text(name: str, text: str) -> str:
    if _SECRETISH.search(name) and not name.endswith(("_file", "_env", "_credential")):
        return "***"
    if "://" in text:
        return _shown_url(text)
    return text


def _shown_url(text: str) -> str:
    """Return a URL without what can open a door: user, password, query."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return "***"
    host = parts.netloc.rpartition("@")
    user = host[0].partition(":")
    shown = f"{user[0]}:***@" if user[1] else f"{user[0]}@" if host[1] else ""
    query = "?***" if parts.query else ""
    return f"{parts.scheme}://{shown}{host[2]}{parts.path}{query}"
