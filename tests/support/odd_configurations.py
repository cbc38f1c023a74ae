"""Configurations as nobody means them, and what must hold of each.

Drawn from the keys that there are, with values of every type at every key, or from any
bytes. A planted secret must never be repeated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tunewatch import config
from tunewatch.cli.settings import plugin_model, source_model
from tunewatch.config import ConfigError, redacted
from tunewatch.config.models import DaemonSettings, OrganizationKeys, SourceKeys

CANARY = "sk-canary-fuzz-3141"
PLUGINS = ("webhook", "mqtt", "wandb", "prometheus", "best_checkpoint")
SOURCES = ("openai", "azure")
WAYS = ("", "_file", "_env", "_credential")

_texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            *("15s", "1h", "-5m", "9" * 400 + "d", "none", "all", "*", "@status", "@x"),
            *("https://a.example", "http://[::1", "//", "mqtts://b:99999", "a@b"),
            *("sqlite:///x.db", "postgresql://u:p@h:x/db", "127.0.0.1:0", "[::]:70000"),
            *("/nowhere", "../x", "\x00", "webhook", "openai"),
        ]
    ),
)
_numbers = st.one_of(
    st.integers(min_value=-(2**63), max_value=2**63 - 1), st.floats(), st.booleans()
)
_secrets = st.sampled_from([CANARY, f"x{CANARY}y", f" {CANARY}\n{CANARY}"])
_values = st.recursive(
    st.one_of(_texts, _numbers, _secrets),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(_texts, st.just("file")), inner, max_size=3),
    ),
    max_leaves=5,
)


def _table(*models: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a table with some of the keys of these models, and perhaps an unknown."""
    names = sorted({name for model in models for name in model.model_fields})
    keys = st.builds(
        lambda name, way: name + way, st.sampled_from(names), st.sampled_from(WAYS)
    )
    return st.dictionaries(st.one_of(keys, keys, keys, _texts), _values, max_size=5)


def _named(
    table: st.SearchStrategy[dict[str, Any]], kinds: tuple[str, ...]
) -> st.SearchStrategy[dict[str, Any]]:
    with_kind = st.builds(
        lambda kind, rest: {"kind": kind, **rest}, st.sampled_from(kinds), table
    )
    names = st.one_of(st.sampled_from(["a", "b", *kinds]), _texts)
    return st.dictionaries(names, with_kind, max_size=2)


TREES = st.fixed_dictionaries(
    {},
    optional={
        "daemon": _table(DaemonSettings),
        "source_defaults": _table(SourceKeys),
        "sources": _named(_table(SourceKeys, *map(source_model, SOURCES)), SOURCES),
        "organizations": _named(_table(OrganizationKeys), ("openai",)),
        "plugins": _named(_table(*map(plugin_model, PLUGINS)), PLUGINS),
        "odd": _values,
    },
)


def as_toml(tree: dict[str, Any]) -> bytes:
    """Return a tree as one of inline tables."""
    lines = [f"{_text(key)} = {_value(value)}\n" for key, value in tree.items()]
    return "".join(lines).encode(errors="replace")


def check(raw: bytes, directory: Path) -> None:
    """Load it: there are settings or a ConfigError, and nothing repeats the secret."""
    path = directory / "tunewatch.toml"
    path.write_bytes(raw)
    with suppress(ConfigError), _discreet():
        found = config.load(
            path,
            {"HOME": str(directory)},
            source_model=source_model,
            plugin_model=plugin_model,
            interactive=False,
            directory=directory,
            system_file=directory / "none.toml",
        )
        json.dumps(redacted(found), default=str)


@contextmanager
def _discreet() -> Iterator[None]:
    """Let mistakes through that say something and repeat no value."""
    try:
        yield
    except ConfigError as error:
        if not error.mistakes or CANARY in str(error):
            raise AssertionError(str(error)) from error
        raise


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value)
        case int():
            return str(value)
        case str():
            return _text(value)
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case _:
            inner = (f"{_text(key)} = {_value(one)}" for key, one in value.items())
            return f"{{ {', '.join(inner)} }}"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
