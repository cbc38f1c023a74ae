from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path

import pytest

from support.kinds import plugin_model, source_model
from tunewatch import config
from tunewatch.config import ConfigError, Settings

KEY = "sk-canary-5f0c1b7e9a"
SOURCE = '[sources.research]\napi_key_env = "KEY"\n'


class Desk:
    """A directory to write configurations in, and a way to load them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environ = {"KEY": KEY, "HOME": str(directory)}
        self.system_file = directory / "etc" / "tunewatch.toml"

    def write(self, text: str, name: str = "tunewatch.toml") -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def load(
        self, path: Path | None = None, *, interactive: bool = False, **environ: str
    ) -> Settings:
        return config.load(
            path,
            {**self.environ, **environ},
            source_model=source_model,
            plugin_model=plugin_model,
            interactive=interactive,
            directory=self.directory,
            system_file=self.system_file,
        )

    def mistakes(self, text: str, **environ: str) -> list[str]:
        """Return what is wrong with a text, without the file's name."""
        path = self.write(text)
        with pytest.raises(ConfigError) as caught:
            self.load(path, **environ)
        message = str(caught.value)
        assert KEY not in message
        return [
            str(mistake).removeprefix(f"{path}: ") for mistake in caught.value.mistakes
        ]


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_a_source_with_a_key_is_enough(desk):
    settings = desk.load(desk.write(SOURCE))
    research = settings.sources["research"]
    assert (research.kind, research.name) == ("openai", "research")
    assert (research.poll_interval, research.idle_interval) == (15.0, 60.0)
    assert (research.settle_window, research.requests_per_minute) == (90.0, 120)
    assert research.api_key is not None
    assert research.api_key.get() == KEY
    assert research.settings is not None
    assert settings.daemon.listen == ("127.0.0.1", 9478)
    assert settings.daemon.retention == 90 * 86400
    assert list(settings.plugins) == ["best_checkpoint", "prometheus"]


def test_the_file_that_was_asked_for_must_exist(desk):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: wanted a config"):
        desk.load(desk.directory / "nowhere.toml")
    with pytest.raises(ConfigError, match=r"elsewhere\.toml"):
        desk.load(TUNEWATCH_CONFIG=str(desk.directory / "elsewhere.toml"))


def test_the_command_line_wins_over_the_environment(desk):
    asked = desk.write(SOURCE.replace("research", "asked"), "asked.toml")
    named = desk.write(SOURCE.replace("research", "named"), "named.toml")
    assert list(desk.load(asked, TUNEWATCH_CONFIG=str(named)).sources) == ["asked"]
    assert list(desk.load(TUNEWATCH_CONFIG=str(named)).sources) == ["named"]


def test_the_file_here_counts_only_in_a_terminal(desk):
    desk.write(SOURCE.replace("research", "here"))
    desk.write(SOURCE.replace("research", "system"), "etc/tunewatch.toml")
    assert list(desk.load(interactive=True).sources) == ["here"]
    assert list(desk.load(interactive=False).sources) == ["system"]


def test_files_in_conf_d_are_read_beside_the_main_one(desk):
    path = desk.write(SOURCE)
    desk.write("[daemon]\nlog_level = 'debug'\n", "conf.d/10-log.toml")
    desk.write("[sources.research]\nbackfill = 'all'\n", "conf.d/20-more.toml")
    settings = desk.load(path)
    assert settings.daemon.log_level == "debug"
    assert settings.sources["research"].backfill == math.inf
    assert [Path(file).name for file in settings.files] == [
        "tunewatch.toml",
        "10-log.toml",
        "20-more.toml",
    ]


def test_a_key_given_in_two_files_is_a_mistake_that_names_both(desk):
    path = desk.write(SOURCE)
    second = desk.write("[sources.research]\napi_key_env='KEY'\n", "conf.d/a.toml")
    with pytest.raises(ConfigError) as caught:
        desk.load(path)
    (mistake,) = caught.value.mistakes
    assert mistake.where == str(second)
    assert mistake.key == "sources.research.api_key_env"
    assert str(path) in mistake.text


def test_every_mistake_of_every_file_is_told_at_once(desk):
    desk.write("[daemon]\nlisten = 'nowhere'\n[plugin.ops]\n", "conf.d/a.toml")
    desk.write("this is not TOML", "conf.d/b.toml")
    found = desk.mistakes(
        SOURCE + "poll_intervall = '5s'\nrequests_per_minute = 0\n"
        "[plugins.ops]\nkind = 'webhook'\n[plugins.nope]\n[daemon]\nretention='soon'\n"
    )
    told = "\n".join(found)
    assert len(found) == 8
    assert "sources.research.poll_intervall: there is no such key" in told
    assert "did you mean poll_interval?" in told
    assert "sources.research.requests_per_minute: wanted greater than" in told
    assert "plugins.ops.url: wanted this secret, as url or one of url_file" in told
    assert "plugins.nope: there is no plugin called 'nope'" in told
    assert "daemon.retention: wanted a duration such as 200ms" in told
    assert "daemon.listen: wanted an address such as 127.0.0.1:9478" in told
    assert "plugin: there is no such key; did you mean plugins?" in told
    assert "b.toml: wanted TOML; found a mistake in it" in told


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("poll_interval = 'VALUE'", "sources.research.poll_interval"),
        ("requests_per_minute = 'VALUE'", "sources.research.requests_per_minute"),
        ("backfill = 'VALUE'", "sources.research.backfill"),
        ("base_url = ['VALUE']", "sources.research.base_url"),
        ("[daemon]\nlog_level = 'VALUE'", "daemon.log_level"),
        ("[daemon]\nstate = 'mysql://u:VALUE@h/d'", "daemon.state"),
        ("[daemon]\nlisten = 'VALUE'", "daemon.listen"),
        ("[plugins.webhook]\nurl='VALUE'\nformat='VALUE'", "plugins.webhook.format"),
        ("[plugins.webhook]\nurl={a='VALUE'}", "plugins.webhook.url"),
        ("[plugins.webhook]\ndelivery='VALUE'\nurl='a'", "plugins.webhook.delivery"),
    ],
)
def test_a_mistake_never_repeats_a_value(desk, text, key):
    found = desk.mistakes(SOURCE + text.replace("VALUE", "canary-58b1"))
    assert [mistake.partition(": ")[0] for mistake in found] == [key]
    assert "canary-58b1" not in "".join(found)


def test_a_syntax_error_says_where_and_not_what(desk):
    (found,) = desk.mistakes(SOURCE + 'api_key = "canary-58b1\n')
    assert "line 3" in found
    assert "canary-58b1" not in found


def test_the_environment_sets_any_key_and_wins(desk):
    path = desk.write(SOURCE + "[plugins.ops-hook]\nkind='webhook'\nurl='https://a'\n")
    settings = desk.load(
        path,
        TUNEWATCH_DAEMON__LISTEN="127.0.0.2:0",
        TUNEWATCH_SOURCES__RESEARCH__REQUESTS_PER_MINUTE="7",
        TUNEWATCH_PLUGINS__OPS_HOOK__EVENTS='["@status"]',
        TUNEWATCH_PLUGINS__OPS_HOOK__DELIVERY__TIMEOUT="2s",
        TUNEWATCH_PLUGINS__PROMETHEUS__ENABLED="false",
        TUNEWATCH_PORT="tcp://10.0.0.1:9478",
    )
    assert settings.daemon.listen == ("127.0.0.2", 0)
    assert settings.sources["research"].requests_per_minute == 7
    assert settings.plugins["ops-hook"].events == ("@status",)
    assert settings.plugins["ops-hook"].delivery.timeout == 2.0
    assert "prometheus" not in settings.plugins


def test_a_mistake_in_the_environment_names_the_variable(desk):
    (found,) = desk.mistakes(SOURCE, TUNEWATCH_DAEMON__LISTN="x")
    assert found == (
        "environment variable TUNEWATCH_DAEMON__LISTN: daemon.listn: there is no such "
        "key; did you mean listen?"
    )


def test_a_secret_from_the_environment_replaces_the_files_way_to_give_it(desk):
    path = desk.write("[sources.research]\napi_key_file = '/nowhere'\n")
    settings = desk.load(path, TUNEWATCH_SOURCES__RESEARCH__API_KEY_ENV="KEY")
    assert settings.sources["research"].api_key.get() == KEY


def test_defaults_of_sources_are_taken_by_the_kinds_that_know_them(desk):
    settings = desk.load(
        desk.write(
            "[source_defaults]\napi_key_env='KEY'\npoll_interval='5s'\n"
            "api_version='v2'\n[sources.a]\n"
            "[sources.b]\nkind='azure'\nendpoint='https://x'\npoll_interval='7s'\n"
        )
    )
    assert settings.sources["a"].poll_interval == 5.0
    assert settings.sources["b"].poll_interval == 7.0
    assert settings.sources["b"].settings.api_version == "v2"


def test_a_mistake_in_the_defaults_is_told_once_and_where_it_stands(desk):
    found = desk.mistakes(
        "[source_defaults]\napi_key_env='KEY'\npoll_interval='x'\nidle='1s'\n"
        "[sources.a]\n[sources.b]\n"
    )
    assert len(found) == 2
    assert found[0].startswith("source_defaults.poll_interval: wanted a duration")
    assert "source_defaults.idle: there is no such key" in found[1]


def test_a_source_without_a_key_is_a_mistake_unless_its_kind_needs_none(desk):
    (found,) = desk.mistakes("[sources.a]\n[sources.b]\nkind='file'\npath='x'\n")
    assert found.startswith("sources.a.api_key: wanted the key of the source")


def test_a_source_or_plugin_that_is_left_out_needs_no_secrets(desk):
    settings = desk.load(
        desk.write(
            SOURCE + "[sources.old]\nenabled=false\napi_key_file='/nowhere'\n"
            "[plugins.nope]\nenabled=false\n[plugins.best_checkpoint]\nenabled=false\n"
        )
    )
    assert list(settings.sources) == ["research"]
    assert list(settings.plugins) == ["prometheus"]


def test_one_of_an_always_on_kind_is_enough(desk):
    path = desk.write(SOURCE + "[plugins.metrics]\nkind='prometheus'\nwindow='2h'\n")
    settings = desk.load(path)
    assert sorted(settings.plugins) == ["best_checkpoint", "metrics"]
    assert settings.plugins["metrics"].settings.window == 7200.0


def test_without_any_file_the_key_of_the_environment_is_enough(desk):
    state = desk.directory / "state"
    settings = desk.load(OPENAI_API_KEY=KEY, XDG_STATE_HOME=str(state))
    assert list(settings.sources) == ["openai"]
    assert settings.sources["openai"].api_key.get() == KEY
    assert settings.daemon.state == f"sqlite:///{state}/tunewatch/state.db"


@pytest.mark.parametrize(
    "sign", ["INVOCATION_ID", "NOTIFY_SOCKET", "KUBERNETES_SERVICE_HOST"]
)
def test_a_service_does_not_start_on_a_stray_key(desk, sign):
    with pytest.raises(ConfigError, match="tunewatch config --example"):
        desk.load(OPENAI_API_KEY=KEY, **{sign: "x"})


def test_a_container_can_be_configured_by_the_environment_alone(desk):
    settings = desk.load(
        KUBERNETES_SERVICE_HOST="10.0.0.1",
        TUNEWATCH_SOURCES__RESEARCH__API_KEY_ENV="KEY",
        STATE_DIRECTORY="/var/lib/x:/var/lib/y",
    )
    assert list(settings.sources) == ["research"]
    assert settings.daemon.state == "sqlite:////var/lib/x/state.db"


def test_a_password_in_the_url_of_the_store_is_taken_apart(desk):
    text = (
        SOURCE + "[daemon]\nstate='postgresql://tw:p%40ss-canary@db:5433/t?sslmode=x'"
    )
    daemon = desk.load(desk.write(text)).daemon
    assert daemon.state == "postgresql://tw@db:5433/t?sslmode=x"
    assert daemon.password is not None
    assert daemon.password.get() == "p@ss-canary"
    assert "canary" not in repr(daemon)


@pytest.mark.parametrize("servers", ["one,two", "one:5432,[::1]:5433", "10.0.0.1:1,b"])
def test_a_state_may_be_on_several_servers(desk, servers):
    rest = f"{servers}/t?target_session_attrs=read-write"
    text = SOURCE + f"[daemon]\nstate='postgresql://tw:pw-canary@{rest}'"
    daemon = desk.load(desk.write(text)).daemon
    assert daemon.state == f"postgresql://tw@{rest}"
    assert daemon.password is not None


def test_each_of_several_servers_has_a_port_or_none(desk):
    (found,) = desk.mistakes(SOURCE + "[daemon]\nstate='postgresql://tw@a:1,b:x/t'")
    assert found.startswith("daemon.state: ")


def test_names_that_could_not_be_labels_or_paths_are_refused(desk):
    (found,) = desk.mistakes(SOURCE + "[plugins.'../etc']\nkind='webhook'\n")
    assert found.startswith('plugins."../etc": wanted a name of up to 64 letters')


def test_a_group_of_events_that_does_not_exist_is_a_mistake(desk):
    (found,) = desk.mistakes(SOURCE + "[plugins.prometheus]\nevents=['@all']\n")
    assert "groups are @status, @terminal" in found


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ("@terminals", "did you mean @terminal?"),
        ("tunewatch.job.setled", "did you mean tunewatch.job.settled?"),
        ("tunewatch.jobs.*", "did you mean tunewatch.job."),
        ("job.succeeded", "no event type is or matches 'job.succeeded'"),
    ],
)
def test_events_that_could_never_come_are_a_mistake(desk, events, told):
    (found,) = desk.mistakes(SOURCE + f"[plugins.prometheus]\nevents=['{events}']\n")
    assert found.startswith("plugins.prometheus.events: ")
    assert told in found


@pytest.mark.parametrize(
    "events", ["fine_tuning.job.of_tomorrow", "*", "*.paused", "tunewatch.*", "@source"]
)
def test_events_that_may_come_one_day_are_none(desk, events):
    path = desk.write(SOURCE + f"[plugins.prometheus]\nevents=['{events}']\n")
    assert desk.load(path).plugins["prometheus"].events == (events,)


def test_a_filter_that_lets_no_source_through_is_doubted_and_no_mistake(desk):
    path = desk.write(
        SOURCE + "[sources.off]\nenabled=false\n"
        "[plugins.prometheus]\nsources=['reserch', 'res*', 'off', 'team-*']\n"
    )
    first, second = desk.load(path).doubts
    assert (first.where, first.key) == (str(path), "plugins.prometheus.sources[0]")
    assert first.text == "no source is or matches 'reserch'; did you mean research?"
    assert second.text == "no source is or matches 'team-*'; known are research, off"


@pytest.mark.parametrize(
    ("former", "told"),
    [
        ({"a": "b"}, "belongs to a source that is configured"),
        ({"a": "a"}, "in a circle"),
        ({"a": "b", "b": "c", "c": "a"}, "in a circle"),
        ({"a": "old", "b": "old"}, "two sources cannot have the same former name"),
    ],
)
def test_former_names_that_cannot_be_are_mistakes(desk, former, told):
    tables = (
        f"[sources.{name}]\napi_key='k'\n"
        + (f"renamed_from='{former[name]}'\n" if name in former else "")
        for name in "abc"
    )
    found = desk.mistakes("".join(tables))
    assert [one.partition(": ")[0] for one in found] == [
        f"sources.{name}.renamed_from" for name in former
    ]
    assert all(told in one for one in found)


def test_a_name_may_be_given_on_when_its_source_has_another(desk):
    text = "[sources.c]\napi_key='k'\nrenamed_from='b'\n"
    text += "[sources.b]\napi_key='k'\nrenamed_from='a'\n"
    assert list(desk.load(desk.write(text)).sources) == ["c", "b"]


def test_a_plugin_of_a_name_that_is_no_kind_is_told_how_to_say_what_it_is(desk):
    (found,) = desk.mistakes(SOURCE + "[plugins.ops]\nurl='https://x'\n")
    assert 'as kind = "webhook"' in found


def test_a_directory_of_further_files_that_is_a_file_is_left_alone(desk):
    path = desk.write(SOURCE)
    desk.write("not ours", "conf.d")
    assert desk.load(path).files == (str(path),)


def test_only_toml_files_in_it_are_read(desk):
    path = desk.write(SOURCE)
    desk.write("no TOML", "conf.d/notes.txt")
    desk.write("no TOML", "conf.d/10-log.toml.bak")
    assert desk.load(path).files == (str(path),)


def test_readers_of_the_store_need_no_key_and_no_plugin(desk):
    path = desk.write(
        "[daemon]\nstate='sqlite:////x/y.db'\napi_token_file='/nowhere'\n"
        "[sources.a]\napi_key_file='/nowhere'\n[plugins.nope]\n"
    )
    daemon = config.load_daemon(path, {}, interactive=False)
    assert daemon.state == "sqlite:////x/y.db"


def test_the_annotated_example_is_valid_and_says_the_defaults(desk):
    text = config.annotated_example(
        source_model, plugin_model, plugin_kinds=["webhook", "wandb"]
    )
    settings = desk.load(desk.write(text), OPENAI_API_KEY=KEY)
    bare = desk.load(desk.write(SOURCE, "bare.toml"))
    written, default = settings.sources["research"], bare.sources["research"]
    assert written.model_dump(exclude={"api_key"}) == default.model_dump(
        exclude={"api_key"}
    )
    assert settings.plugins == bare.plugins
    assert "#[plugins.webhook]" in text
    assert "wandb" not in text


def test_the_annotated_example_is_valid_with_everything_turned_on(desk):
    text = config.annotated_example(
        source_model, plugin_model, plugin_kinds=["webhook"]
    )
    lines = [
        line[1:] if line.startswith("#") and not line.startswith("# ") else line
        for line in text.splitlines()
    ]
    secret = desk.write("whsec_x", "secret")
    turned_on = "\n".join(lines)
    for file in ("tunewatch-database", "tunewatch-api-token", "hook-url", "openai-ad"):
        turned_on = re.sub(rf"/run/secrets/{file}[\w-]*", str(secret), turned_on)
    turned_on = turned_on.replace("/etc/tunewatch/keys", str(desk.directory))
    settings = desk.load(
        desk.write(turned_on), OPENAI_API_KEY=KEY, OPENAI_WEBHOOK_SECRET="whsec_y"
    )
    assert settings.sources["research"].realm is not None
    assert settings.plugins["webhook"].settings.url.get() == "whsec_x"


def test_every_setting_says_what_it_means():
    models = (
        config.DaemonSettings,
        config.SourceSettings,
        config.PluginSettings,
        config.DeliverySettings,
    )
    for model in models:
        for name, info in model.model_fields.items():
            if name not in ("name", "settings"):
                told = info.description or "" if name != "kind" else "What it is."
                assert told.endswith("."), f"{model.__name__}.{name}"


def test_the_redacted_settings_show_all_but_secrets(desk):
    path = desk.write(
        SOURCE + "base_url='https://user:hunter-canary@api/v1?key=canary'\n"
        "backfill='30d'\n[plugins.ops]\nkind='webhook'\ntoken='tok-canary'\n"
        "url='https://hooks/canary'\n[daemon]\nstate='postgresql://u:canary@h/d'\n"
    )
    text = config.toml_text(config.redacted(desk.load(path)))
    shown = tomllib.loads(text)
    assert "canary" not in text
    assert shown["sources"]["research"]["backfill"] == "30d"
    assert shown["sources"]["research"]["base_url"] == "https://user:***@api/v1?***"
    assert shown["sources"]["research"]["api_key"] == "*** (environment variable KEY)"
    assert shown["plugins"]["ops"]["url"].startswith("***")
    assert shown["plugins"]["ops"]["delivery"]["max_age"] == "7d"
    assert shown["daemon"]["state"] == "postgresql://u@h/d"


def test_all_secrets_are_known_to_whoever_must_hide_them(desk):
    path = desk.write(
        SOURCE + "[plugins.ops]\nkind='webhook'\ntoken='tok-1'\nurl='https://hooks'\n"
        "[daemon]\nstate='postgresql://u:pw-1@h/d'\n"
    )
    known = {text for secret in desk.load(path).secrets() for text in secret.known()}
    assert {KEY, "tok-1", "https://hooks", "pw-1"} <= known
