from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.receiver_server import Post, receiver
from support.webhook_opening import (
    SECRET,
    Lent,
    delivery,
    kept,
    opened,
    outcome_of,
    settled,
)
from tunewatch.plugin import Receipt
from tunewatch.settings import secrets_of

TOKEN = "tok-CANARY-5d1f77"
LEAST = {"url": "https://hooks.example/x", "secret": SECRET}


def replaced(path: Path, text: str) -> None:
    """Replace a file as those who rotate do: whole, at once."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)


async def test_headers_of_the_operator_s_own_are_sent_beside_ours():
    headers = {"X-Team": "research & co", "Authorization": f"Bearer {TOKEN}"}
    async with (
        receiver() as got,
        opened({"url": got.url(), "headers": headers}) as webhook,
    ):
        assert await outcome_of(webhook) == Receipt(200)
    (post,) = got.posts
    assert post.headers["x-team"] == "research & co"
    assert post.headers["authorization"] == f"Bearer {TOKEN}"
    assert post.headers["content-type"] == "application/json"
    assert post.headers["webhook-id"] == delivery().event.id


def test_a_value_may_be_kept_where_other_secrets_are(tmp_path: Path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "OPS_TOKEN": TOKEN}
    for given in (
        {"file": str(tmp_path / "token")},
        {"file": "token"},
        {"env": "OPS_TOKEN"},
        {"credential": "token"},
    ):
        configured, told = settled({**LEAST, "headers": {"X-Key": given}}, environ)
        assert configured is not None, told
        assert configured.extras(print).current().values == {"X-Key": TOKEN}


async def test_a_value_in_a_file_is_read_again_when_it_changes(tmp_path: Path):
    file = tmp_path / "token"
    file.write_text("first")
    lent = Lent()
    async with (
        receiver() as got,
        opened(
            {"url": got.url(), "headers": {"X-Token": {"file": str(file)}}}, lent=lent
        ) as webhook,
    ):
        await outcome_of(webhook)
        replaced(file, "second\n")
        await outcome_of(webhook)
        replaced(file, f"{TOKEN}\nX-Injected: 1")
        await outcome_of(webhook)
        replaced(file, "third\n")
        await outcome_of(webhook)
    sent = [post.headers["x-token"] for post in got.posts]
    assert sent == ["first", "second", "second", "third"]
    assert [(entry["event"], entry["setting"]) for entry in lent.log.entries] == [
        ("webhook.setting_unusable", "headers"),
        ("webhook.setting_restored", "headers"),
    ]
    assert f"file {file}: header X-Token: " in lent.log.entries[0]["reason"]
    assert "CANARY" not in str(lent.log.entries)


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("Authorization", True),
        ("X-Api-Key", True),
        ("X-Auth", True),
        ("Cookie", True),
        ("X-Hub-Signature", True),
        ("X-Team", False),
        ("X-Environment", False),
    ],
)
async def test_a_value_given_as_it_is_is_a_secret_if_its_name_says_so(
    name: str, is_secret: bool
):
    table = {**LEAST, "headers": {name: TOKEN}}
    configured, _ = settled(table)
    assert configured is not None
    shown = repr(configured) + configured.model_dump_json()
    known = {v for secret in secrets_of(configured) for v in secret.known()}
    assert (TOKEN in known) is is_secret
    assert ("CANARY" not in shown) is is_secret

    def respond(post: Post) -> web.StreamResponse:
        return web.Response(text=f"got {post.headers[name.lower()]}")

    async with (
        receiver(respond) as got,
        opened({"url": got.url(), "headers": {name: TOKEN}}) as webhook,
    ):
        answer = kept(await outcome_of(webhook))
    assert answer is not None
    assert answer.answer == ("got …" if is_secret else f"got {TOKEN}")


async def test_a_short_credential_is_not_repeated_without_its_scheme_either():
    def respond(post: Post) -> web.StreamResponse:
        token = post.headers["authorization"].removeprefix("Bearer ")
        return web.Response(status=403, text=f"no such token as {token}")

    headers = {"Authorization": "Bearer k3y9"}
    async with (
        receiver(respond) as got,
        opened({"url": got.url(), "headers": headers}) as webhook,
    ):
        answer = await outcome_of(webhook)
    assert "no such token as …" in str(answer)


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "host", "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade"),
        *("Transfer-Encoding", "Content-Length", "Content-Type", "Content-Encoding"),
        *("Proxy-Authorization", "Expect", "Date", "Accept", "Accept-Encoding", "Via"),
        "User-Agent",
        *("webhook-id", "Webhook-Signature", "webhook-timestamp", "ce-id", "CE-Type"),
    ],
)
def test_a_header_that_is_ours_or_the_connection_s_cannot_be_given(name: str):
    told = mistakes({name: "CANARY"})
    assert f"header {name}: tunewatch or the connection sets it" in told


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"": "CANARY"}, "header with an odd name: wanted a name of letters"),
        ({"X Y": "CANARY"}, "header with an odd name: wanted a name of letters"),
        ({"X:Y": "CANARY"}, "header with an odd name: wanted a name of letters"),
        ({"X\r\nY": "CANARY"}, "header with an odd name: wanted a name of letters"),
        ({"Ö": "CANARY"}, "header with an odd name: wanted a name of letters"),
        ({"X-A": "CANARY\r\nX-B: 1"}, "header X-A: wanted one line of printable"),
        ({"X-A": "CANARY\x00"}, "header X-A: wanted one line of printable ASCII"),
        ({"X-A": "CANARY é"}, "header X-A: wanted one line of printable ASCII"),
        ({"X-A": ""}, "header X-A: wanted one line of printable ASCII"),
        ({"X-A": "CANARY" * 2000}, "header X-A: wanted at most 8192 characters"),
        ({"X-A": 7}, "header X-A: wanted a value, or one of { file = …, env = …, cr"),
        ({"X-A": "1", "x-a": "2"}, "header x-a: given twice"),
        ({f"X-{n}": "1" for n in range(33)}, "at most 32 headers, found 33"),
        ({"X-A": {}}, "headers.X-A: wanted a string or one of { file = … }, { env ="),
        ({"X-A": {"value": "CANARY"}}, "headers.X-A: wanted a string or one of"),
        (
            {"X-A": {"file": "/a", "env": "B"}},
            "headers.X-A: wanted a string or one of { file = … }",
        ),
        (
            {"X-A": {"env": "CANARY-value"}},
            "headers.X-A.env: wanted a secret in the environment variable named here",
        ),
        ({"X-A": {"env": "OPS_TOKEN"}}, "environment variable OPS_TOKEN; found it not"),
        ({"X-A": {"file": "/nonexistent/x"}}, "a readable file at /nonexistent/x"),
        ({"X-A": {"credential": "x"}}, "found no $CREDENTIALS_DIRECTORY"),
        ({"X-A": {"file": 7}}, "headers.X-A.file: wanted a path; found none"),
        ("CANARY", "plugins.ops.headers: wanted a table of headers"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused_at_the_start(headers: Any, told: str):
    assert told in mistakes(headers)


def mistakes(headers: Any) -> str:
    configured, told = settled({**LEAST, "headers": headers})
    assert configured is None
    assert told
    assert all(one.startswith("a.toml: plugins.ops.headers") for one in told)
    text = "\n".join(told)
    assert "CANARY" not in text
    return text


def test_every_header_that_will_not_do_is_told_at_once():
    told = mistakes({"Host": "a", "X-A": "b\n", "X-B": {"file": "/nonexistent/x"}})
    for name in ("header Host: ", "header X-A: ", "headers.X-B.file: "):
        assert name in told
