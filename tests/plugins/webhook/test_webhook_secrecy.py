from __future__ import annotations

import asyncio
import html
import json
import logging
import traceback
from urllib.parse import quote, unquote

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from support.receiver_server import (
    Post,
    free_port,
    raw_receiver,
    receiver,
    request_read,
)
from support.webhook_opening import SECRET, Lent, delivery, opened
from tunewatch.plugin import Pause, Retry
from tunewatch_plugins.webhook.redaction import Censor
from tunewatch_plugins.webhook.target import target

PATH = "/services/T0C4n4ryTeam/B0C4n4ryHook/x%2FC4n4ry+Tok%20en?key=C4n4ryQuery%3D%3D"
PIECES = ["C4n4ry", "c4n4ry", SECRET.removeprefix("whsec_")[:8]]

ECHOES = {
    "the path": lambda post: post.path,
    "the path, decoded": lambda post: unquote(post.path),
    "the path, encoded twice": lambda post: quote(post.path, safe=""),
    "the path in a page": lambda post: f"<pre>{html.escape(post.path)}</pre>",
    "the path in JSON": lambda post: json.dumps(post.path).replace("/", "\\/"),
    "the path in capitals": lambda post: post.path.upper(),
    "the path with nothing between": lambda post: "\u200b".join(post.path),
    "the path cut short": lambda post: f"Cannot POST {post.path[:30]}",
    "the path from the middle": lambda post: f"no route {post.path[15:]}",
    "the path at the end of what is read": lambda post: "x" * 2030 + post.path,
    "the secret": lambda post: f"expected {SECRET}",
    "the secret without its beginning": lambda post: SECRET[10:],
}


@pytest.mark.parametrize("status", [400, 404, 410, 500])
@pytest.mark.parametrize("echo", ECHOES)
async def test_what_a_receiver_repeats_of_a_secret_is_not_repeated(
    status: int, echo: str, caplog: pytest.LogCaptureFixture
):
    def respond(post: Post) -> web.StreamResponse:
        said = ECHOES[echo](post)
        return web.Response(status=status, text=said)

    lent = Lent()
    with caplog.at_level(logging.DEBUG):
        async with (
            receiver(respond) as got,
            opened({"url": got.url(PATH)}, lent=lent) as webhook,
        ):
            with pytest.raises((Retry, Pause)) as refused:
                await webhook.deliver(delivery())
            text = "".join(traceback.format_exception(refused.value))
            text += refused.value.reason + repr(refused.value) + repr(webhook)
            text += caplog.text + str(lent.log.entries)
    for piece in PIECES:
        assert piece.lower() not in text.lower(), text


async def test_no_trouble_of_the_network_tells_the_url(
    caplog: pytest.LogCaptureFixture,
):
    async def broken(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await request_read(reader)
        writer.write(b"HTTP/1.1 200 " + PATH.encode() + b"\r\nBad " + PATH.encode())
        await writer.drain()

    lent = Lent()
    with caplog.at_level(logging.DEBUG):
        async with raw_receiver(broken) as port:
            for url in (
                f"http://127.0.0.1:{port}{PATH}",
                f"http://127.0.0.1:{free_port()}{PATH}",
                f"https://127.0.0.1:{port}{PATH}",
            ):
                async with opened({"url": url}, lent=lent) as webhook:
                    with pytest.raises(Retry) as refused:
                        await webhook.deliver(delivery())
                    text = "".join(traceback.format_exception(refused.value))
                    text += refused.value.reason + caplog.text
                for piece in PIECES:
                    assert piece.lower() not in text.lower(), text
    # Trouble is told by who feeds the plugin; it says nothing itself.
    assert lent.log.entries == []


SECRETS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=8)


@given(SECRETS, st.text(), st.text(), st.data())
def test_no_stretch_of_a_secret_is_shown(secret, before, behind, data):
    start = data.draw(st.integers(0, len(secret) - 8))
    stretch = secret[start : start + 8]
    text = Censor([secret])(before + stretch + behind, longest=10_000)
    assert stretch.lower() not in text.lower()


@given(st.text())
def test_what_is_shown_is_short_and_printable(text):
    result = Censor()(text)
    assert len(result) <= 200
    assert result.isprintable() or all(c.isprintable() or c == " " for c in result)


def test_words_that_are_no_secret_stay_readable():
    text = "no such route; ask the team that runs this service"
    secrets = target("https://hooks.example/v1/hooks/T0C4n4ry").secrets()
    assert Censor(secrets)(text) == text
