"""The reference pages are as the code is: all of it, and nothing else."""

from __future__ import annotations

import json
import re
import shlex

import click
import pytest

from support.reference_pages import GENERATED, PAGES
from support.reference_tables import README, ROOT, families, fenced
from tunewatch import config, host, sources
from tunewatch.cli.main import COMMANDS, root
from tunewatch.cli.settings import plugin_model, source_model
from tunewatch.config.models import (
    DaemonSettings,
    DeliverySettings,
    OrganizationKeys,
    PluginKeys,
    SourceKeys,
)
from tunewatch.events import CATALOGUE, GROUPS, Common, decode, encode


def page(name: str) -> str:
    return (PAGES / name).read_text()


def first_cells(text: str) -> set[str]:
    """Return the words in the first cells of tables."""
    cells = re.findall(r"^\| (`[^|]*?) +\|", text, flags=re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"^`([^`]+)`", cell)}


@pytest.mark.parametrize("name", GENERATED)
def test_a_page_is_as_the_code_writes_it(name):
    assert page(name) == GENERATED[name](), "`make readme` writes it anew"


def test_there_is_no_page_that_nobody_writes_and_the_readme_links_to_each():
    assert {path.name for path in PAGES.iterdir()} == set(GENERATED)
    linked = re.findall(r"\]\(docs/reference/(\w+\.md)\)", README.read_text())
    assert set(linked) == set(GENERATED)


def test_every_link_of_the_readme_leads_somewhere():
    for target in re.findall(r"\]\(([^):]+)\)", README.read_text()):
        assert (ROOT / target).exists(), target


def test_every_setting_is_in_its_page_and_means_something():
    models = [DaemonSettings, SourceKeys, OrganizationKeys, PluginKeys]
    models += [DeliverySettings]
    models += [source_model(kind) for kind in sources.kinds()]
    models += [plugin_model(kind) for kind in host.kinds()]
    keys = {name for model in models for name in model.model_fields}
    text = page("settings.md")
    tables = text.partition("## `[daemon]`")[2].partition("## The annotated")[0]
    assert first_cells(tables) == keys
    rows = re.findall(r"^\| `.*\|$", tables, flags=re.MULTILINE)
    assert len(rows) == sum(len(model.model_fields) for model in models)
    for row in rows:
        assert re.search(r"\| [^|]{10,} \|$", row), row


def test_the_settings_shown_say_the_same_in_the_file_and_in_the_environment(tmp_path):
    text = page("settings.md")
    file, _example = fenced(text, "toml")
    (environ,) = fenced(text, "sh")
    path = tmp_path / "tunewatch.toml"
    path.write_text("[sources.a]\napi_key='k'\n" + file.replace("/run", f"{tmp_path}"))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "ops-url").write_text("https://hooks.example.com/a")
    (tmp_path / "secrets" / "ops-secret").write_text(f"whsec_{'QUJD' * 8}")
    said = dict(shlex.split(line)[0].split("=", 1) for line in environ.splitlines())
    models = {"source_model": source_model, "plugin_model": plugin_model}
    by_file = config.load(path, {}, **models)
    by_both = config.load(path, said, **models)
    assert by_file.daemon == by_both.daemon
    assert by_file.plugins["ops-hook"] == by_both.plugins["ops-hook"]
    assert by_file.plugins["ops-hook"].delivery.timeout == 5.0


def test_every_event_and_each_of_its_fields_is_in_its_page():
    text = page("events.md")
    for kind in CATALOGUE:
        _, _, rest = text.partition(f"### `{kind.TYPE}`\n")
        about = rest.partition("\n### ")[0]
        assert set(kind.__struct_fields__) <= first_cells(about), kind.TYPE
    every = {"`" + one.TYPE + "`" for one in CATALOGUE}
    assert set(re.findall(r"^### (`.*`)$", text, flags=re.MULTILINE)) == every
    assert set(GROUPS) <= first_cells(text)
    assert set(Common.__struct_fields__) <= first_cells(text)


def test_every_field_is_said_to_be_something():
    for row in re.findall(r"^\| `.*\|$", page("events.md"), flags=re.MULTILINE):
        assert "|  |" not in row, row


def test_every_example_is_an_event_that_reads_back_as_it_stands():
    samples = [json.loads(text) for text in fenced(page("events.md"), "json")]
    assert len(samples) == len(CATALOGUE)
    for raw in samples:
        assert json.loads(encode(decode(json.dumps(raw).encode()))) == raw


def test_every_metric_is_in_its_page_and_the_other_way_round():
    named = {name.removesuffix("_total") for name in first_cells(page("metrics.md"))}
    assert named == {family.name.removesuffix("_total") for family in families()}


def test_every_command_and_option_is_in_its_page():
    text = page("commands.md")
    heads = re.findall(r"^#+ `tunewatch ([a-z ]+)`$", text, flags=re.MULTILINE)
    assert [head for head in heads if " " not in head] == list(COMMANDS)
    for head in heads:
        command: click.Command = root
        for name in head.split():
            found = command.get_command(click.Context(command), name)
            assert found is not None, head
            command = found
        _, _, rest = text.partition(f"# `tunewatch {head}`\n")
        about = re.split(r"^#+ ", rest, flags=re.MULTILINE)[0]
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                for name in parameter.opts:
                    assert name in about, f"{head} {name}"
