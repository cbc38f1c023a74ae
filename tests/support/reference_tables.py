"""What the code itself can write of the documentation: tables, samples, the example.

Puts its part into the README; the pages are made of the same by `reference_pages`.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from click.testing import CliRunner
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from support.job_rows import job_row, selection
from support.readers import HandmadeJobs, lent_context
from tunewatch.api.operations import ACTIONS, OPERATIONS, SPECIAL
from tunewatch.api.operations import ROOT as ROOT_PATH
from tunewatch.cli.main import root
from tunewatch.events import CATALOGUE, GROUPS, Common
from tunewatch.sources.contract import Call
from tunewatch.telemetry import Telemetry
from tunewatch_plugins.prometheus import Metrics, Settings

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
SAMPLE = ROOT / "tests/docs/choices_plugin.py"
SOURCE = ROOT / "tests/samples/acme-trainer/acme_trainer.py"


def events() -> str:
    """Return a table of every event type, from the catalogue's own words."""
    rows = []
    for kind in CATALOGUE:
        about = " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())
        fields = ", ".join(f"`{name}`" for name in kind.__struct_fields__)
        rows.append((f"`{kind.TYPE}`", about, fields))
    return table(("type", "when", "in `data`"), rows)


def groups() -> str:
    """Return a table of the names for several types."""
    rows = [(f"`{n}`", ", ".join(f"`{t}`" for t in GROUPS[n])) for n in GROUPS]
    return table(("group", "stands for"), rows)


def common() -> str:
    """Return the names that every event has in `data`."""
    return ", ".join(f"`{name}`" for name in Common.__struct_fields__)


def metrics() -> str:
    """Return a table of every metric, from an answer of `/metrics`."""
    rows = []
    for family in families():
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {n for sample in family.samples for n in sample.labels} - {"le"}
        ordered = sorted(labels, key=lambda n: (n != "source", n != "job_id", n))
        shown = ", ".join(f"`{label}`" for label in ordered)
        rows.append((f"`{name}`", family.type, shown, family.documentation))
    return table(("metric", "type", "labels", "what it is"), rows)


def settings() -> str:
    """Return the annotated example, as the program prints it."""
    result = CliRunner().invoke(root, ["config", "--example"], standalone_mode=False)
    assert result.exception is None, result.exception
    return f"```toml\n{result.stdout}```"


def api() -> str:
    """Return a table of everything that the operator API answers."""
    rows = [("GET", one.path, one.about) for one in (*OPERATIONS, *SPECIAL)]
    rows += [("POST", one.path, one.about) for one in ACTIONS]
    told = [(f"`{method} {ROOT_PATH}{path}`", about) for method, path, about in rows]
    return table(("path", "answers"), told)


def sample() -> str:
    """Return the sample plugin, whole."""
    return f"```python\n{SAMPLE.read_text()}```"


def source() -> str:
    """Return the sample source, whole."""
    return f"```python\n{SOURCE.read_text()}```"


BLOCKS: dict[str, Callable[[], str]] = {
    "events": events,
    "groups": groups,
    "api": api,
    "sample": sample,
    "source": source,
}


def families() -> list[Metric]:
    """Return every family that `/metrics` can have, of a daemon with some of each."""
    telemetry = Telemetry(version="0", now=lambda: 1.0)
    telemetry.born(sources=["research"], plugins=["ops"])
    telemetry.webhooks_born("research")
    telemetry.source_named("research", kind="openai")
    telemetry.organization("acme", up=True, projects={})
    telemetry.lease_held("research", held=True)
    telemetry.reloaded(ok=True)
    telemetry.configured("0" * 32)
    telemetry.state_size(1)
    telemetry.state_free(1)
    telemetry.web_config_read(True, 1)
    telemetry.state_written()
    telemetry.poll_finished("research", "look", 0.1)
    telemetry.poll_interval("research", 15.0)
    telemetry.backlog("ops", 1, oldest=1.0)
    limits = {"remaining_requests": 1, "limit_requests": 1, "reset_after": 1.0}
    call = Call(endpoint="jobs", seconds=0.1, outcome="ok", **limits)
    telemetry.observe_call("research", call)
    jobs = HandmadeJobs()
    jobs.rows = (
        job_row("ftjob-1", selection=selection(), job={"estimated_finish": 9}),
        job_row("ftjob-2", "succeeded", job={"finished_at": 9}),
        job_row("ftjob-3", latest=dict.fromkeys(_REWARDS, 0.5)),
    )
    context = lent_context(jobs, Path(), registry=telemetry.registry)
    settings = Settings(prices={"gpt-4o-mini": 3})
    answer = asyncio.run(Metrics(settings, context).respond({}))
    return list(text_string_to_metric_families(answer.body.decode()))


_REWARDS = ("train_mean_reward", "valid_mean_reward", "full_valid_mean_reward")


def written(text: str) -> str:
    """Return the README with every generated part as it is now."""
    for name, block in BLOCKS.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        assert text.count(begin) == text.count(end) == 1, f"one {begin} is wanted"
        before, _, rest = text.partition(begin)
        after = rest.partition(end)[2]
        text = f"{before}{begin}\n\n{block()}\n\n{end}{after}"
    return text


def fenced(text: str, language: str) -> Iterator[str]:
    """Yield what stands in the fenced blocks of a language."""
    for found in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if found[1] == language:
            yield found[2]


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table as Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
