from __future__ import annotations

import sys

import pytest

from support.distribution import entry_points_in, write_package
from tunewatch import config, host
from tunewatch.settings import ConfigError, NoSuchKind

HELLO = """
from pydantic import BaseModel, ConfigDict
from tunewatch.plugin import Duration, Plugin, Secret

class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    greeting: str = "hello"
    every: Duration = 60.0
    token: Secret | None = None

def open_plugin(settings, context):
    raise NotImplementedError

PLUGIN = Plugin(settings=Settings, events=("@terminal",), open=open_plugin)
"""

GROUP = "tunewatch.plugins"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Install a package and return its entry points; names of modules are unique."""

    def install(name, entries, modules=None):
        made = write_package(tmp_path, name, {GROUP: entries}, modules)
        monkeypatch.syspath_prepend(str(made))
        return made

    before = set(sys.modules)
    yield install
    for module in set(sys.modules) - before:
        if module.startswith("stranger_"):
            del sys.modules[module]


@pytest.fixture
def hello(site):
    modules = {"stranger_hello": HELLO}
    return entry_points_in(site("hi", {"hello": "stranger_hello:PLUGIN"}, modules))


def settings_of(text, among, tmp_path, **environ):
    path = tmp_path / "tunewatch.toml"
    off = "".join(f"[plugins.{kind}]\nenabled=false\n" for kind in config_always_on())
    path.write_text(f"[sources.a]\napi_key='k'\n{off}{text}")
    return config.load(
        path,
        environ,
        source_model=lambda _kind: _NoKeys,
        plugin_model=lambda kind: host.load(kind, among=among).settings,
        interactive=False,
    )


def config_always_on():
    return ("best_checkpoint", "prometheus")


class _NoKeys(config.DeliverySettings):
    """A source without keys of its own."""


def test_a_plugin_is_found_by_its_entry_point(hello):
    plugin = host.load("hello", among=hello)
    assert plugin.events == ("@terminal",)
    assert host.kinds(among=hello) == ["hello"]


def test_nothing_is_imported_that_nobody_names(site):
    modules = {"stranger_loud": "raise SystemExit('imported')"}
    among = entry_points_in(site("loud", {"loud": "stranger_loud:PLUGIN"}, modules))
    assert host.kinds(among=among) == ["loud"]
    with pytest.raises(NoSuchKind, match="no plugin called 'nope'; installed: loud"):
        host.load("nope", among=among)
    assert "stranger_loud" not in sys.modules


def test_one_name_from_two_packages_is_refused(site):
    modules = {"stranger_hello": HELLO}
    first = site("one", {"hello": "stranger_hello:PLUGIN"}, modules)
    second = site("two", {"hello": "stranger_hello:PLUGIN"}, modules)
    with pytest.raises(NoSuchKind, match="more than one package: one, two; uninstall"):
        host.load("hello", among=entry_points_in(first, second))


def test_one_package_seen_twice_is_no_conflict(hello):
    twice = type(hello)([*hello, *hello])
    assert host.load("hello", among=twice).events == ("@terminal",)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import package_that_is_absent", "not installed: package_that_is_absent"),
        ("", "points at stranger_bad:PLUGIN, which does not exist"),
        ("PLUGIN = 3", "which is a int and not a tunewatch.plugin.Plugin"),
        ("from os import nonsense", "cannot be imported: cannot import name"),
    ],
)
def test_a_plugin_that_cannot_be_used_says_why(site, source, told):
    modules = {"stranger_bad": source}
    among = entry_points_in(site("bad", {"bad": "stranger_bad:PLUGIN"}, modules))
    with pytest.raises(NoSuchKind) as caught:
        host.load("bad", among=among)
    assert told in str(caught.value)


def test_an_instance_is_what_the_table_says_over_what_the_plugin_says(hello, tmp_path):
    settings = settings_of(
        "[plugins.first]\nkind='hello'\n"
        "[plugins.second]\nkind='hello'\ngreeting='hi'\nevents=['*']\n"
        "sources=['re*']\nmetadata={team='a'}\n"
        "delivery={timeout='2s', concurrency=2, max_age='1d', rate=5}\n",
        hello,
        tmp_path,
    )
    first, second = host.instances(settings, among=hello)
    assert (first.name, first.kind, first.events) == ("first", "hello", ("@terminal",))
    assert (first.timeout, first.concurrency, first.rate) == (15.0, 8, None)
    assert second.events == ("*",)
    assert second.sources == ("re*",)
    assert second.metadata == {"team": "a"}
    assert (second.timeout, second.concurrency) == (2.0, 2)
    assert (second.max_age, second.rate) == (86400.0, 5.0)
    assert second.settings.greeting == "hi"


def test_the_digest_changes_with_settings_and_secrets_and_tells_neither(
    hello, tmp_path
):
    def digest(text, **environ):
        made = settings_of(f"[plugins.hello]\n{text}", hello, tmp_path, **environ)
        return host.instances(made, among=hello)[0].digest

    plain = digest("")
    assert digest("greeting='hello'") == plain
    assert digest("greeting='hi'") != plain
    first = digest("token_env='T'", T="canary-1")
    assert first != digest("token_env='T'", T="canary-2")
    assert "canary" not in first


def test_mistakes_in_a_strangers_settings_name_the_closest_key(hello, tmp_path):
    with pytest.raises(ConfigError) as caught:
        settings_of(
            "[plugins.hello]\ngreting='hi'\nevery='x'\nevent=['*']\n", hello, tmp_path
        )
    told = str(caught.value)
    assert "plugins.hello.greting: there is no such key; did you mean greeting?" in told
    assert "plugins.hello.event: there is no such key; did you mean events?" in told
    assert "plugins.hello.every: wanted a duration" in told
