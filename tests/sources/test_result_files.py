from __future__ import annotations

import base64
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from support.scripted_api import Reply, scripted_api, source_at
from tunewatch.model import MetricPoint
from tunewatch.sources.contract import Missing, Unreadable
from tunewatch.sources.openai.result_file import read_result_file

CSV = (
    b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n"
    b"1,0.5,0.8,,\n"
    b"2,0.0,0.9,0.25,0.7\n"
)
POINTS = (
    MetricPoint(step=1, values={"train_loss": 0.5, "train_mean_token_accuracy": 0.8}),
    MetricPoint(
        step=2,
        values={
            "train_loss": 0.0,
            "valid_loss": 0.25,
            "train_mean_token_accuracy": 0.9,
            "valid_mean_token_accuracy": 0.7,
        },
    ),
)


@pytest.mark.parametrize(
    "body",
    [
        CSV,
        CSV.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + CSV,
        b"\n" + CSV + b"\n\n",
        CSV.replace(b"step,", b'"step",', 1),
        base64.b64encode(CSV),
        base64.b64encode(CSV) + b"\n",
        base64.encodebytes(CSV),
        base64.b64encode(b"\xef\xbb\xbf" + CSV.replace(b"\n", b"\r\n")),
    ],
    ids=[
        "plain",
        "crlf",
        "bom",
        "blank lines",
        "quoted",
        "b64",
        "b64nl",
        "mime",
        "all",
    ],
)
def test_a_file_is_read_in_every_dress(body: bytes) -> None:
    assert read_result_file(body) == (POINTS, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>no</body></html>",
        b"epoch,train_loss\n1,0.5\n",
        base64.b64encode(b"epoch,train_loss\n1,0.5\n"),
        base64.b64encode(CSV)[:-3] + b"!!!",
        b'{"error": {"message": "no"}}',
        b"\xff\x00\xff",
        b"steps,train_loss\n1,0.5\n",
    ],
)
def test_a_file_without_a_step_column_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable, match="step column") as raised:
        read_result_file(body)
    assert raised.value.__context__ is None


def test_rows_that_make_no_sense_are_counted_and_left_out() -> None:
    body = b"step,train_loss\n1,0.5\n2\n3,5,6\nx,5\n1.5,5\n-1,5\n,5\n4.0,0.4\n"
    points, malformed = read_result_file(body)
    assert [(point.step, point.values) for point in points] == [
        (1, {"train_loss": 0.5}),
        (4, {"train_loss": 0.4}),
    ]
    assert malformed == 6


def test_a_file_of_nothing_but_odd_rows_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="none of the result file's 2 rows"):
        read_result_file(b"step,train_loss\nx,1\ny,2\n")


def test_a_file_that_has_only_begun_has_no_points_yet() -> None:
    assert read_result_file(b"step,train_loss\n") == ((), 0)


def test_a_value_that_is_no_finite_number_is_absent_and_zero_is_not() -> None:
    body = b"step,a,b,c,d,e\n1,nan,inf,-,0,1e999\n"
    assert read_result_file(body).points[0].values == {"d": 0.0}


def test_unknown_columns_are_kept() -> None:
    body = b"step,errors/graders/x,pg_loss_sum\n7,0.25,3\n"
    assert read_result_file(body).points[0].values == {
        "errors/graders/x": 0.25,
        "pg_loss_sum": 3.0,
    }


def test_rows_of_one_step_are_one_point_and_the_first_value_stands() -> None:
    body = b"train_loss,step,valid_loss\n0.5,2,\n0.9,1,\n0.7,2,0.25\n"
    points, _ = read_result_file(body)
    assert [(point.step, point.values) for point in points] == [
        (1, {"train_loss": 0.9}),
        (2, {"train_loss": 0.5, "valid_loss": 0.25}),
    ]


def test_two_columns_of_one_name_both_stay() -> None:
    body = b"step,loss,loss\n1,0.5,0.6\n"
    assert read_result_file(body).points[0].values == {"loss": 0.5, "loss#2": 0.6}


async def test_points_of_a_large_file_are_read_and_odd_rows_told() -> None:
    rows = b"".join(b"%d,0.5\n" % step for step in range(1, 50_001))
    body = base64.b64encode(b"step,train_loss\n" + rows + b"odd\n")
    async with scripted_api() as api, source_at(api.base_url) as it:
        api.says("/files/file-1/content", Reply(body=body))
        points = await it.source.result_points("file-1")
    assert len(points) == 50_000
    assert (it.calls[0].endpoint, it.calls[0].malformed) == ("file", 1)


async def test_a_file_that_is_gone_is_missing() -> None:
    async with scripted_api() as api, source_at(api.base_url) as it:
        with pytest.raises(Missing):
            await it.source.result_points("file-1")


async def test_a_file_without_end_is_left() -> None:
    async with scripted_api() as api, source_at(api.base_url, timeout=60) as it:
        api.says("/files/file-1/content", Reply(body=b"1,2\n" * 65536, endless=True))
        with pytest.raises(Unreadable, match="larger than 67108864 bytes"):
            await it.source.result_points("file-1")


_cells = st.sampled_from(["1", "2.0", "", "nan", "x", "-1", "0", '"', "1e400", "\x00"])


@given(st.lists(st.lists(_cells, max_size=4)), st.binary(max_size=30))
def test_any_table_is_read_or_unreadable(rows: list[list[str]], tail: bytes) -> None:
    lines = "\n".join(",".join(row) for row in rows).encode()
    try:
        points, malformed = read_result_file(b"step,a,step\n" + lines + tail)
    except Unreadable:
        return
    assert malformed >= 0
    assert [point.step for point in points] == sorted({point.step for point in points})
    for point in points:
        assert all(map(math.isfinite, point.values.values()))


@given(st.binary())
def test_bytes_that_name_no_steps_are_unreadable(body: bytes) -> None:
    assume(b"step" not in body)
    for each in (body, base64.b64encode(body)):
        with pytest.raises(Unreadable):
            read_result_file(each)
