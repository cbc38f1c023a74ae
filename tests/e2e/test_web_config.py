"""The daemon behind a web configuration file, and who talks to it through that."""

from __future__ import annotations

import asyncio
import signal

import pytest

from support.certificates import Authority
from support.program import Program
from support.prometheus_server import prometheus_server
from support.running import QUICK, configure, ended, eventually, running
from support.simulated_org import simulated
from support.web_files import basic, hashed, tls_of, trusting, write

KEY = "sk-web-config"
PASSWORD = "canary of prometheus"
TOKEN = "token-of-an-operator"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.founded(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def program(tmp_path):
    made = Program(tmp_path)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    async with simulated(KEY) as (api, url):
        api.add_job(project="project-0", outcome="paused")
        configure(
            made,
            'web_config_file = "web.yml"\napi_token_file = "token"\n'
            f'[sources.a]\nbase_url = "{url}"\napi_key = "{KEY}"\nbackfill = "all"\n'
            f"{QUICK}",
        )
        yield made


def lay(program, papers, **tls):
    """Write the file with TLS and a user."""
    return write(
        program.directory / "web.yml",
        tls_server_config=tls_of(papers, **tls),
        basic_auth_users={"prometheus": hashed(PASSWORD)},
    )


async def test_prometheus_scrapes_by_tls_and_password_before_and_after_a_rotation(
    program, authority
):
    papers = authority.issue("localhost", stem="one-")
    mine = authority.issue("prometheus.example", stem="mine-")
    lay(
        program,
        papers,
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=str(authority.certificate),
        client_allowed_sans=["prometheus.example"],
    )
    (program.directory / "password").write_text(PASSWORD)
    tls = f"ca_file: {authority.certificate}, server_name: localhost, "
    tls += f"cert_file: {mine.certificate}, key_file: {mine.key}"
    user = f"username: prometheus, password_file: {program.directory / 'password'}"
    more = f"scheme: https\n    tls_config: {{ {tls} }}\n    basic_auth: {{ {user} }}"
    home = program.directory / "prometheus"
    home.mkdir()
    async with running(program, tls=trusting(papers, shows=mine)) as daemon:
        async with prometheus_server(daemon.port, home, more=more) as prometheus:
            await prometheus.until("up", lambda rows: [v for _, v in rows] == [1.0])
            ends = "tunewatch_web_certificate_expires_timestamp_seconds"
            await prometheus.until(ends, lambda rows: rows != [])
            authority.issue("localhost", stem="one-")  # where the other one lies
            await daemon.logged("web_config.read")
            read = "tunewatch_web_config_last_reload_success_timestamp_seconds"
            await prometheus.until(
                f"changes({read}[5m])", lambda rows: [v for _, v in rows] == [1.0]
            )
            # No scrape failed, from the first one on.
            assert await prometheus.query("min_over_time(up[5m])") == [({}, 1.0)]
        assert (await daemon.get("/metrics"))[0] == 401
        said = daemon.said.read_text() + "".join(daemon.answers)
        assert PASSWORD not in said
        assert "$2b$" not in said
        assert await daemon.stop() == 0


async def test_a_bad_file_later_is_told_everywhere_and_the_old_one_stays(
    program, authority
):
    papers = authority.issue("localhost", stem="two-")
    path = lay(program, papers)
    async with running(program, tls=trusting(papers)) as daemon:
        right = basic("prometheus", PASSWORD)
        _, report = await daemon.ready()
        assert report["web_config"] == {"state": "up"}
        path.write_text("tls_server_config: {cert_file: nowhere, key_file: nowhere}")
        told = await daemon.logged("web_config.refused")
        assert "tls_server_config.cert_file" in told["reason"]
        status, report = await daemon.ready()
        assert status == 200  # the daemon does its work
        assert report["web_config"]["state"] == "refused"
        assert report["web_config"]["reason"] == told["reason"]
        _, text, _ = await daemon.get("/metrics", **right)
        assert "\ntunewatch_web_config_last_reload_successful 0.0" in text
        lay(program, papers)
        await daemon.logged("web_config.read")
        _, text, _ = await daemon.get("/metrics", **right)
        assert "\ntunewatch_web_config_last_reload_successful 1.0" in text
        assert len(daemon.log("web_config.refused")) == 1
        assert await daemon.stop() == 0


async def test_another_file_takes_a_restart(program, authority):
    papers = authority.issue("localhost", stem="three-")
    lay(program, papers)
    async with running(program, tls=trusting(papers)) as daemon:
        program.environ["TUNEWATCH_DAEMON__WEB_CONFIG_FILE"] = "/nowhere"
        config = program.directory / "tunewatch.toml"
        config.write_text(config.read_text().replace('"web.yml"', '"other.yml"'))
        daemon.process.send_signal(signal.SIGHUP)
        told = await daemon.logged("config.refused")
        assert "daemon.web_config_file: " in told["reason"]
        assert "Restart to change it" in told["reason"]
        assert await daemon.stop() == 0


STARTS = {
    "gone": (None, ("web.yml", "no such file")),
    "an unknown key": ("tls: {}", ("web.yml: tls: there is no such key",)),
    "a key that cannot be honoured": (
        "http_server_config: {http2: true}",
        ("http_server_config.http2: wanted false",),
    ),
    "a certificate that is not there": (
        "tls_server_config: {cert_file: a.crt, key_file: a.key}",
        ("tls_server_config.cert_file: ", "a.crt", "no such file"),
    ),
}


@pytest.mark.parametrize("how", STARTS)
async def test_a_bad_file_at_the_start_is_refused_with_its_key(program, how):
    text, said = STARTS[how]
    if text is not None:
        (program.directory / "web.yml").write_text(text)
    for command in ("run", "check"):
        done = await ended(program, command)
        assert done.code == 2, done.err
        for part in said:
            assert part in done.err + done.out, command


async def test_commands_ask_a_daemon_by_tls_with_a_token(program, authority):
    papers = authority.issue("localhost", stem="four-")
    lay(program, papers)
    async with running(program, tls=trusting(papers)) as daemon:
        url = f"https://localhost:{daemon.port}"
        program.environ.pop("TUNEWATCH_CONFIG")
        program.environ["TUNEWATCH_URL"] = url
        ca, token = ("--ca-file", str(papers.authority)), ("--token-file", "token")

        async def has_job() -> bool:
            listed = await daemon.cli("jobs", *ca, *token)
            return listed.code == 0 and "ftjob" in listed.out

        await eventually(has_job, "the job is listed by TLS")
        for done, said in (
            (await daemon.cli("jobs", *token), "--ca-file or $TUNEWATCH_CA_FILE"),
            (await daemon.cli("jobs", *ca), "--token-file"),
            (
                await daemon.cli("jobs", *ca, "--url", url.replace("https", "http")),
                "Compare http and https",
            ),
            (await daemon.cli("jobs", "--ca-file", "nowhere"), "--ca-file"),
            (
                await daemon.cli("jobs", "--url", url.replace("//", "//ann:canary@")),
                "without a name and password",
            ),
        ):
            assert done.code in {2, 69}, done
            assert said in done.err, done.err
            assert "canary" not in done.err
        paused = await daemon.cli("plugins", *ca, *token, "pause", "prometheus")
        assert "prometheus" in paused.err + paused.out
        done = await asyncio.to_thread(program, "events", *ca, *token)
        assert done.code == 0, done.err


async def test_commands_show_a_certificate_to_a_daemon_that_asks_for_one(
    program, authority
):
    papers = authority.issue("localhost", stem="five-")
    mine = authority.issue("ann", stem="ann-")
    lay(
        program,
        papers,
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=str(authority.certificate),
    )
    async with running(program, tls=trusting(papers, shows=mine)) as daemon:
        program.environ.pop("TUNEWATCH_CONFIG")
        shared = ("--url", f"https://localhost:{daemon.port}", "--token-file", "token")
        shared += ("--ca-file", str(papers.authority))
        own = ("--cert-file", str(mine.certificate), "--key-file", str(mine.key))
        done = await daemon.cli("jobs", *shared, *own)
        assert done.code == 0, done.err
        config = program.directory / "tunewatch.toml"
        beside = await daemon.cli("check", "--config", str(config))
        assert "a daemon of tunewatch runs there" in beside.out, beside
        done = await daemon.cli("jobs", *shared)
        assert done.code == 69
        assert "--cert-file" in done.err
        for odd in (own[2:], ("--cert-file", str(mine.key))):
            done = await daemon.cli("jobs", *shared, *odd)
            assert done.code == 2
            assert "--cert-file" in done.err
