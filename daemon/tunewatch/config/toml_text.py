"""Values and tables as TOML text.

Writes what settings are made of: strings, numbers, booleans, arrays, tables.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tunewatch.settings import key_path


def toml_text(tree: Mapping[str, Any]) -> str:
    """Return a tree as a TOML document, each table under its header."""
    return "\n".join(_tables(tree, ())).strip() + "\n"


def toml_value(value: Any) -> str:
    """Return a value on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() if math.isinf(value) or math.isnan(value):
            return str(value)
        case int() | float():
            return repr(value)
        case Mapping():
            inner = ", ".join(
                f"{key_path([str(key)])} = {toml_value(item)}"
                for key, item in value.items()
            )
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(toml_value(item) for item in value)}]"
        case _:
            # A JSON string is a TOML string, but for this one character.
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007F")


def _tables(tree: Mapping[str, Any], prefix: tuple[str, ...]) -> list[str]:
    lines = []
    plain = {k: v for k, v in tree.items() if not isinstance(v, Mapping)}
    inner = {k: v for k, v in tree.items() if isinstance(v, Mapping)}
    if prefix and (plain or not inner):
        lines.append(f"\n[{key_path(prefix)}]")
    lines.extend(
        f"{key_path([key])} = {toml_value(value)}" for key, value in plain.items()
    )
    for key, value in inner.items():
        lines.extend(_tables(value, (*prefix, key)))
    return lines
