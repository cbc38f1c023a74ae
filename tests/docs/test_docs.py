"""The README says what is there, all of it, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import runpy
import shlex
import sys
import time
import tomllib
import types
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from support.certificates import issued
from support.reference_tables import (
    BLOCKS,
    README,
    ROOT,
    SAMPLE,
    SOURCE,
    families,
    fenced,
    written,
)
from tunewatch import config, host, sources
from tunewatch.api.cursors import to_spot
from tunewatch.cli import exits
from tunewatch.cli.main import COMMANDS, root
from tunewatch.config.web_reading import read_web_file
from tunewatch.events import CATALOGUE, GROUPS, Common, decode, encode
from tunewatch.testing import examples
from tunewatch.testing.contract import SinkContract
from tunewatch.web.guard import OPEN
from tunewatch.web.hooks import PATH
from tunewatch.web.v1.openapi import document
from tunewatch_plugins.webhook.signing import keyring

TEXT = README.read_text()
PROSE = re.sub(r"^```.*?^```$", "", TEXT, flags=re.DOTALL | re.MULTILINE)
EVENT = r"(fine_tuning|tunewatch)\.((job|event|checkpoint|source)\.[\w<>]+|test)"
GROUPS_OF = ("tunewatch.plugins", "tunewatch.sources")
WORDS = set(re.findall(r"`([^`\n]+)`", PROSE))


def section(title: str) -> str:
    _, _, rest = TEXT.partition(f"\n{title}\n")
    assert rest, f"no section {title!r}"
    level = title.partition(" ")[0]
    return re.split(rf"^#{{1,{len(level)}}} ", rest, flags=re.MULTILINE)[0]


def first_column(title: str) -> list[str]:
    """Return what stands in the first cells of a section's tables."""
    cells = re.findall(r"^\| ([^|]+?) +\|", section(title), flags=re.MULTILINE)
    return [cell.strip("`") for cell in cells if not cell.startswith("-")]


@pytest.mark.parametrize("name", BLOCKS)
def test_what_the_code_can_write_is_as_the_code_writes_it(name):
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    found = TEXT.partition(begin)[2].partition(end)[0].strip()
    assert found == BLOCKS[name]().strip(), "`make readme` writes it anew"


def test_writing_the_readme_again_changes_nothing():
    assert written(TEXT) == TEXT


def test_every_event_type_in_the_text_exists():
    known = {kind.TYPE for kind in CATALOGUE}
    for word in WORDS:
        if re.fullmatch(EVENT, word):
            status = word.removeprefix("fine_tuning.job.")
            assert word in known or status in ("succeeded", "failed", "cancelled"), word


def test_every_group_in_the_text_exists_and_the_other_way_round():
    assert {word for word in WORDS if word.startswith("@")} == set(GROUPS)


def test_every_metric_in_the_text_exists():
    known = {family.name for family in families()}
    named = {word for word in WORDS if re.fullmatch(r"tunewatch_\w+", word)}
    assert {word.removesuffix("_total") for word in named} - known <= {
        "tunewatch_plugins"
    }


def test_every_command_is_in_the_table_and_every_line_of_it_is_a_command():
    rows = [cell for cell in first_column("## Command line") if "tunewatch" in cell]
    assert [row.split()[1] for row in rows] == list(COMMANDS)


def test_every_exit_code_is_in_the_table_and_the_other_way_round():
    rows = {int(cell) for cell in first_column("## Command line") if cell.isdigit()}
    assert rows == {value for name, value in vars(exits).items() if name.isupper()}


def test_every_plugin_and_source_is_in_its_table_and_the_other_way_round():
    kinds = set(first_column("## Plugins")) - {"kind", "kind of source"}
    installed = {
        entry.name
        for group in GROUPS_OF
        for entry in entry_points(group=group)
        if entry.dist is not None and entry.dist.name == "tunewatch"
    }
    assert kinds == installed


def test_every_path_of_the_server_is_in_its_table_and_the_other_way_round():
    answered = set(first_column("## HTTP")) - {"path"}
    api = {one for one in answered if " /api/" in one}
    hook = PATH.format(kind="openai", source="NAME")
    assert answered - api == {*OPEN, hook}
    paths = document()["paths"]
    assert api == {f"{m.upper()} {path}" for path in paths for m in paths[path]}


def test_what_stands_in_the_stream_that_is_shown_is_a_place():
    shown = re.findall(r"^id: (\S+)$", section("## HTTP"), re.MULTILINE)
    assert shown
    assert all(to_spot(one) for one in shown)


def test_the_address_it_says_is_the_default():
    default = config.DaemonSettings.model_fields["listen"].default
    assert f"`{default}`" in section("## HTTP")


def test_every_target_of_make_in_the_text_exists():
    targets = set(
        re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    named = re.findall(r"(?:^\$ |`)make ([\w-]+)", TEXT, re.MULTILINE)
    assert set(named) <= targets
    assert {"demo", "test", "lint", "bench", "faults"} <= targets


def commands() -> list[list[str]]:
    lines = [line for block in fenced(TEXT, "console") for line in block.splitlines()]
    assert lines, "no command is shown"
    assert all(line.startswith("$ ") for line in lines)
    words = [shlex.split(line[2:]) for line in lines]
    # Settings in front of a command are the shell's.
    return [[w for w in one if not re.match(r"[A-Z_]+=", w)] for one in words]


def test_every_command_shown_is_understood():
    for program, *arguments in commands():
        assert program in ("make", "pip", "tunewatch"), program
        if program == "tunewatch":
            understand(arguments)


def test_every_command_in_the_text_is_understood():
    shown = [word for word in WORDS if word.startswith("tunewatch ")]
    assert len(shown) > len(COMMANDS)
    for word in shown:
        understand(shlex.split(word.partition(">")[0])[1:])


def understand(arguments: list[str]) -> None:
    """Let click parse it; it raises for what there is not."""
    name, *rest = arguments
    if name.startswith("-"):
        options = root.get_params(click.Context(root))
        assert any(name in option.opts for option in options), name
        return
    found = root.get_command(click.Context(root), name)
    assert found is not None, name
    found.make_context(name, rest)


def test_the_sample_of_a_web_configuration_file_is_understood(tmp_path):
    (sample,) = fenced(section("### TLS and passwords"), "yaml")
    path = tmp_path / "web.yml"
    path.write_text(sample)
    found = read_web_file(path)
    assert found.tls_server_config is not None
    assert found.tls_server_config.cert_file == tmp_path / "tls.crt"
    assert found.tls_server_config.client_allowed_sans
    assert list(found.basic_auth_users) == ["prometheus"]


def test_every_json_sample_is_an_event_that_reads_back_as_it_stands():
    samples = list(fenced(TEXT, "json"))
    assert samples
    for sample in samples:
        raw = json.loads(sample)
        assert json.loads(encode(decode(json.dumps(raw).encode()))) == raw
        assert set(Common.__struct_fields__) <= set(raw["data"])


@pytest.fixture
def choices(monkeypatch):
    """Install the sample plugin, as its distribution would."""
    monkeypatch.syspath_prepend(str(SAMPLE.parent))
    yield SAMPLE.stem
    sys.modules.pop(SAMPLE.stem, None)


@pytest.fixture
def trainer(monkeypatch):
    """Install the sample source, as its distribution would."""
    monkeypatch.syspath_prepend(str(SOURCE.parent))
    yield SOURCE.stem
    sys.modules.pop(SOURCE.stem, None)


def test_every_configuration_shown_is_valid(tmp_path, choices, trainer):
    shown = [sample for sample in fenced(TEXT, "toml") if "[project" not in sample]
    told = "the look, Azure, webhooks thrice, MQTT, W&B, two samples, many twice"
    assert len(shown) == 11, told
    (tmp_path / "webhook-secret").write_text(new_secret())
    (tmp_path / "chat-url").write_text("https://hooks.example.com/services/T0/B0/x")
    (tmp_path / "mqtt-password").write_text("p4ssw0rd")
    for name in ("webhook", "research", "support", "admin-key"):
        (tmp_path / f"openai-{name}").write_text(new_secret())
    (tmp_path / "keys").mkdir()
    (tmp_path / "wandb-key").write_text("k" * 40)
    (tmp_path / "ops-token").write_text("Bearer t0k3n")
    papers = issued(tmp_path, name="tunewatch")
    pem = papers.certificate.read_text() + papers.key.read_text()
    (tmp_path / "ops-client.pem").write_text(pem)
    installed = [entry for group in GROUPS_OF for entry in entry_points(group=group)]
    among = EntryPoints((*installed, *sample_entry_points()))
    for sample in shown:
        has_some = "[sources" in sample or "[organizations" in sample
        text = sample if has_some else f"{sample}\n[sources.a]\napi_key='k'"
        path = tmp_path / "tunewatch.toml"
        path.write_text(text)  # its files stand beside it
        settings = config.load(
            path,
            {"OPENAI_API_KEY": "sk-1", "AZURE_OPENAI_API_KEY": "k-1"},
            source_model=lambda kind: sources.load(kind, installed=among).settings,
            plugin_model=lambda kind: host.load(kind, among=among).settings,
        )
        assert settings.sources or settings.organizations


def sample_entry_points():
    for sample in fenced(TEXT, "toml"):
        groups = tomllib.loads(sample).get("project", {}).get("entry-points", {})
        for group, entries in groups.items():
            for name, value in entries.items():
                yield EntryPoint(name, value, group)


def new_secret() -> str:
    return "whsec_" + base64.b64encode(bytes(range(32))).decode()


def run(sample: str, directory: Path) -> dict[str, Any]:
    """Run a sample as a script and return what it defined."""
    script = directory / "sample.py"
    script.write_text(sample)
    return runpy.run_path(str(script))


def python_sample(having: str) -> str:
    (found,) = [text for text in fenced(TEXT, "python") if having in text]
    return found


def test_the_receiver_shown_takes_signed_choices_once_and_no_others(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("WEBHOOK_SECRET", new_secret())
    sample = run(python_sample("def receive("), tmp_path)
    receive = sample["receive"]
    (delivery,) = [
        one
        for one in examples.deliveries()
        if one.event.type == "tunewatch.checkpoint.selected"
    ]
    made = keyring(new_secret()).headers(
        delivery.event.id, int(time.time()), delivery.body
    )
    model = delivery.event.payload.checkpoint["fine_tuned_model_checkpoint"]
    assert receive(made, delivery.body) == model
    assert receive(made, delivery.body) is None
    with pytest.raises(Exception, match="signature"):
        receive({**made, "webhook-id": "evt_other"}, delivery.body)
    sample["client"].close()


def test_the_verifier_shown_takes_what_an_ed25519_key_signed_and_nothing_else(
    monkeypatch, tmp_path
):
    made = CliRunner().invoke(root, ["secret", "--kind", "ed25519"])
    monkeypatch.setenv("WEBHOOK_PUBLIC_KEY", made.stderr.split()[-1])
    is_signed = run(python_sample("def is_signed("), tmp_path)["is_signed"]
    keys = keyring(f"{new_secret()}\n{made.stdout}")
    now, body = int(time.time()), b'{"object": "event"}'
    headers = keys.headers("evt_1", now, body)
    assert is_signed(headers, body)
    assert not is_signed(headers, body + b" ")
    assert not is_signed({**headers, "webhook-id": "evt_2"}, body)
    assert not is_signed(keys.headers("evt_1", now - 400, body), body)
    assert not is_signed(keyring(new_secret()).headers("evt_1", now, body), body)
    assert not is_signed({**headers, "webhook-signature": "v1a,AAAA v1a"}, body)


def test_the_sample_plugin_is_no_longer_than_a_screen():
    body = SAMPLE.read_text().splitlines()
    assert len([line for line in body if line.strip()]) <= 30


def test_the_sample_plugin_passes_the_contract_as_the_text_runs_it(choices, tmp_path):
    sample = run(python_sample("SinkContract"), tmp_path)
    (suite,) = [
        one
        for one in sample.values()
        if isinstance(one, type) and issubclass(one, SinkContract)
        if one is not SinkContract
    ]
    checks = [name for name in dir(suite) if name.startswith("test_")]
    assert len(checks) > 10
    for name in checks:
        getattr(suite(), name)()


async def test_the_sample_plugin_keeps_every_choice(choices, tmp_path):
    plugin = runpy.run_path(str(SAMPLE))["PLUGIN"]
    settings = plugin.settings(path=tmp_path / "choices.jsonl")
    context = types.SimpleNamespace()
    async with asyncio.timeout(10), plugin.open(settings, context) as sink:
        for delivery in examples.deliveries():
            await sink.deliver(delivery)
    kept = (tmp_path / "choices.jsonl").read_bytes().splitlines()
    assert kept == [delivery.body for delivery in examples.deliveries()]
