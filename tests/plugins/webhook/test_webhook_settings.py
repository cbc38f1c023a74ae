from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.certificates import issued
from support.webhook_opening import OTHER_SECRET, SECRET, settled
from tunewatch_plugins.webhook import PLUGIN

URL = "https://hooks.example/services/T0000CANARY/B0000CANARY?token=canary-token"
LEAST = {"url": URL, "secret": SECRET}


def mistakes(table: dict[str, Any], environ: dict[str, str] | None = None) -> str:
    settings, told = settled(table, environ)
    assert settings is None
    text = "\n".join(told)
    assert "CANARY" not in text
    assert "canary" not in text
    return text


def test_a_url_and_a_secret_are_enough():
    settings, told = settled(LEAST)
    assert told == []
    assert settings is not None
    assert PLUGIN.events == ("@terminal", "@selection")
    assert settings.targets(print).current().host == "hooks.example"
    assert len(settings.keyrings(print).current().keys) == 1


def test_neither_the_url_nor_the_secret_is_in_any_text_of_the_settings():
    settings, _ = settled(LEAST)
    assert settings is not None
    read = [settings.targets(print), settings.keyrings(print)]
    shown = [settings, *read, *(kept.current() for kept in read)]
    text = "".join(map(repr, shown)) + str(settings) + settings.model_dump_json()
    assert "CANARY" not in text
    assert "canary" not in text
    assert SECRET.removeprefix("whsec_") not in text


def test_without_a_secret_the_start_is_refused_and_told_how_to_make_one():
    told = mistakes({"url": URL})
    assert "plugins.ops.secret: a webhook is signed or not sent" in told
    assert "`tunewatch secret`" in told
    assert "secret_file" in told


def test_without_a_url_the_start_is_refused():
    assert "plugins.ops.url: wanted this secret" in mistakes({"secret": SECRET})


def test_both_may_be_kept_in_files_variables_and_credentials(tmp_path: Path):
    (tmp_path / "url").write_text(URL + "\n")
    (tmp_path / "secret").write_text(f"{SECRET}\n{OTHER_SECRET}\n")
    environ = {"HOOK": URL, "KEY": SECRET, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    files = {name: str(tmp_path / name) for name in ("url", "secret")}
    for table, keys in [
        ({"url_file": files["url"], "secret_file": files["secret"]}, 2),
        ({"url_env": "HOOK", "secret_env": "KEY"}, 1),
        ({"url_credential": "url", "secret_credential": "secret"}, 2),
        ({"url_file": "url", "secret_file": "secret"}, 2),
        ({"url": URL, "secret": [SECRET, OTHER_SECRET]}, 2),
    ]:
        settings, told = settled(table, environ)
        assert settings is not None, told
        assert str(settings.targets(print).current().url) == URL
        assert len(settings.keyrings(print).current().keys) == keys


def test_every_mistake_is_told_at_once_and_none_repeats_a_value():
    told = mistakes(
        {
            "url": "ftp://canary@hooks.example/CANARY",
            "secret": "whsec_CANARY",
            "format": "canary",
            "allow_hosts": ["https://hooks.example/CANARY"],
            "ca_file": "/nonexistent",
            "secrets": "whsec_CANARY",
        }
    )
    for key in ("url", "secret", "format", "allow_hosts", "ca_file", "secrets"):
        assert f"plugins.ops.{key}: " in told


def test_a_format_that_is_none_is_told_which_there_are():
    told = mistakes({**LEAST, "format": "slak"})
    assert "plugins.ops.format: " in told
    assert "(standard, cloudevents, slack, discord, teams)" in told


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("", "a string that is not empty"),
        ("hooks.example/CANARY", "begins with https://"),
        ("ftp://hooks.example/CANARY", "begins with https://"),
        ("file:///etc/CANARY", "begins with https://"),
        ("https:///CANARY", "with a host"),
        ("https://hooks.example:0/CANARY", "with a host"),
        ("https://hooks.example:99999/CANARY", "something that is none"),
        ("https://[::1/CANARY", "something that is none"),
        ("https://me:CANARY@hooks.example/", "without user name and password"),
        ("https://CANARY@hooks.example/", "without user name and password"),
        ("https://a.example/CANARY https://b.example/CANARY", "wanted one URL"),
        ("https://hooks.example/" + "CANARY" * 1000, "at most 4096 characters"),
        ("http://hooks.example/CANARY", 'use https, or add allow_hosts = ["hooks.ex'),
        ("http://localhost:8080/CANARY", 'or add allow_hosts = ["localhost"]'),
        ("https://localhost/CANARY", 'add allow_hosts = ["localhost"]'),
        ("https://127.0.0.1/CANARY", 'add allow_hosts = ["127.0.0.1"]'),
        ("https://[::1]/CANARY", 'add allow_hosts = ["::1"]'),
        ("https://10.1.2.3/CANARY", 'add allow_hosts = ["10.1.2.3"]'),
        ("https://169.254.169.254/latest/CANARY", "whatever allow_hosts says"),
        ("https://[fd00:ec2::254]/latest/CANARY", "whatever allow_hosts says"),
    ],
)
def test_a_url_that_cannot_be_right_is_refused_at_the_start(url: str, wanted: str):
    told = mistakes({**LEAST, "url": url})
    assert wanted in told
    assert told.startswith("a.toml: plugins.ops.url: ")


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("http://localhost:8080/x", "localhost"),
        ("http://127.0.0.1:8080/x", "localhost"),
        ("http://[::1]:8080/x", "localhost"),
        ("https://localhost/x", "localhost"),
        ("http://10.1.2.3/x", "10.0.0.0/8"),
        ("http://[fd12::1]/x", "fd00::/8"),
        ("http://hooks.internal/x", "hooks.internal"),
        ("http://hooks.internal./x", "hooks.internal"),
        ("http://HOOKS.internal/x", "Hooks.Internal"),
        ("http://a.b.svc.cluster.local/x", "*.svc.cluster.local"),
        ("http://hooks.internal/x", "10.0.0.0/8"),  # judged when it is dialled
        ("https://bücher.example/x", "other.example"),
    ],
)
def test_the_entry_that_a_refusal_names_is_enough(url: str, entry: str):
    settings, told = settled({**LEAST, "url": url, "allow_hosts": [entry]})
    assert told == []
    assert settings is not None


def test_a_file_of_authorities_must_hold_some(tmp_path: Path):
    papers = issued(tmp_path, name="localhost")
    settings, told = settled({**LEAST, "ca_file": str(papers.authority)})
    assert settings is not None, told
    (tmp_path / "empty.pem").write_text("nothing here\n")
    for path in (tmp_path / "empty.pem", tmp_path / "absent.pem", tmp_path):
        assert "plugins.ops.ca_file: wanted certificates in PEM form" in mistakes(
            {**LEAST, "ca_file": str(path)}
        )
