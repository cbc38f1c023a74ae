"""The annotated example, written from the descriptions of the settings themselves.

What may be left out stands as a comment: `# ` opens prose, `#` alone a setting that is
not turned on. Knows no key by name; the kinds to show are handed in.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tunewatch.config.described import shown, told
from tunewatch.config.models import (
    ALWAYS_ON,
    DaemonSettings,
    OrganizationKeys,
    PluginKeys,
    SourceKeys,
)
from tunewatch.config.tables import ModelOf
from tunewatch.config.toml_text import toml_value
from tunewatch.settings import NoSuchKind

_HEAD = """\
# tunewatch: the annotated example. Every setting is here with its default; those that
# have none are comments. Durations are 200ms, 15s, 5m, 2h, 30d. A secret X can be given
# as X, X_file (read again when it changes), X_env or X_credential (of systemd). Any key
# can be set by the environment: TUNEWATCH_DAEMON__LISTEN is listen in [daemon].
# Further files: conf.d/*.toml beside this one.
"""


@dataclass(frozen=True, slots=True)
class _Table:
    header: str
    intro: str
    models: tuple[type[BaseModel], ...]
    on: bool = True  #: whether the table is more than a comment
    fixed: tuple[tuple[str, str], ...] = ()  #: keys that say what the table is
    skip: frozenset[str] = frozenset()


def annotated_example(
    source_model: ModelOf,
    plugin_model: ModelOf,
    *,
    source_kinds: Iterable[str] = (),
    plugin_kinds: Iterable[str] = (),
) -> str:
    """Return a configuration file with every setting, its meaning and its default.

    It is valid as it stands, given the environment variable it names. `source_kinds`
    are shown beside OpenAI's by their own settings. `plugin_kinds` are shown if they
    are installed; those that run anyway always are.
    """
    tables = [
        _Table("daemon", "The process itself.", (DaemonSettings,)),
        _source(source_model),
        *(_other_source(source_model, kind) for kind in source_kinds),
        _organization(),
        *_plugins(plugin_model, plugin_kinds),
    ]
    return _HEAD + "".join(f"\n{_written(table)}" for table in tables)


def _source(source_model: ModelOf) -> _Table:
    return _Table(
        "sources.research",
        "What is watched: one table for each key. The name is a label in events and "
        "metrics and is permanent. [source_defaults] takes any key of a source.",
        (SourceKeys, source_model("openai")),
        fixed=(("kind", "openai"),),
    )


def _other_source(source_model: ModelOf, kind: str) -> _Table:
    model = source_model(kind)
    return _Table(
        f"sources.{kind}",
        f"{_first_line(model)} Every key of a source above can stand here, too.",
        (model,),
        on=False,
        fixed=(("kind", kind),),
    )


def _organization() -> _Table:
    return _Table(
        "organizations.acme",
        "All projects of an organisation: each becomes a source under its id, as soon "
        "as there is a key for it. Every key of a source above can stand here, too, "
        "for all of them.",
        (OrganizationKeys,),
        on=False,
        fixed=(("kind", "openai"),),
        skip=frozenset({"enabled"}),
    )


def _plugins(plugin_model: ModelOf, kinds: Iterable[str]) -> Iterator[_Table]:
    for kind in dict.fromkeys((*ALWAYS_ON, *kinds)):
        try:
            model = plugin_model(kind)
        except NoSuchKind:
            continue
        is_always_on = kind in ALWAYS_ON
        yield _Table(
            f"plugins.{kind}",
            _first_line(model),
            (PluginKeys, model),
            on=is_always_on,
            fixed=() if is_always_on else (("kind", kind),),
            skip=frozenset(() if is_always_on else ("enabled",)) | {"kind"},
        )


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]


def _written(table: _Table) -> str:
    mark = "" if table.on else "#"
    lines = [*_prose(table.intro), f"{mark}[{table.header}]"]
    lines += [f"{mark}{key} = {toml_value(value)}" for key, value in table.fixed]
    seen = {key for key, _ in table.fixed} | table.skip
    for model in table.models:
        means = told(model)
        for name, info in model.model_fields.items():
            if name not in seen:
                seen.add(name)
                lines += [*_prose(means[name]), *_setting(name, info, mark)]
    return "\n".join(lines) + "\n"


def _setting(name: str, info: FieldInfo, mark: str) -> list[str]:
    key, value = shown(name, info)
    is_given = info.examples and (info.is_required() or _is_needed(name))
    has_default = not info.is_required() and value is not None and not info.examples
    prefix = mark if is_given or has_default else "#"
    if value is None:
        return [f"# {key} has no default."]
    return [f"{prefix}{key} = {toml_value(value)}"]


def _is_needed(name: str) -> bool:
    """Whether the example would not work without this setting."""
    return name == "api_key"


def _prose(text: str) -> Iterator[str]:
    for line in textwrap.wrap(text, 86, break_long_words=False, break_on_hyphens=False):
        yield f"# {line}"
