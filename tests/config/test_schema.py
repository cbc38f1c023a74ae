"""The JSON Schema of the file takes what the daemon takes, and finds what is wrong."""

from __future__ import annotations

import json
import tomllib
from typing import Any, ClassVar

import jsonschema_rs
import pytest
from pydantic import BaseModel, ConfigDict

from support import kinds as small
from support.program import Program
from support.reference_tables import README, fenced
from tunewatch import config, host, sources
from tunewatch.cli.settings import plugin_model, source_model
from tunewatch.config.models import PluginKeys, SourceKeys
from tunewatch.settings import known_keys


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    made = config.json_schema(
        source_model,
        plugin_model,
        source_kinds=sources.kinds(),
        plugin_kinds=host.kinds(),
    )
    jsonschema_rs.meta.validate(made)
    return made


def wrong(schema: dict[str, Any], text: str) -> list[str]:
    """Return where a file is wrong."""
    validator = jsonschema_rs.Draft7Validator(schema)  # as editors' taplo has it
    found = validator.iter_errors(tomllib.loads(text))
    return sorted({".".join(map(str, error.instance_path)) for error in found})


def example(*, with_all: bool) -> str:
    text = config.annotated_example(
        source_model, plugin_model, plugin_kinds=host.kinds()
    )
    lines = text.splitlines()
    if with_all:
        lines = [
            line[1:] if line.startswith("#") and not line.startswith("# ") else line
            for line in lines
        ]
    return "\n".join(lines)


@pytest.mark.parametrize("with_all", [False, True])
def test_the_annotated_example_is_valid(schema, with_all):
    assert wrong(schema, example(with_all=with_all)) == []


def test_every_configuration_in_the_readme_is_valid(schema):
    shown = [one for one in fenced(README.read_text(), "toml") if "[project" not in one]
    assert len(shown) > 1
    for one in shown:
        is_strange = "plugins.choices" in one or '"trainer"' in one
        assert is_strange or wrong(schema, one) == [], one


@pytest.mark.parametrize("kind", host.kinds())
def test_it_has_every_key_of_every_plugin(schema, kind):
    known = {*known_keys(PluginKeys), *known_keys(plugin_model(kind))}
    assert set(schema["definitions"][f"plugin.{kind}"]["properties"]) == known


@pytest.mark.parametrize("kind", sources.kinds())
def test_it_has_every_key_of_every_source_and_so_have_the_defaults(schema, kind):
    known = {*known_keys(SourceKeys), *known_keys(source_model(kind))}
    properties = schema["definitions"][f"source.{kind}"]["properties"]
    assert set(properties) == known
    assert known <= set(schema["definitions"]["source_defaults"]["properties"])


def test_every_setting_is_described(schema):
    for name, table in schema["definitions"].items():
        for key, setting in table["properties"].items():
            assert setting.get("description"), f"{name}: {key}"


@pytest.mark.parametrize(
    "text",
    [
        "[daemon]\nlog_level = 'debug'\nretention = '30d'\npassword_file = '/x'\n",
        "[source_defaults]\napi_key_env = 'A'\norganization = 'org-1'\n[sources.a]\n",
        "[sources.a]\nbackfill = 'all'\n[sources.b]\nbackfill = '30d'\n",
        "[sources.a]\nwebhook_secret_credential = 'x'\nrenamed_from = 'b'\n",
        "[plugins.webhook]\nurl = 'https://a'\nsecret = ['a', 'b']\n",
        "[plugins.ops]\nkind = 'webhook'\nsecret_file = 'x'\nevents = ['@status']\n",
        "[plugins.webhook]\nkind = 'prometheus'\nwindow = '2h'\n",
        "[plugins.webhook]\ndelivery = { rate = 'none' }\n",
        "[plugins.webhook]\ndelivery = { rate = 2.5, timeout = '200ms' }\n",
        "[plugins.ops]\nenabled = false\nkind = 'not installed'\nanything = 1\n",
        "[plugins.best_checkpoint.metrics]\nsupervised = 'full_valid_loss'\n",
    ],
)
def test_what_the_daemon_takes_is_taken(schema, text):
    assert wrong(schema, text) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[deamon]\n", ""),
        ("[daemon]\nlisten = 9478\n", "daemon.listen"),
        ("[daemon]\nlog_level = 'loud'\n", "daemon.log_level"),
        ("[daemon]\nretention = 90\n", "daemon.retention"),
        ("[daemon]\nretention = '90 days'\n", "daemon.retention"),
        ("[daemon]\nlisten_on = 'x'\n", "daemon"),
        ("[source_defaults]\npoll = '1s'\n", "source_defaults"),
        ("[sources]\na = 'b'\n", "sources.a"),
        ("[sources.a]\npoll_intervall = '5s'\n", "sources.a"),
        ("[sources.a]\nrequests_per_minute = 0\n", "sources.a"),
        ("[sources.a]\nbackfill = 'some'\n", "sources.a"),
        ("[sources.a]\nkind = 'opnai'\n", "sources.a"),
        ("[sources.'../a']\n", "sources"),
        ("[plugins.ops]\nurl = 'https://a'\n", "plugins.ops"),
        ("[plugins.webhook]\nwindow = '1h'\n", "plugins.webhook"),
        ("[plugins.prometheus]\nmax_jobs = 'many'\n", "plugins.prometheus"),
        ("[plugins.prometheus]\ndelivery = { retries = 3 }\n", "plugins.prometheus"),
        ("[plugins.prometheus]\nmetadata = { team = 5 }\n", "plugins.prometheus"),
    ],
)
def test_what_no_daemon_takes_is_found_where_it_stands(schema, text, where):
    assert wrong(schema, text) == [where]


class Strange:
    """A type that says nothing about itself to anyone."""


class StrangeSettings(BaseModel):
    """Settings of a stranger."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    needs_key: ClassVar[bool] = False

    what: Strange
    plain: int = 1


def test_a_strangers_type_may_be_anything(recwarn):
    made = config.json_schema(
        small.source_model,
        {"strange": StrangeSettings}.__getitem__,
        source_kinds=small.SOURCES,
        plugin_kinds=["strange"],
    )
    assert wrong(made, "[plugins.strange]\nwhat = { a = 1 }\nplain = 2\n") == []
    assert wrong(made, "[plugins.strange]\nplain = 'x'\n") == ["plugins.strange"]
    assert not list(recwarn)


def test_a_kind_whose_package_is_not_installed_may_have_any_key():
    made = config.json_schema(
        small.source_model,
        small.plugin_model,
        source_kinds=small.SOURCES,
        plugin_kinds=[*small.PLUGINS, "wandb"],
    )
    assert wrong(made, "[plugins.wandb]\nproject = 'x'\n") == []
    assert wrong(made, "[plugins.runs]\nkind = 'wandb'\nproject = 'x'\n") == []
    assert wrong(made, "[sources.a]\nkind = 'azure'\nendpoint = 'https://x'\n") == []


def test_the_command_prints_it(tmp_path, schema):
    done = Program(tmp_path)("config", "--schema")
    assert done.code == 0, done.err
    assert json.loads(done.out) == json.loads(json.dumps(schema))
