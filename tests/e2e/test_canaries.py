"""Canary secrets in every slot, every fault that could sing, and no song anywhere."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from support.certificates import Authority
from support.distribution import write_package
from support.program import Program
from support.receiver_server import free_port
from support.running import QUICK, Running, configure, ended, eventually, running
from support.simulated_org import simulated
from support.web_files import basic, hashed, write
from tunewatch.testing import Fault, Receiver, Reply, SimulatedApi

API_BY_FILE = "sk-canary-file-5d1f"
API_BY_ENV = "sk-canary-env-9a2b"
API_BY_CREDENTIAL = "sk-canary-cred-77e0"
API_INLINE = "sk-canary-inline-03c4"
ROTATED = "sk-canary-rotated-41aa"
URL_PATH = "canary-path-b81e55"
LOCATION = "canary-location-22f9"
HOOK_SECRET = base64.b64encode(b"canary webhook secret 0123456789").decode()
TOKEN = "canary-token-6e6e"
API_TOKEN = "canary-operator-token-1"
SEED = b"canary signing key 0123456789abc"
SIGNING_KEY = base64.b64encode(SEED).decode()
HEADER_INLINE = "canary-header-inline-8d20"
HEADER_BY_FILE = "canary-header-file-17be"
HEADER_BY_ENV = "canary-header-env-e39c"
CERT_PASSWORD = "canary-cert-password-50f1"
SCRAPER = "canary-scraper-password-b2d6"
HASH = hashed(SCRAPER)
BASIC = "Authorization"
HEADERS = (HEADER_INLINE, HEADER_BY_FILE, HEADER_BY_ENV)

CANARIES = (
    *(API_BY_FILE, API_BY_ENV, API_BY_CREDENTIAL, API_INLINE, ROTATED),
    *(URL_PATH, HOOK_SECRET, TOKEN, API_TOKEN, SIGNING_KEY, *HEADERS, CERT_PASSWORD),
    *(SCRAPER, HASH, HASH.rpartition("$")[2], basic("scraper", SCRAPER)[BASIC][6:]),
)

HOOK = '[plugins.ops]\nkind = "webhook"\nurl = "https://x/y"\n'
"""The beginning of a webhook's table."""

CLUMSY = '''
"""A plugin of a stranger who puts its token into every message."""

from contextlib import asynccontextmanager

from pydantic import BaseModel, ConfigDict, SecretStr

from tunewatch.plugin import Plugin, Reject, Retry


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    token: SecretStr
    how: str


class Clumsy:
    def __init__(self, settings):
        self._token = settings.token.get_secret_value()
        self._how = settings.how

    async def deliver(self, delivery):
        said = f"cannot log in with {self._token}"
        try:
            raise ConnectionError(said)
        except ConnectionError as error:
            if self._how == "retry":
                raise Retry(said) from error
            if self._how == "reject":
                raise Reject(said) from error
            raise RuntimeError(said) from error


@asynccontextmanager
async def _open(settings, context):
    context.log.info("clumsy.open", settings=settings.token.get_secret_value())
    if settings.how == "open":
        raise ConnectionError("cannot log in with " + settings.token.get_secret_value())
    yield Clumsy(settings)


PLUGIN = Plugin(settings=Settings, events=("*",), open=_open)
'''

CONFIG = """
api_token_file = "{home}/secrets/operator"
web_config_file = "{home}/secrets/web.yml"

[source_defaults]
base_url = "{url}"
{quick}
[sources.by_file]
api_key_file = "{home}/secrets/api"
[sources.by_env]
api_key_env = "CANARY_KEY"
[sources.by_credential]
api_key_credential = "canary-api"
[sources.inline]
api_key = "{inline}"

[plugins.works]
kind = "webhook"
url_file = "{home}/secrets/url-works"
secret_env = "CANARY_HOOK"
allow_hosts = ["127.0.0.1"]
events = ["*"]
[plugins.works.headers]
X-Team = "research"
Authorization = "Bearer {header}"
X-Token = {{ file = "{home}/secrets/header" }}
X-Other = {{ env = "CANARY_HEADER" }}
[plugins.down]
kind = "webhook"
url = "http://127.0.0.1:{closed}/{path}"
secret_env = "CANARY_HOOK"
allow_hosts = ["127.0.0.1"]
events = ["*"]
[plugins.shows_itself]
kind = "webhook"
url = "https://127.0.0.1:{closed}/{path}"
secret = "whsk_{signing}"
client_cert_file = "{home}/secrets/certificate.pem"
client_key_file = "{home}/secrets/key.pem"
client_key_password_file = "{home}/secrets/cert-password"
allow_hosts = ["127.0.0.1"]
events = ["*"]
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    site = write_package(
        tmp_path,
        "clumsy",
        {"tunewatch.plugins": {"clumsy": "clumsy:PLUGIN"}},
        {"clumsy": CLUMSY},
    )
    made = Program(tmp_path, sites=(site,))
    for directory in ("secrets", "credentials"):
        (tmp_path / directory).mkdir()
    (tmp_path / "secrets" / "api").write_text(API_BY_FILE)
    (tmp_path / "secrets" / "operator").write_text(API_TOKEN)
    write(tmp_path / "secrets" / "web.yml", basic_auth_users={"scraper": HASH})
    (tmp_path / "credentials" / "canary-api").write_text(API_BY_CREDENTIAL)
    (tmp_path / "secrets" / "header").write_text(HEADER_BY_FILE)
    (tmp_path / "secrets" / "cert-password").write_text(CERT_PASSWORD)
    Authority.founded(tmp_path / "secrets").issue("tunewatch", password=CERT_PASSWORD)
    made.environ |= {
        "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"),
        "CANARY_KEY": API_BY_ENV,
        "CANARY_HOOK": "whsec_" + HOOK_SECRET,
        "CANARY_HEADER": HEADER_BY_ENV,
        "TUNEWATCH_TRACEBACK": "",
    }
    return made


@pytest.fixture
async def scene(
    program: Program,
) -> AsyncIterator[tuple[Running, SimulatedApi, Receiver]]:
    keys = (API_BY_FILE, API_BY_ENV, API_BY_CREDENTIAL, API_INLINE)
    receiver = Receiver(secrets=["whsec_" + HOOK_SECRET])
    async with AsyncExitStack() as stack:
        api, url = await stack.enter_async_context(simulated(*keys))
        hook = await stack.enter_async_context(receiver.serve())
        home = program.directory
        (home / "secrets" / "url-works").write_text(f"{hook}{URL_PATH}?t={URL_PATH}")
        text = CONFIG.format(
            home=home,
            url=url,
            quick=QUICK,
            inline=API_INLINE,
            closed=free_port(),
            path=URL_PATH,
            header=HEADER_INLINE,
            signing=SIGNING_KEY,
        )
        for how in ("open", "retry", "reject", "raise"):
            text += f'[plugins.{how}]\nkind = "clumsy"\nhow = "{how}"\n'
            text += f'token = "{TOKEN}"\n'
        configure(program, text)
        daemon = await stack.enter_async_context(running(program))
        yield daemon, api, receiver


def songs(where: str, text: str | bytes) -> list[str]:
    """Return the canaries that sing in a text, and where."""
    body = text.encode() if isinstance(text, str) else text
    return [f"{where}: {one}" for one in CANARIES if one.encode() in body]


async def provoke(daemon: Running, api: SimulatedApi, receiver: Receiver) -> None:
    """Let everything go wrong that can."""
    elsewhere = Reply.redirect(f"http://127.0.0.1:1/{LOCATION}?{URL_PATH}")
    echo = Reply(status=400, body=URL_PATH.encode() + HOOK_SECRET.encode())
    told = Reply(status=403, body=" and ".join(HEADERS).encode())
    receiver.plan(elsewhere, Reply(status=500, body=HOOK_SECRET.encode()), echo, told)
    # What is said to a delivery that was accepted is kept as well.
    receiver.usual = Reply(body=" ".join((*HEADERS, HOOK_SECRET, URL_PATH)).encode())
    for number in range(4):
        api.add_job(project=f"project-{number}", steps=10)
    await eventually(lambda: receiver.accepted, "something was accepted", within=40)
    for key in (API_BY_FILE, API_BY_ENV, API_BY_CREDENTIAL, API_INLINE):
        message = f"Incorrect API key provided: {key}. You can find your key at …"
        api.fault("*", Fault.status(401, message=message), times=None, key=key)
    await eventually(
        lambda: len(daemon.log("source.trouble")) == 4, "every key was refused"
    )
    (daemon.program.directory / "secrets" / "api").write_text(ROTATED)
    echoed = f"Incorrect API key provided: {ROTATED}"
    api.fault("*", Fault.status(401, message=echoed), times=None, key=ROTATED)
    await eventually(
        lambda: any(request.key == ROTATED for request in api.requests),
        "the rotated key was tried",
    )


async def test_no_canary_sings_in_whatever_the_daemon_says_or_keeps(scene):
    daemon, api, receiver = scene
    await provoke(daemon, api, receiver)
    assert daemon.log("plugin.defect")
    assert daemon.log("delivery.buried")
    assert daemon.log("plugin.does_not_open")
    for name, value in zip(
        ("authorization", "x-token", "x-other"), HEADERS, strict=True
    ):
        assert receiver.accepted[0].headers[name].endswith(value)
    heard: list[str] = []
    operator = ("jobs", "events?limit=1000", "sources", "plugins", "openapi.json")
    asked = [f"/api/v1/{path}" for path in (*operator, "jobs?limit=x", "jobs/nobody")]
    for path in ("/readyz", "/metrics", "/livez", "/nowhere", *asked):
        for name in ("scraper", "nobody"):
            _, body, headers = await daemon.get(path, **basic(name, SCRAPER))
            heard += songs(path, body + str(headers))
    heard += await songs_of_a_damaged_web_config(daemon)
    for command in ("config", "plugins", "check", "jobs"):
        for form in ((), ("-o", "json")):
            if form and command in ("config", "check"):
                continue
            done = await daemon.cli(command, *form)
            heard += songs(command, done.out + done.err)
    heard += songs("cmdline", command_line_of(daemon.process.pid))
    heard += songs_in_the_store(daemon.program.directory)
    assert await daemon.stop() == 0
    heard += songs_in_the_store(daemon.program.directory)
    heard += songs("log", daemon.said.read_bytes())
    assert heard == []


async def songs_of_a_damaged_web_config(daemon: Running) -> list[str]:
    """Let the file be refused with the hash, then the password, where they are not."""
    path = daemon.program.directory / "secrets" / "web.yml"
    for number, users in enumerate(({"scraper": [HASH]}, {"scraper": SCRAPER})):
        write(path, basic_auth_users=users)
        await eventually(
            lambda seen=number: len(daemon.log("web_config.refused")) > seen,
            "the file was refused",
        )
    _, report = await daemon.ready()
    assert report["web_config"]["state"] == "refused"
    done = await daemon.cli("check")
    assert done.code == 2, done
    write(path, basic_auth_users={"scraper": HASH})
    await daemon.logged("web_config.read")
    return songs("damaged web.yml", str(report) + done.out + done.err)


def command_line_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def songs_in_the_store(directory: Path) -> list[str]:
    """Look through the store, its journal, and what plugins keep."""
    files = [*directory.glob("state.db*"), *directory.glob("plugins/**/*")]
    assert directory / "state.db" in files
    found = [file for file in files if file.is_file()]
    return [song for file in found for song in songs(file.name, file.read_bytes())]


@pytest.mark.parametrize(
    "misplaced",
    [
        f'[sources.a]\napi_key_env = "{API_INLINE}"\n',
        f'[sources.a]\napi_key_file = "{API_INLINE}"\n',
        f'[sources.a]\napi_key_credential = "{API_INLINE}"\n',
        f'[sources.a]\napi_key = "k"\norganization = "two words {API_INLINE}"\n',
        f'[sources.a]\napi_key = "k"\npoll_interval = "{API_INLINE}"\n',
        f'[sources.a]\napi_key = "k"\nbase_url = "https://u:{TOKEN}@example.com/v1"\n',
        f'[sources.a]\napi_key = "k"\nkey = "{API_INLINE}"\n',
        f'[sources.a]\napi_key = ["{API_INLINE}"]\n',
        f'[sources]\na = "{API_INLINE}"\n',
        f'[plugins.ops]\nkind = "webhook"\nurl = "ftp://x/{URL_PATH}"\nsecret = "k"\n',
        f'[plugins.ops]\nkind = "webhook"\nurl = "https://x/y"\nsecret = "{TOKEN}"\n',
        f'[plugins.ops]\nkind = "webhook"\nurl = "https://x"\nsecert = "{TOKEN}"\n',
        f'[plugins.ops]\nkind = "webhook"\nurl_file = "https://x/{URL_PATH}"\n',
        f'{HOOK}secret = "whsk_{TOKEN}"\n',
        f'{HOOK}headers = {{ Authorization = "{TOKEN}\\n" }}\n',
        f'{HOOK}headers = {{ Authorization = {{ env = "{TOKEN}" }} }}\n',
        f'{HOOK}headers = {{ Authorization = {{ file = "{TOKEN}" }} }}\n',
        f'{HOOK}headers = {{ Authorization = {{ value = "{TOKEN}" }} }}\n',
        f'{HOOK}headers = {{ Host = "{TOKEN}" }}\n',
        f'{HOOK}headers = "{TOKEN}"\n',
        f'{HOOK}client_cert = "{TOKEN}"\nclient_key = "{TOKEN}"\n',
        f'{HOOK}client_key_password = "{TOKEN}"\n',
        f'state = "postgres//u:{TOKEN}@h/db"\n',
        f"[sources.a]\napi_key = '{API_INLINE}\n",
        f'[sources.a]\napi_key = "{API_INLINE}" "x"\n',
    ],
)
async def test_a_secret_in_the_wrong_place_of_a_file_is_not_repeated(
    program, misplaced
):
    if not misplaced.startswith("state"):
        configure(program, misplaced)
    else:
        path = configure(program, "")
        path.write_text(f"[daemon]\n{misplaced}")
    done = await ended(program, "run", "--once")
    assert done.code == 2, (done.out, done.err)
    assert songs("run", done.out + done.err) == []
    assert "Traceback" not in done.err


async def test_a_database_url_with_its_password_inside_is_never_shown_whole(program):
    closed = free_port()
    configure(
        program,
        '[sources.a]\napi_key = "k"\nbase_url = "http://127.0.0.1:1/v1"\n',
        state=f"postgresql://watcher:{TOKEN}@127.0.0.1:{closed}/db",
    )
    for command in ("check", "config", "jobs", "plugins"):
        done = await ended(program, command)
        assert songs(command, done.out + done.err) == []
    async with running(program, wait=False) as daemon:
        await daemon.logged("store.away")
        async with asyncio.timeout(20):
            await daemon.stop()
        assert songs("log", daemon.said.read_bytes()) == []
