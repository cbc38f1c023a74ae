from __future__ import annotations

import asyncio
import datetime as dt
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from support.certificates import Authority, Papers
from support.receiver_server import receiver
from support.running import eventually
from support.strict_tls import strict_receiver
from support.webhook_opening import (
    SECRET,
    Lent,
    Time,
    delivery,
    opened,
    outcome_of,
    settled,
)
from tunewatch.plugin import Receipt, Retry

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
PASSWORD = "canary-password"
DAY = 86_400.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.founded(tmp_path)


def demanding(
    authority: Authority, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """Return a server's TLS that lets nobody in without a certificate."""
    papers = authority.issue("localhost", stem="server-")
    context = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate)
    )
    context.load_cert_chain(papers.certificate, papers.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = version
    return context


def shown(papers: Papers) -> dict[str, str]:
    """Return the settings that show a certificate."""
    return {
        "client_cert_file": str(papers.certificate),
        "client_key_file": str(papers.key),
    }


def now(seconds: float = 0.0) -> Lent:
    """Lend a clock that is so many seconds off."""
    return Lent(clock=Time(time.time() + seconds))


@pytest.mark.parametrize("version", VERSIONS)
async def test_who_shows_a_certificate_is_let_in(authority, version):
    papers = authority.issue("tunewatch", stem="client-")
    with strict_receiver(demanding(authority, version)) as strict:
        table = {"url": strict.url(), "ca_file": str(authority.certificate)}
        async with opened({**table, **shown(papers)}, lent=now()) as webhook:
            for _ in range(2):
                assert await outcome_of(webhook) == Receipt(200)
    assert strict.visitors == ["tunewatch", "tunewatch"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("whose", "why"),
    [
        ("nobody's", {"handshake failure", "certificate required"}),
        ("a stranger's", {"unknown ca"}),
        ("an old one", {"certificate expired"}),
    ],
)
async def test_who_is_not_let_in_is_told_why_in_the_server_s_words(
    authority, tmp_path, version, whose, why
):
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    table = {
        "nobody's": {},
        "a stranger's": shown(Authority.founded(tmp_path / "b").issue("tunewatch")),
        "an old one": shown(authority.issue("tunewatch", stem="old-", ends=yesterday)),
    }[whose]
    with strict_receiver(demanding(authority, version)) as strict:
        table |= {"url": strict.url(), "ca_file": str(authority.certificate)}
        # By our clock it is still good: only the server can know better.
        async with opened(table, lent=now(-3 * DAY)) as webhook:
            answer = await outcome_of(webhook)
    assert isinstance(answer, Retry)
    assert answer.scope == "plugin"
    assert f"localhost:{strict.port}" in answer.reason
    assert answer.reason.partition(": it refuses us: ")[2] in why
    assert strict.visitors == []


async def test_with_a_certificate_that_has_expired_nothing_is_dialled(authority):
    ends = dt.datetime(2026, 5, 4, 3, 2, 1, tzinfo=dt.UTC)
    papers = authority.issue("tunewatch", stem="client-", ends=ends)
    clock = Time(ends.timestamp() - 1)
    async with receiver(tls=demanding(authority)) as got:
        url = f"https://localhost:{got.port}/hook"
        table = {"url": url, "ca_file": str(authority.certificate), **shown(papers)}
        async with opened(table, lent=Lent(clock=clock)) as webhook:
            before = await outcome_of(webhook)
            clock.seconds += 1
            after = await outcome_of(webhook)
            renewed = authority.issue("tunewatch", stem="new-")
            renewed.key.replace(papers.key)
            renewed.certificate.replace(papers.certificate)
            assert await outcome_of(webhook) == Receipt(200)
    assert f"localhost:{got.port}" in str(before)  # it was dialled
    assert isinstance(after, Retry)
    assert after.scope == "plugin"
    assert after.reason == (
        "the client certificate expired on 2026-05-04 03:02 UTC: put a new one in its"
        " place"
    )
    assert len(got.posts) == 1


async def test_a_certificate_replaced_under_load_is_shown_without_a_delivery_lost(
    authority,
):
    names = [f"tunewatch-{number}" for number in range(4)]
    current = authority.issue(names[0], stem="client-")
    refused: list[object] = []
    with strict_receiver(demanding(authority)) as strict:
        table = {"url": strict.url(), "ca_file": str(authority.certificate)}
        async with opened({**table, **shown(current)}, lent=now()) as webhook:

            async def deliver_on() -> None:
                while True:
                    answer = await outcome_of(webhook, delivery())
                    if answer != Receipt(200):
                        refused.append(answer)

            async def seen(name: str) -> None:
                await eventually(lambda: name in strict.visitors[-3:], f"{name} came")

            async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
                loads = [
                    tasks.create_task(deliver_on(), name=f"load:{n}") for n in range(3)
                ]
                await seen(names[0])
                for name in names[1:]:
                    fresh = authority.issue(name, stem="new-")
                    # One after the other: for a moment the two do not fit.
                    fresh.key.replace(current.key)
                    await asyncio.sleep(0.05)
                    fresh.certificate.replace(current.certificate)
                    await seen(name)
                for load in loads:
                    load.cancel()
    assert refused == []
    assert list(dict.fromkeys(strict.visitors)) == names


async def test_a_certificate_half_replaced_is_said_once_and_the_old_one_shown_on(
    authority,
):
    current = authority.issue("tunewatch", stem="client-")
    fresh = authority.issue("tunewatch", stem="new-")
    lent = now()
    async with receiver(tls=demanding(authority)) as got:
        url = f"https://localhost:{got.port}/hook"
        table = {"url": url, "ca_file": str(authority.certificate), **shown(current)}
        async with opened(table, lent=lent) as webhook:
            fresh.key.replace(current.key)
            for _ in range(3):
                assert await outcome_of(webhook) == Receipt(200)
            fresh.certificate.replace(current.certificate)
            assert await outcome_of(webhook) == Receipt(200)
    events = [(entry["event"], entry["setting"]) for entry in lent.log.entries]
    assert events == [
        ("webhook.setting_unusable", "client_cert"),
        ("webhook.setting_restored", "client_cert"),
    ]
    assert "client_key: wanted the key of client_cert" in lent.log.entries[0]["reason"]
    assert str(current.key) in lent.log.entries[0]["reason"]


@pytest.fixture
def ways(authority, tmp_path) -> list[dict[str, str]]:
    """Every way to give a certificate and its key."""
    plain = authority.issue("tunewatch", stem="plain-")
    locked = authority.issue("tunewatch", stem="locked-", password=PASSWORD)
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    key, certificate = plain.key.read_text(), plain.certificate.read_text()
    (tmp_path / "key-first.pem").write_text(key + certificate)
    (tmp_path / "key-last.pem").write_text(certificate + key)
    return [
        shown(plain),
        {"client_cert_file": str(tmp_path / "key-first.pem")},
        {"client_cert_file": str(tmp_path / "key-last.pem")},
        {"client_cert": certificate + key},
        {"client_cert_env": "CERT", "client_key_env": "KEY"},
        {
            "client_cert_credential": "plain-certificate.pem",
            "client_key_file": "plain-key.pem",
        },
        {**shown(locked), "client_key_password_file": str(tmp_path / "password")},
        {**shown(locked), "client_key_password": PASSWORD},
        {**shown(plain), "client_key_password": "not needed"},
    ]


async def test_every_way_to_give_a_certificate_and_its_key_works(
    authority, tmp_path, ways
):
    plain = {
        name: (tmp_path / f"plain-{name}.pem").read_text()
        for name in ("certificate", "key")
    }
    environ = {
        "CREDENTIALS_DIRECTORY": str(tmp_path),
        "CERT": plain["certificate"],
        "KEY": plain["key"],
    }
    for table in ways:
        configured, told = settled({**LEAST, **table}, environ)
        assert configured is not None, told
        assert configured.connections(print).current().expires < time.time() + DAY + 60
        text = repr(configured) + configured.model_dump_json()
        for line in (PASSWORD, *plain["key"].splitlines()[1:-1]):
            assert line not in text


LEAST: dict[str, Any] = {"url": "https://hooks.example/x", "secret": SECRET}


@pytest.fixture
def mistakes(authority, tmp_path) -> dict[str, tuple[dict[str, str], str]]:
    """What can be wrong, by name: the settings, and what is said of them."""
    plain = authority.issue("tunewatch", stem="plain-")
    other = authority.issue("tunewatch", stem="other-")
    locked = authority.issue("tunewatch", stem="locked-", password=PASSWORD)
    damaged = tmp_path / "damaged.pem"
    damaged.write_text(plain.certificate.read_text().replace("M", "N", 5))
    text = tmp_path / "text"
    text.write_text("CANARY\n")
    return {
        "no key": (
            {"client_cert_file": str(plain.certificate)},
            "client_cert: wanted its private key in PEM form, in the same file or as",
        ),
        "another key": (
            {**shown(plain), "client_key_file": str(other.key)},
            "client_key: wanted the key of client_cert; found that of another one",
        ),
        "an encrypted key": (
            shown(locked),
            "found it encrypted: name its password by client_key_password_file",
        ),
        "another password": (
            {**shown(locked), "client_key_password": "CANARY"},
            "client_key_password: wanted the key's password; found another one",
        ),
        "a damaged certificate": (
            {**shown(plain), "client_cert_file": str(damaged)},
            "client_cert: wanted a certificate and its key in PEM form; found: ",
        ),
        "no certificate": (
            {**shown(plain), "client_cert_file": str(text)},
            "client_cert: wanted a certificate in PEM form; found none",
        ),
        "no such file": (
            {"client_cert_file": "/nonexistent/client.pem"},
            "wanted a readable file at /nonexistent/client.pem; found: no such file",
        ),
        "a key alone": (
            {"client_key_file": str(plain.key)},
            "a client_key is of no use without client_cert",
        ),
        "no TLS": (
            {
                **shown(plain),
                "url": "http://hooks.example/x",
                "allow_hosts": ["*.example"],
            },
            "a client_cert is shown by TLS only: wanted an https url",
        ),
    }


@pytest.mark.parametrize(
    "what",
    [
        *("no key", "another key", "an encrypted key", "another password"),
        *("a damaged certificate", "no certificate", "no such file", "a key alone"),
        "no TLS",
    ],
)
def test_what_will_not_do_is_refused_at_the_start_and_told(mistakes, what: str):
    table, wanted = mistakes[what]
    configured, told = settled({**LEAST, **table})
    assert configured is None
    (mistake,) = told
    assert wanted in mistake
    assert mistake.startswith("a.toml: plugins.ops")
    assert "CANARY" not in mistake
    assert PASSWORD not in mistake
