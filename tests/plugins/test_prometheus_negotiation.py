"""`/metrics` looks as the request's headers ask: format, version, compression."""

from __future__ import annotations

import gzip
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.job_rows import job_row, selection
from support.scraping import Scrape, Scraper
from tunewatch_plugins.prometheus.negotiation import wanted
from tunewatch_plugins.prometheus.sheets import GzipSheet, gzipped

PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,"
    "application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
PLAIN_1 = "text/plain; version=1.0.0; charset=utf-8"


def content_type(accept: str) -> str:
    return wanted({"accept": accept}).content_type


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        (PROMETHEUS_2_42, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS + "; escaping=allow-utf-8"),
        (
            "application/vnd.google.protobuf;encoding=delimited;q=0.7," + PROMETHEUS_3,
            OPENMETRICS + "; escaping=allow-utf-8",
        ),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OPENMETRICS),
        (
            "application/openmetrics-text;version=1.0.0;escaping=values,text/plain;q=0.5",
            OPENMETRICS + "; escaping=values",
        ),
        ("application/openmetrics-text;version=1.0.0;escaping=runes", OPENMETRICS),
        ("application/openmetrics-text;version=0.0.1", PLAIN),
        ("application/openmetrics-text;version=2.0.0", PLAIN),
        ("text/plain, application/openmetrics-text;q=0.5", PLAIN),
        ("text/plain;q=0.5, application/openmetrics-text;q=0.5", OPENMETRICS),
        ("*/*, application/openmetrics-text;q=0.5", PLAIN),
        ("text/*;q=0.9, application/openmetrics-text;q=0.5", PLAIN),
        ("application/openmetrics-text;q=0", PLAIN),
        ("application/openmetrics-text;q=nonsense", PLAIN),
        ("application/openmetrics-text;q=nan", PLAIN),
        ("application/openmetrics-text;q=7", PLAIN),
        ("text/plain;version=1.0.0", PLAIN_1),
        (
            "text/plain;version=1.0.0;escaping=underscores;q=0.6,text/plain;q=0.5",
            PLAIN_1 + "; escaping=underscores",
        ),
        ("text/plain;version=0.0.4;q=0.6,text/plain;version=1.0.0;q=0.5", PLAIN),
        ("text/html,*/*", PLAIN),
        ("", PLAIN),
    ],
)
def test_the_format_that_is_wanted_most_is_sent(accept: str, answered: str):
    assert content_type(accept) == answered
    assert wanted({"accept": accept}).is_openmetrics is answered.startswith("appl")


@given(st.text(max_size=40))
def test_any_header_whatever_gets_an_answer(header: str):
    asked = wanted({"accept": header, "accept-encoding": header})
    assert asked.content_type.partition(";")[0] in {"text/plain", OPENMETRICS[:28]}


@pytest.mark.parametrize(
    ("accepted", "is_gzip"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("gzip, deflate, br", True),
        ("deflate;q=1, gzip;q=0.1", True),
        ("*", True),
        ("gzip;q=0", False),
        ("*, gzip;q=0", False),
        ("identity", False),
        ("", False),
    ],
)
async def test_the_answer_is_compressed_for_those_who_ask(
    tmp_path: Path, accepted: str, is_gzip: bool
):
    rows = [job_row(f"j{n}", selection=selection(), step=n) for n in range(900)]
    scraper = Scraper(tmp_path, *rows, max_jobs=800)
    plain = await scraper.metrics.respond({})
    answer = await scraper.metrics.respond({"accept-encoding": accepted})
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert ("Content-Encoding" in answer.headers) is is_gzip
    body = gzip.decompress(answer.body) if is_gzip else answer.body
    assert body == plain.body
    assert (len(answer.body) * 10 < len(body)) is is_gzip


async def test_compressed_openmetrics_is_whole_and_ends_once(tmp_path: Path):
    scraper = Scraper(tmp_path, job_row())
    headers = {"accept": PROMETHEUS_3, "accept-encoding": "gzip"}
    answer = await scraper.metrics.respond(headers)
    found = Scrape(gzip.decompress(answer.body), openmetrics=True)
    assert found.text.endswith("# EOF\n")
    assert found.text.count("# EOF") == 1


texts = st.lists(st.binary(max_size=200) | st.just(b"tunewatch_up 1\n" * 900))


@given(st.lists(texts, max_size=5))
def test_sheets_written_in_any_order_are_one_gzip_file(written: list[list[bytes]]):
    sheets = [GzipSheet() for _ in written]
    longest = max((len(pieces) for pieces in written), default=0)
    for at in range(longest):  # all first pieces, all second ones, …
        for sheet, pieces in zip(sheets, written, strict=True):
            for piece in pieces[at : at + 1]:
                sheet.write(piece)
    packed = gzipped(sheets)
    text = b"".join(piece for pieces in written for piece in pieces)
    # One member and nothing behind it: not every client reads several.
    inflate: Any = zlib.decompressobj(31)
    assert inflate.decompress(packed) == text
    assert inflate.eof
    assert inflate.unused_data == b""


def test_the_program_gzip_reads_what_was_packed():
    sheets = [GzipSheet(), GzipSheet(), GzipSheet()]
    for sheet, text in zip(sheets, (b"one\n", b"", b"three\n" * 50_000), strict=True):
        sheet.write(text)
    done = subprocess.run(
        ["gzip", "-cd"], input=gzipped(sheets), capture_output=True, check=True
    )
    assert done.stdout == b"one\n" + b"three\n" * 50_000
