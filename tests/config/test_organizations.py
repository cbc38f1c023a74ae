"""The tables of organisations: defaults for all projects, and keys in a folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from support.kinds import plugin_model, source_model
from tunewatch import config
from tunewatch.config import ConfigError, OrganizationSettings, Settings
from tunewatch.settings import Secret

ACME = '[organizations.acme]\nkeys = "keys"\n'


@pytest.fixture
def desk(tmp_path):
    (tmp_path / "keys").mkdir()
    return tmp_path


def load(desk: Path, text: str, **environ: str) -> Settings:
    path = desk / "tunewatch.toml"
    path.write_text(text)
    return config.load(
        path,
        environ,
        source_model=source_model,
        plugin_model=plugin_model,
        interactive=False,
    )


def acme(desk: Path, text: str, **environ: str) -> OrganizationSettings:
    return load(desk, text, **environ).organizations["acme"]


def mistakes(desk: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(desk, text)
    where = f"{desk / 'tunewatch.toml'}: "
    return [str(mistake).removeprefix(where) for mistake in caught.value.mistakes]


def test_without_a_folder_it_is_said_in_a_line_what_is_wanted(desk):
    [told] = mistakes(desk, "[organizations.acme]\nadmin_key = 'a'\n")
    assert told == (
        "organizations.acme.keys: wanted a directory with the key of each project in a "
        "file that is named by the project's id; found nothing"
    )


def test_a_folder_of_keys_is_enough_to_have_something_to_watch(desk):
    made = acme(desk, ACME)
    assert (made.name, made.kind, made.admin_key) == ("acme", "openai", None)
    assert made.keys == desk / "keys"  # beside the file that says it
    assert (made.include, made.exclude, made.list_interval) == (("*",), (), 300.0)


def test_what_it_says_of_sources_holds_for_each_project_and_defaults_do_too(desk):
    made = acme(
        desk,
        "[source_defaults]\nidle_interval = '2m'\npoll_interval = '1m'\n"
        "api_key = 'not for projects'\nwebhook_secret = 'nor this'\n"
        + ACME
        + "poll_interval = '30s'\norganization = 'org-1'\nbackfill = '30d'\n",
    )
    source = made.source("proj_a", key=Secret.of("sk-a"))
    assert (source.name, source.kind) == ("proj_a", "openai")
    assert (source.poll_interval, source.idle_interval) == (30.0, 120.0)
    assert source.settings.organization == "org-1"
    assert source.api_key.get() == "sk-a"
    assert source.webhook_secret is None
    assert made.source("proj_b", key=Secret.of("sk-b")).api_key.get() == "sk-b"


def test_the_admin_key_is_a_secret_like_all_others(desk):
    (desk / "admin").write_text("sk-admin-canary\n")
    settings = load(desk, ACME + 'admin_key_file = "admin"\n')
    assert settings.organizations["acme"].admin_key.get() == "sk-admin-canary"
    known = {text for one in settings.secrets() for text in one.known()}
    assert "sk-admin-canary" in known
    text = config.toml_text(config.redacted(settings))
    assert "canary" not in text
    shown = tomllib.loads(text)["organizations"]["acme"]
    assert shown["keys"] == str(desk / "keys")
    assert shown["list_interval"] == "5m"
    assert shown["poll_interval"] == "15s"
    assert "name" not in shown


def test_any_key_of_it_can_be_set_by_the_environment(desk):
    made = acme(
        desk,
        ACME,
        TUNEWATCH_ORGANIZATIONS__ACME__INCLUDE='["prod *"]',
        TUNEWATCH_ORGANIZATIONS__ACME__POLL_INTERVAL="9s",
    )
    assert made.include == ("prod *",)
    assert made.template.poll_interval == 9.0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[organizations.acme]\n", "organizations.acme.keys: wanted a directory"),
        ('[organizations.acme]\nkeys = "gone"\n', "found none at"),
        (ACME + "api_key = 'sk-canary'\n", "acme.api_key: there is no such key"),
        (ACME + "project = 'canary'\n", "acme.project: there is no such key"),
        (ACME + "poll_intervall = '1s'\n", "did you mean poll_interval?"),
        (ACME + "included = ['a']\n", "did you mean include?"),
        (ACME + "poll_interval = 'canary'\n", "acme.poll_interval: wanted a duration"),
        (ACME + "kind = 'opnai'\n", "organizations.acme.kind: there is no kind of"),
        ("[organisations.acme]\n", "did you mean organizations?"),
        ("[organizations]\nacme = 'x'\n", "wanted a table, as in [organizations.name]"),
    ],
)
def test_a_mistake_is_told_where_it_stands(desk, text, told):
    (found,) = [one for one in mistakes(desk, text) if not one.startswith("sources: ")]
    assert told in found
    assert "canary" not in found


def test_a_mistake_in_the_defaults_is_told_once_and_where_it_stands(desk):
    found = mistakes(desk, "[source_defaults]\npoll_interval = 'x'\n" + ACME)
    assert len(found) == 1
    assert found[0].startswith("source_defaults.poll_interval: wanted a duration")


def test_one_that_is_left_out_may_lack_everything(desk):
    text = "[organizations.acme]\nenabled = false\n[sources.a]\napi_key = 'k'\n"
    assert load(desk, text).organizations == {}


def test_filters_are_not_doubted_while_nobody_knows_the_projects(desk):
    text = ACME + "[plugins.prometheus]\nsources = ['proj_later']\n"
    assert load(desk, text).doubts == ()


def test_a_project_may_take_over_a_source_that_is_gone_and_no_other(desk):
    text = ACME + "renamed_from = { proj_a = 'research' }\n"
    assert load(desk, text).former == {"proj_a": "research"}
    (found,) = mistakes(desk, text + "[sources.research]\napi_key = 'k'\n")
    assert found.startswith("organizations.acme.renamed_from.proj_a: this former name")
