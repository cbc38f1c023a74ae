from __future__ import annotations

import logging
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.scripted_api import Reply, answer, listing, scripted_api, source_at
from tunewatch.sources.contract import Refused, SourceFault
from tunewatch.sources.openai.redaction import redacted

CANARY = "sk-proj-canaryB4rN8xQ2mZ7pL0sV6tYw"

ECHOES = [
    Reply(hang=True),
    Reply(drop=True),
    Reply(body=f'{{"data": [{{"key": "{CANARY}"'.encode()),
    Reply(body=f"<html>{CANARY}</html>".encode(), headers={"content-type": CANARY}),
    *(
        answer({"error": {"message": message, "code": code}}, status=status)
        for status in (302, 400, 401, 403, 404, 429, 500)
        for message, code in [
            (f"Incorrect API key provided: {CANARY}. Look at our site.", CANARY),
            (f"Authorization: Bearer {CANARY}", f"bad_{CANARY}"),
            (f"{'x ' * 1990}{CANARY}", None),
        ]
    ),
    answer({"error": CANARY}, status=401),
    Reply(body=CANARY.encode(), status=401),
]


def everything_said(error: BaseException) -> str:
    """Return all that an exception and those it chains to could tell anybody."""
    said = ["".join(traceback.format_exception(error))]
    link: BaseException | None = error
    while link is not None:
        said += [str(link), repr(link), repr(link.args), repr(vars(link))]
        link = link.__cause__ or link.__context__
    return "\n".join(said)


@pytest.mark.parametrize("earlier", [0, 1])
@pytest.mark.parametrize("reply", ECHOES)
async def test_a_key_never_shows_in_a_fault_or_a_log(
    reply: Reply, earlier: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        scripted_api() as api,
        source_at(api.base_url, key=lambda: CANARY, timeout=0.5) as it,
    ):
        api.says("/fine_tuning/jobs", *[listing()] * earlier, reply)
        for _ in range(earlier):
            await it.source.list_jobs(after=None, limit=1)
        with pytest.raises(SourceFault) as raised:
            await it.source.list_jobs(after=None, limit=1)
        assert CANARY in api.requests[-1].headers["authorization"]
        told = everything_said(raised.value) + repr(it.calls) + repr(it.source)
    assert CANARY not in told
    assert CANARY[8:20] not in told
    assert CANARY not in caplog.text
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


@pytest.mark.parametrize("odd", ["\n", "…", "\x00", " ", "\x7f", "é"])
async def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(
    odd: str,
) -> None:
    key = f"{CANARY}{odd}{CANARY}"
    async with scripted_api() as api, source_at(api.base_url, key=lambda: key) as it:
        with pytest.raises(Refused, match="characters that no key has") as raised:
            await it.source.list_jobs(after=None, limit=1)
        assert CANARY not in everything_said(raised.value)
        assert api.requests == []


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (
            "Incorrect API key provided: sk-abc***wxyz. Find yours at the site.",
            "Incorrect API key provided: [redacted] Find yours at the site.",
        ),
        ("token 9f86d081884c7d659a2feaa0c55ad015", "token [redacted]"),
        ("masked 9f86****0015 here", "masked [redacted] here"),
        ("Could not find fine tune: ftjob-x", "Could not find fine tune: ftjob-x"),
        (
            "no file file-olGk5MMJhcAPQWI4y0oW5fIj",
            "no file file-olGk5MMJhcAPQWI4y0oW5fIj",
        ),
        ("two\nlines\x1b[31m", "two lines [31m"),
        ("rate_limit_exceeded_for_requests", "rate_limit_exceeded_for_requests"),
    ],
)
def test_what_looks_like_a_secret_goes_and_ids_stay(said: str, kept: str) -> None:
    assert redacted(said) == kept


def test_a_long_text_is_cut() -> None:
    assert len(redacted("many words " * 5000)) == 200


@given(st.text(), st.text(alphabet="abcXYZ0189-_.", min_size=6), st.text())
def test_a_known_secret_is_gone_from_any_text(
    before: str, secret: str, after: str
) -> None:
    assert secret not in redacted(f"{before}{secret}{after}", secret)
