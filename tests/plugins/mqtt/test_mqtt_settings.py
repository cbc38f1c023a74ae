from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.certificates import issued
from support.mqtt_opening import settled
from support.program import Program

URL = "mqtts://broker.example"


def mistakes(table: dict[str, Any], environ: dict[str, str] | None = None) -> str:
    settings, told = settled(table, environ)
    assert settings is None
    text = "\n".join(told)
    assert "canary" not in text
    return text


def test_a_url_is_enough():
    settings, told = settled({"url": URL})
    assert told == []
    assert settings is not None
    assert settings.broker == ("broker.example", 8883, True)
    assert (settings.prefix, settings.protocol) == ("tunewatch", "5")
    assert not settings.home_assistant


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("mqtt://10.0.0.7", ("10.0.0.7", 1883, False)),
        ("mqtt://broker:2883/", ("broker", 2883, False)),
        ("mqtts://[::1]:1", ("::1", 1, True)),
    ],
)
def test_a_url_says_host_port_and_whether_there_is_tls(url: str, broker: object):
    settings, _ = settled({"url": url})
    assert settings is not None
    assert settings.broker == broker


@pytest.mark.parametrize(
    "url",
    [
        "broker.canary",
        "http://broker.canary",
        "mqtts://:8883",
        "mqtts://broker.canary/a",
        "mqtts://broker.canary?a=b",
        "mqtts://broker.canary:99999",
        "mqtts://[canary",
    ],
)
def test_a_url_that_leads_nowhere_is_refused_without_repeating_it(url: str):
    assert "plugins.bus.url: wanted mqtts://HOST:PORT" in mistakes({"url": url})


def test_a_password_in_the_url_is_refused_and_told_where_it_belongs():
    told = mistakes({"url": "mqtts://me:canary@broker"})
    assert "password_file" in told


def test_user_and_password_come_from_files_and_show_nowhere(tmp_path: Path):
    (tmp_path / "user").write_text("watch\n")
    (tmp_path / "password").write_text("canary\n")
    table = {
        "url": URL,
        "username_file": str(tmp_path / "user"),
        "password_file": str(tmp_path / "password"),
    }
    settings, told = settled(table)
    assert told == []
    assert settings is not None
    assert settings.password is not None
    assert settings.password.get() == "canary"
    assert "canary" not in repr(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"password": "canary"}, "a password is of no use without username"),
        ({"prefix": "a/#"}, "prefix: wanted levels without wildcards"),
        ({"discovery_prefix": "+"}, "discovery_prefix: wanted levels without"),
        ({"client_id": "a b"}, "client_id"),
        ({"protocol": "3"}, "protocol"),
        ({"window": "soon"}, "window: wanted a duration"),
        ({"max_jobs": 0}, "max_jobs"),
        ({"mode": "binary"}, 'mode is said of format = "cloudevents"'),
        ({"client_key": "canary"}, "of no use without client_cert"),
        ({"keepalive": "10ms"}, "keepalive: wanted 1s to 1h"),
        ({"qos": 2}, "qos: there is no such key"),
    ],
)
def test_a_mistake_is_told_by_its_key_and_never_repeated(
    table: dict[str, Any], told: str
):
    assert told in mistakes({"url": URL, **table})


def test_attributes_as_properties_take_the_version_that_has_properties():
    table = {"url": URL, "format": "cloudevents", "mode": "binary"}
    assert settled(table)[0] is not None
    assert 'wanted protocol = "5"' in mistakes({**table, "protocol": "3.1.1"})


def test_certificates_are_of_use_for_tls_only(tmp_path: Path):
    papers = issued(tmp_path, name="tunewatch")
    pem = papers.certificate.read_text() + papers.key.read_text()
    plain = {"url": "mqtt://broker"}
    told = mistakes({**plain, "client_cert": pem})
    assert "wanted an mqtts url" in told
    told = mistakes({**plain, "ca_file": str(papers.authority)})
    assert "wanted an mqtts url" in told
    told = mistakes({"url": URL, "ca_file": str(papers.key)})
    assert "ca_file: wanted certificates in PEM form" in told
    ours = {"url": URL, "ca_file": str(papers.authority), "client_cert": pem}
    assert settled(ours)[1] == []


def test_without_the_package_the_start_is_refused_and_told_what_to_install(
    tmp_path: Path,
):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = "import sys\nsys.modules['aiomqtt'] = None\n"  # as if it were not there
    (gone / "sitecustomize.py").write_text(script)
    program = Program(tmp_path, sites=(gone,))
    source = '[sources.a]\napi_key = "k"\nbase_url = "http://127.0.0.1:1/v1"\n'
    (tmp_path / "tunewatch.toml").write_text(
        f'{source}[plugins.mqtt]\nurl = "mqtt://127.0.0.1:1"\n'
    )
    done = program("--config", "tunewatch.toml", "run", "--once")
    assert done.code == 2
    assert "plugins.mqtt" in done.err
    assert "pip install 'tunewatch[mqtt]'" in done.err
    assert "Traceback" not in done.err
    # Who does not ask for it does without.
    (tmp_path / "tunewatch.toml").write_text(source)
    assert program("--config", "tunewatch.toml", "config").code == 0


def test_the_client_library_is_imported_when_it_is_opened_and_no_earlier(
    tmp_path: Path,
):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = "import atexit, sys\natexit.register(lambda: print([\n"
    script += " m for m in ('aiomqtt', 'paho') if m in sys.modules], file=sys.stderr))"
    (gone / "sitecustomize.py").write_text(script)
    program = Program(tmp_path, sites=(gone,))
    (tmp_path / "tunewatch.toml").write_text(
        '[sources.a]\napi_key = "k"\n[plugins.mqtt]\nurl = "mqtt://127.0.0.1:1"\n'
    )
    done = program("--config", "tunewatch.toml", "config")
    assert (done.code, done.err) == (0, "[]\n")
