"""`tunewatch check` finds the mistakes that are made most, and says what to do.

Each is made as a person would make it, one at a time in a set-up that works.
"""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.certificates import Authority
from support.simulated import serving_in_thread
from support.web_files import hashed, tls_of, write
from tunewatch.cli.main import main
from tunewatch.testing import SimulatedApi

KEY = "sk-canary-7f21"
HOOK = "https://hooks.example.com/x"
SECRET = "whsec_" + "YQ" * 16
HASHED = hashed("made up for tests")


@dataclass(slots=True)
class SetUp:
    """A set-up that works, for a mistake to be made in."""

    directory: Path
    api: str
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    daemon: list[str] = field(default_factory=list)
    state: str = ""
    listen: str = "127.0.0.1:0"
    key: str = 'api_key_env = "KEY"'
    source: list[str] = field(default_factory=list)
    url: str = ""
    tables: str = ""
    environ: dict[str, str] = field(default_factory=lambda: {"KEY": KEY})
    mode: int = 0o600

    def check(self) -> tuple[int, str]:
        """Run `tunewatch check`; return its exit code and all that it said."""
        state = self.state or f"sqlite:///{self.directory}/state.db"
        head = [f'state = "{state}"', f'listen = "{self.listen}"', *self.daemon]
        own = [self.key, f'base_url = "{self.url or self.api}"', *self.source]
        tables = ["[daemon]", *head, "[sources.research]", *own, self.tables]
        path = self.directory / "tunewatch.toml"
        path.write_text("\n".join(tables) + "\n")
        path.chmod(self.mode)
        self.patch.delenv("KEY", raising=False)
        for name, value in {"TUNEWATCH_CONFIG": str(path), **self.environ}.items():
            self.patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(["check"])
        said = "".join(self.capture.readouterr())
        assert KEY not in said
        return ended.value.code, said


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    """Lend an API that knows the key."""
    simulated = SimulatedApi()
    simulated.add_key(KEY)
    with serving_in_thread(simulated) as url:
        yield url


@pytest.fixture
def set_up(tmp_path: Path, api: str, monkeypatch, capsys) -> SetUp:
    return SetUp(tmp_path, api, monkeypatch, capsys)


def webhook(name: str = "ops", **keys: str) -> str:
    given = {"kind": "webhook", "url": HOOK, "secret": SECRET, **keys}
    lines = [f'{key} = "{value}"' for key, value in given.items() if value]
    return "\n".join([f"[plugins.{name}]", *lines])


def test_without_a_mistake_nothing_is_noted(set_up):
    set_up.tables = webhook()
    code, said = set_up.check()
    assert code == 0, said
    assert {line.split()[0] for line in said.splitlines()} == {"ok"}


def test_what_is_right_with_tls_and_passwords_is_summed_up(set_up):
    by_tls(set_up, min_version="TLS13")
    code, said = set_up.check()
    assert code == 0, said
    assert "ok      web configuration: " in said
    assert "web.yml, TLS from TLS13 on, 0 users with a password" in said
    assert "certificate.pem: holds until 20" in said


def file_with(set_up: SetUp, text: str, mode: int = 0o600) -> Path:
    path = set_up.directory / "kept"
    path.write_text(text)
    path.chmod(mode)
    return path


@contextmanager
def in_use() -> Iterator[str]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield f"127.0.0.1:{other.getsockname()[1]}"


def web(it: SetUp, mode: int = 0o600, **sections: object) -> None:
    """Serve by a web configuration file."""
    path = write(it.directory / "web.yml", **sections)
    path.chmod(mode)
    it.daemon.append(f'web_config_file = "{path}"')


def by_tls(
    it: SetUp,
    *,
    key: str = "key.pem",
    mode: int = 0o600,
    ends: dt.datetime | None = None,
    **more: str,
) -> None:
    """Serve by TLS."""
    authority = Authority.founded(it.directory / "authority")
    authority.issue("localhost", stem="other-")
    papers = authority.issue("localhost", ends=ends)
    papers.key.chmod(mode)
    named = {**tls_of(papers, **more), "key_file": str(papers.key.parent / key)}
    web(it, tls_server_config=named)


def ago(**so_long: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) - dt.timedelta(**so_long)


# What is done wrong, the exit code, and what must be said: where, and what to do.
Mistaken = tuple[Callable[[SetUp], None], int, tuple[str, ...]]
MISTAKES: dict[str, Mistaken] = {
    "the variable with the key is not set": (
        lambda it: it.environ.pop("KEY"),
        2,
        ("api_key_env", "KEY", "not set"),
    ),
    "the file with the key is not there": (
        lambda it: setattr(it, "key", 'api_key_file = "/nowhere/key"'),
        2,
        ("api_key_file", "/nowhere/key", "no such file"),
    ),
    "every user can read the key": (
        lambda it: setattr(
            it, "key", f'api_key_file = "{file_with(it, KEY, mode=0o644)}"'
        ),
        0,
        ("note", "kept", "chmod o-rwx"),
    ),
    "the key stands in a file that everybody reads": (
        lambda it: (setattr(it, "key", f'api_key = "{KEY}"'), setattr(it, "mode", 420)),
        0,
        ("note", "tunewatch.toml", "chmod o-rwx"),
    ),
    "the key was copied with its quotes": (
        lambda it: it.environ.update(KEY=f"'{KEY}'"),
        69,
        ("research.api_key", "quotes"),
    ),
    "the key is another one": (
        lambda it: it.environ.update(KEY="sk-other"),
        69,
        ("source research", "401", "check the key"),
    ),
    "the same key twice": (
        lambda it: setattr(
            it,
            "tables",
            f'[sources.again]\napi_key_env = "KEY"\nbase_url = "{it.api}"',
        ),
        0,
        ("sources.again", "has the key of research"),
    ),
    "the address has no /v1": (
        lambda it: setattr(it, "url", it.api.removesuffix("/v1") + "/v2"),
        69,
        ("source research", "404", "check base_url"),
    ),
    "the key goes out without TLS": (
        lambda it: setattr(it, "url", "http://192.0.2.1:1/v1"),
        69,
        ("sources.research", "192.0.2.1", "use https"),
    ),
    "nobody listens at the address": (
        lambda it: setattr(it, "url", "http://127.0.0.1:1/v1"),
        69,
        ("source research", "connection refused"),
    ),
    "Azure under the other kind": (
        lambda it: setattr(it, "url", "https://127.0.0.1.openai.azure.com/openai/v1"),
        69,
        ("sources.research.base_url", 'kind = "azure"'),
    ),
    "Azure's address of a deployment": (
        lambda it: setattr(
            it,
            "tables",
            '[sources.az]\nkind = "azure"\napi_key_env = "KEY"\n'
            'endpoint = "https://x.openai.azure.com/openai/deployments/y"',
        ),
        2,
        ("sources.az.endpoint", "end it before /openai"),
    ),
    "a key that is misspelled": (
        lambda it: it.source.append('pol_interval = "5s"'),
        2,
        ("sources.research.pol_interval", "did you mean poll_interval?"),
    ),
    "a duration without its unit": (
        lambda it: it.source.append("poll_interval = 5"),
        2,
        ("poll_interval", "15s"),
    ),
    "fewer requests than a look takes": (
        lambda it: it.source.append("requests_per_minute = 1"),
        0,
        ("research.requests_per_minute", "at least 8"),
    ),
    "a store in a directory that is not ours": (
        lambda it: setattr(it, "state", "sqlite:////dev/null/state.db"),
        3,
        ("store", "/dev/null", "daemon.state"),
    ),
    "a store named without its first slash": (
        lambda it: setattr(it, "state", "sqlite:///state.db"),
        0,
        ("daemon.state", "sqlite:////path/of/state.db"),
    ),
    "a database that is away": (
        lambda it: setattr(it, "state", "postgresql://u@127.0.0.1:1/x"),
        3,
        ("store", "127.0.0.1:1", "cannot reach"),
    ),
    "an address for everybody and no token": (
        lambda it: setattr(it, "listen", "0.0.0.0:0"),
        0,
        ("daemon.listen", "daemon.api_token_file"),
    ),
    "a line of tokens without its scopes": (
        lambda it: it.daemon.append(
            f'api_token_file = "{file_with(it, "ops sha256:" + "0" * 64)}"'
        ),
        0,
        ("daemon.api_token_file", "line 1", "NAME SCOPES sha256:HEX"),
    ),
    "a certificate that has expired": (
        lambda it: by_tls(it, ends=ago(days=2)),
        2,
        ("certificate", "certificate.pem", "expired on", "renew it and write it there"),
    ),
    "a certificate that is about to expire": (
        lambda it: by_tls(it, ends=ago(hours=-2)),
        0,
        ("note", "certificate.pem", "expires on", "renew it and write it there"),
    ),
    "a key of another certificate": (
        lambda it: by_tls(it, key="other-key.pem"),
        2,
        ("web.yml", "tls_server_config.key_file", "found another one", "other-key.pem"),
    ),
    "every user can read the key of the certificate": (
        lambda it: by_tls(it, mode=0o644),
        0,
        ("note", "key.pem", "every user", "chmod o-rwx"),
    ),
    "client certificates that nobody verifies": (
        lambda it: by_tls(it, client_auth_type="RequestClientCert"),
        2,
        ("tls_server_config.client_auth_type", "RequireAndVerifyClientCert"),
    ),
    "a password where its hash should be": (
        lambda it: web(it, basic_auth_users={"ann": KEY}),
        2,
        ("web.yml", "basic_auth_users.ann", "htpasswd -nBC 10"),
    ),
    "hashes of passwords that every user can read": (
        lambda it: web(it, 0o644, basic_auth_users={"ann": HASHED}),
        0,
        ("note", "web.yml", "hashes of passwords", "chmod o-rwx"),
    ),
    "passwords that come without TLS": (
        lambda it: (
            setattr(it, "listen", "0.0.0.0:0"),
            web(it, basic_auth_users={"ann": HASHED}),
        ),
        0,
        ("note", "passwords come here without TLS", "tls_server_config"),
    ),
    "TLS for everybody and nobody who may read": (
        lambda it: (setattr(it, "listen", "0.0.0.0:0"), by_tls(it)),
        0,
        ("note", "others can reach", "basic_auth_users", "daemon.api_token_file"),
    ),
    "a web configuration file that is not there": (
        lambda it: it.daemon.append('web_config_file = "/nowhere/web.yml"'),
        2,
        ("web configuration", "/nowhere/web.yml", "no such file"),
    ),
    "a webhook without a secret": (
        lambda it: setattr(it, "tables", webhook(secret="")),
        2,
        ("plugins.ops.secret", "tunewatch secret"),
    ),
    "a secret of one's own making": (
        lambda it: setattr(it, "tables", webhook(secret="hello")),
        2,
        ("plugins.ops.secret", "whsec_", "tunewatch secret"),
    ),
    "a receiver on this machine": (
        lambda it: setattr(it, "tables", webhook(url="http://127.0.0.1:9/x")),
        2,
        ("plugins.ops.url", "allow_hosts"),
    ),
    "a receiver without TLS": (
        lambda it: setattr(it, "tables", webhook(url="http://hooks.example.com/x")),
        2,
        ("plugins.ops.url", "use https"),
    ),
    "one receiver twice": (
        lambda it: setattr(it, "tables", webhook() + "\n" + webhook("again")),
        0,
        ("plugins.again", "come twice"),
    ),
    "a broker asked without TLS where it speaks TLS": (
        lambda it: setattr(
            it, "tables", '[plugins.mqtt]\nurl = "mqtt://127.0.0.1:8883"'
        ),
        0,
        ("plugins.mqtt.url", "mqtts://127.0.0.1:8883"),
    ),
    "a plugin that is misspelled": (
        lambda it: setattr(it, "tables", '[plugins.webhok]\nurl = "https://a.b"'),
        2,
        ("plugins.webhok", "did you mean webhook?"),
    ),
    "a group of events that is misspelled": (
        lambda it: setattr(it, "tables", webhook() + '\nevents = ["@terminals"]'),
        2,
        ("plugins.ops.events", "did you mean @terminal?"),
    ),
    "a status that is misspelled": (
        lambda it: setattr(
            it, "tables", webhook() + '\nevents = ["fine_tuning.job.suceeded"]'
        ),
        0,
        ("plugins.ops.events[0]", "did you mean succeeded?"),
    ),
    "a filter that lets no source through": (
        lambda it: setattr(it, "tables", webhook() + '\nsources = ["reserach"]'),
        0,
        ("plugins.ops.sources[0]", "did you mean research?"),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_mistake_is_found_and_said_what_to_do(set_up, name):
    mistake, code, words = MISTAKES[name]
    mistake(set_up)
    found, said = set_up.check()
    assert found == code, said
    [line] = [one for one in said.splitlines() if all(word in one for word in words)]
    assert not line.startswith("ok")


def test_a_port_that_another_program_has(set_up):
    with in_use() as set_up.listen:
        code, said = set_up.check()
    assert code == 2
    assert f"listen {set_up.listen}: another program listens there" in said


def test_a_file_beside_the_configuration_that_is_not_read(set_up):
    (set_up.directory / "conf.d").mkdir()
    (set_up.directory / "conf.d" / "ops.tml").write_text(webhook())
    code, said = set_up.check()
    assert code == 0
    assert "ops.tml: is not read" in said
