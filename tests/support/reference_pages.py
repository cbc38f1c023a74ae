"""The pages in docs/reference: settings, events, metrics and commands, from the code.

`python -m support.reference_pages` (as `make readme` does) writes them and the
generated parts of README.md; tests fail while any of them is not as the code is.
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from types import NoneType, UnionType
from typing import Any, Literal

import click
from pydantic import BaseModel

from support.reference_tables import (
    README,
    ROOT,
    events,
    groups,
    metrics,
    settings,
    table,
    written,
)
from tunewatch import host, sources
from tunewatch.cli.main import COMMANDS, root
from tunewatch.cli.settings import plugin_model, source_model
from tunewatch.config.described import default_of, is_secret, told
from tunewatch.config.models import (
    ALWAYS_ON,
    DaemonSettings,
    DeliverySettings,
    OrganizationKeys,
    PluginKeys,
    SourceKeys,
)
from tunewatch.config.toml_text import toml_value
from tunewatch.events import CATALOGUE, Common, MetricsRecorded
from tunewatch.events.catalogue import PointObject
from tunewatch.testing import examples

PAGES = ROOT / "docs" / "reference"
_HEAD = "<!-- Written by `make readme` from the code; edit that instead. -->"


_ABOUT_SETTINGS = """\
Durations are `200ms`, `15s`, `5m`, `2h`, `30d`. Unknown keys are errors, and all
mistakes are told at once, each with the file and, where a name is misspelt, the closest
that exists. `tunewatch check` tells beforehand.

## Where settings come from

`--config` or `$TUNEWATCH_CONFIG`, which must exist; else `./tunewatch.toml` in a
terminal; else `/etc/tunewatch/tunewatch.toml`. Beside the file `conf.d/*.toml` are
read, by name; a key that is given twice is an error that names both files.

The environment sets any key and wins: `TUNEWATCH_` and the path with `__` between its
parts, in capitals, whatever is no letter or digit as `_`. Lists and tables are TOML.

```toml
[daemon]
listen = "127.0.0.1:9478"

[plugins.ops-hook]
kind = "webhook"
url_file = "/run/secrets/ops-url"
secret_file = "/run/secrets/ops-secret"
events = ["@terminal"]
delivery = { timeout = "5s" }
```

```sh
TUNEWATCH_DAEMON__LISTEN=127.0.0.1:9478
TUNEWATCH_PLUGINS__OPS_HOOK__EVENTS='["@terminal"]'
TUNEWATCH_PLUGINS__OPS_HOOK__DELIVERY__TIMEOUT=5s
```

A secret `X` can be given as `X` itself, as `X_file` (read again when it changes; a
relative path starts at the file that says it), as `X_env`, or as `X_credential` of
systemd. It is printed nowhere.

`tunewatch config --schema` prints a JSON Schema of the file for the kinds that are
installed. Editors with taplo (VS Code: Even Better TOML) complete and check the file if
its first line is `#:schema ./tunewatch.schema.json`."""

_ABOUT_EVENTS = """\
What the provider says is `fine_tuning.*`; what tunewatch concludes is `tunewatch.*`.
Within version 1 types and fields are only added: receivers ignore those they do not
know."""

_ABOUT_ENVELOPE = """\
`object` (`event`), `id`, `type`, `created_at` and `timestamp` (when it happened by the
provider, else when it was seen), `schema_version`, and in `data`:"""

_ABOUT_REPEATS = """\
The same event always has the same `id` and the same bytes. Drop ids you know; for
state, ignore a lower `sequence`."""

_ABOUT_METRICS = """\
All that `/metrics` answers, as text or OpenMetrics. Within version 1 names and labels
are only added. Every series of a job has exactly the labels `source` and `job_id`, and
`status` on `tunewatch_job_status`; names are on the `_info` series, to be joined.
Totals begin at 0 and survive restarts; a value that is not known is absent, never 0."""

_ABOUT_COMMANDS = """\
Data goes to stdout, reasons and progress to stderr. Exit codes are in the README.
`--config` names the configuration, before or after the command."""


def settings_page() -> str:
    """Return every table of the file: its keys, their defaults, what they mean."""
    return _page(
        "Settings",
        _ABOUT_SETTINGS,
        *_tables(),
        "## The annotated example",
        "As `tunewatch config --example` prints it; it is a valid file as it stands.",
        settings(),
    )


def _tables() -> Iterator[str]:
    yield _keys("`[daemon]`", "The process itself.", DaemonSettings)
    yield _keys(
        "`[sources.NAME]`",
        "What is watched: one table for each key. The name is a label in events and "
        "metrics and is permanent. `[source_defaults]` takes any key of a source.",
        SourceKeys,
    )
    for kind in sources.kinds():
        about = "These keys beside those of every source."
        yield _keys(f'`kind = "{kind}"`', about, source_model(kind), level=3)
    yield _keys(
        "`[organizations.NAME]`",
        "All projects of an organisation: each becomes a source under its id. The keys "
        "of sources but for `api_key`, `webhook_secret`, `renamed_from` and `project` "
        "can stand here, too, for all of them.",
        OrganizationKeys,
    )
    yield _keys(
        "`[plugins.NAME]`",
        f"Who is told. {' and '.join(f'`{one}`' for one in ALWAYS_ON)} run unless "
        "`enabled = false`.",
        PluginKeys,
    )
    yield _keys("`delivery`", "How events are handed over.", DeliverySettings, level=3)
    for kind in host.kinds():
        about = "These keys beside those of every plugin."
        yield _keys(f'`kind = "{kind}"`', about, plugin_model(kind), level=3)


def _keys(title: str, about: str, model: type[BaseModel], *, level: int = 2) -> str:
    means = told(model)
    rows = []
    for name, info in model.model_fields.items():
        default = default_of(name, info)
        shown = "" if default is None else f"`{toml_value(default)}`"
        if info.is_required() and "Default" not in means[name]:
            shown = "needed"
        ways = ", `_file`, `_env`, `_credential`" if is_secret(info) else ""
        rows.append((f"`{name}`{ways}", shown, _cell(means[name])))
    keys = table(("key", "default", "what it means"), rows)
    return f"{'#' * level} {title}\n\n{about}\n\n{keys}"


def events_page() -> str:
    """Return every event: when it comes, what is in it, how it looks."""
    return _page(
        "Events",
        _ABOUT_EVENTS,
        events(),
        "## Groups",
        "Names for several types, in a plugin's `events`. Globs do, too.",
        groups(),
        "## What every event has",
        _ABOUT_ENVELOPE,
        _fields(Common),
        _ABOUT_REPEATS,
        "## Each event",
        *(part for kind in CATALOGUE for part in _event(kind)),
    )


def _event(kind: type[Any]) -> Iterator[str]:
    yield f"### `{kind.TYPE}`"
    yield " ".join(inspect.cleandoc(kind.__doc__ or "").split())
    yield _fields(kind)
    if kind is MetricsRecorded:
        yield "A point is:"
        yield _fields(PointObject)
    body = json.dumps(_sample(kind), indent=2, ensure_ascii=False)
    yield f"<details>\n<summary>An example</summary>\n\n```json\n{body}\n```"
    yield "</details>"


def _sample(kind: type[Any]) -> Any:
    """Return an example of a kind; of a status, the one its job really is in."""
    bodies = [
        json.loads(one.body)
        for one in examples.deliveries()
        if type(one.event.payload) is kind
    ]
    fit = [one for one in bodies if one["type"].endswith(f".{one['data']['status']}")]
    return (fit or bodies)[0]


def _fields(kind: type[Any]) -> str:
    """Return a table of a struct's fields, with what stands beside them."""
    beside = dict(
        re.findall(r"^    (\w+): .*?  #: (.*)$", inspect.getsource(kind), re.MULTILINE)
    )
    types = typing.get_type_hints(kind)
    rows = [
        (f"`{name}`", _json_type(types[name]), _cell(beside.get(name, "")))
        for name in kind.__struct_fields__
    ]
    return table(("field", "is", "what"), rows)


def _json_type(annotation: Any) -> str:
    inner = typing.get_args(annotation)
    match typing.get_origin(annotation) or annotation:
        case origin if origin is Literal:
            return " or ".join(f"`{word}`" for word in inner)
        case origin if origin in (UnionType, typing.Union):
            return " or ".join(map(_json_type, inner))
        case origin if origin is tuple:
            return f"array of {_json_type(inner[0])}s"
        case origin if origin is Any:
            return "anything"
        case origin:
            names = {str: "string", int: "integer", float: "number", bool: "boolean"}
            return {**names, NoneType: "null"}.get(origin, "object")


def metrics_page() -> str:
    """Return every metric with its labels."""
    return _page("Metrics", _ABOUT_METRICS, metrics())


def commands_page() -> str:
    """Return every command as its `--help` tells it."""
    parts = [part for name in COMMANDS for part in _command([name])]
    return _page("Commands", _ABOUT_COMMANDS, *parts)


def _command(path: list[str]) -> Iterator[str]:
    context: click.Context = click.Context(root, info_name="tunewatch")
    command: click.Command = root
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(context, name)
        assert found is not None, path
        command = found
        context = click.Context(command, info_name=name, parent=context)
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    yield f"{'#' * (len(path) + 1)} `tunewatch {' '.join(path)}`"
    yield f"```text\n{usage}\n```"
    yield inspect.cleandoc(command.help or "")
    rows = [
        (f"`{names}`", _cell(about))
        for names, about in filter(
            None, (one.get_help_record(context) for one in command.get_params(context))
        )
        if "--help" not in names
    ]
    if rows:
        yield table(("option", "what it does"), rows)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from _command([*path, name])


def _cell(text: str) -> str:
    """Return a text that may stand in a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([_HEAD, f"# {title}", *(part.strip() for part in parts)]) + "\n"


GENERATED: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "events.md": events_page,
    "metrics.md": metrics_page,
    "commands.md": commands_page,
}
"""The pages by their file names."""


if __name__ == "__main__":
    README.write_text(written(README.read_text()))
    PAGES.mkdir(parents=True, exist_ok=True)
    for page, made in GENERATED.items():
        (PAGES / page).write_text(made())
    changed = ["git", "diff", "--stat", "--", str(README), str(PAGES)]
    sys.exit(subprocess.call(changed, cwd=ROOT))
