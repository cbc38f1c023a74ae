"""YAML in which no key may be given twice: the parser would take the last one.

Tells where a mistake is, and nothing of what stands there.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from tunewatch.settings import Wanted


def parsed(text: str) -> object:
    """Return what a document says. Raises Wanted."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - it is a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Wanted(f"YAML; found a mistake in it{_position(error)}") from None


def _position(error: Exception) -> str:
    """Return where it is, without the text that the parser repeats."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return ""
    what = "a key given twice, " if isinstance(error, _Twice) else ""
    return f": {what}line {mark.line + 1}, column {mark.column + 1}"


class _Twice(yaml.MarkedYAMLError):
    """A key that is there already."""


class _Loader(yaml.SafeLoader):
    """As `yaml.safe_load`, but for keys that are there already."""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            said = getattr(key, "value", None)
            if isinstance(said, str):
                if said in seen:
                    raise _Twice(problem_mark=key.start_mark)
                seen.add(said)
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found
