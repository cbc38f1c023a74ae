"""Any key by environment: nested ones, names with dashes, lists and tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.kinds import plugin_model, source_model
from tunewatch import config
from tunewatch.config import ConfigError, Settings

FILE = """
[sources.team-a]
api_key = "k"
[sources.two__words]
api_key = "k"
[plugins.ops-hook]
kind = "webhook"
url = "https://hooks.example"
metadata = { Team = "a" }
"""


def load(directory: Path, text: str = FILE, **environ: str) -> Settings:
    path = directory / "tunewatch.toml"
    path.write_text(text)
    return config.load(
        path,
        {f"TUNEWATCH_{name}": value for name, value in environ.items()},
        source_model=source_model,
        plugin_model=plugin_model,
        interactive=False,
    )


def mistakes(directory: Path, text: str = FILE, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(directory, text, **environ)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_names_with_dashes_and_underscores_are_found(tmp_path):
    settings = load(
        tmp_path,
        SOURCES__TEAM_A__POLL_INTERVAL="7s",
        SOURCES__TWO__WORDS__POLL_INTERVAL="8s",
        PLUGINS__OPS_HOOK__DELIVERY__CONCURRENCY="3",
    )
    assert settings.sources["team-a"].poll_interval == 7
    assert settings.sources["two__words"].poll_interval == 8
    assert settings.plugins["ops-hook"].delivery.concurrency == 3


def test_lists_and_tables_are_written_as_toml(tmp_path):
    settings = load(
        tmp_path,
        PLUGINS__OPS_HOOK__SOURCES='["team-*", "two__words"]',
        PLUGINS__OPS_HOOK__DELIVERY='{ timeout = "2s", rate = 5 }',
        PLUGINS__OPS_HOOK__METADATA__TEAM="b",
    )
    plugin = settings.plugins["ops-hook"]
    assert plugin.sources == ("team-*", "two__words")
    assert (plugin.delivery.timeout, plugin.delivery.rate) == (2.0, 5.0)
    assert plugin.metadata == {"Team": "b"}


def test_a_list_that_is_not_written_so_is_a_mistake_that_names_the_variable(tmp_path):
    (found,) = mistakes(tmp_path, PLUGINS__OPS_HOOK__EVENTS="@status")
    assert "variable TUNEWATCH_PLUGINS__OPS_HOOK__EVENTS: plugins.ops-hook.ev" in found
    assert "@status" not in found


def test_what_no_file_says_can_be_said_by_the_environment_alone(tmp_path):
    settings = load(
        tmp_path,
        SOURCES__LATE__API_KEY="k",
        SOURCES__LATE__REQUESTS_PER_MINUTE="9",
        SOURCE_DEFAULTS__SETTLE_WINDOW="5m",
        DAEMON__LOG_LEVEL="debug",
    )
    assert settings.sources["late"].requests_per_minute == 9
    assert {one.settle_window for one in settings.sources.values()} == {300.0}
    assert settings.daemon.log_level == "debug"


def test_a_variable_that_may_mean_two_keys_is_a_mistake(tmp_path):
    text = FILE + '[sources.team_a]\napi_key = "k"\n'
    (found,) = mistakes(tmp_path, text, SOURCES__TEAM_A__ENABLED="false")
    assert found == (
        "environment variable TUNEWATCH_SOURCES__TEAM_A__ENABLED: sources.team-a: "
        "may mean team-a or team_a: set it in a file"
    )


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("DEAMON__LISTEN", "deamon: there is no such key; did you mean daemon?"),
        ("SOURCES__TEAM_A__POLL_INTERVALL", "did you mean poll_interval?"),
        ("PLUGINS__OPS_HOOK__DELIVERY__TIME_OUT", "did you mean timeout?"),
    ],
)
def test_a_misspelt_variable_is_told_with_what_was_meant(tmp_path, variable, meant):
    (found,) = mistakes(tmp_path, **{variable: "canary-value"})
    assert f"TUNEWATCH_{variable}: " in found
    assert meant in found
    assert "canary" not in found
