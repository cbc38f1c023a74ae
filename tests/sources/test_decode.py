from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewatch.model import Checkpoint, Entry, Job, JobError, JobStatus
from tunewatch.sources.contract import Unreadable
from tunewatch.sources.openai.decode import checkpoint_of, entry_of, identify, job_of


def job(**fields: object) -> Job:
    return job_of(json.dumps({"id": "ftjob-1", "status": "running", **fields}).encode())


def entry(**fields: object) -> Entry:
    item = {"id": "ftevent-1", "created_at": 1723207941, **fields}
    return entry_of(json.dumps(item).encode())


def test_an_id_and_a_status_make_a_job() -> None:
    assert job() == Job(id="ftjob-1", status="running")


def test_an_unheard_of_status_is_kept_and_does_not_end_the_job() -> None:
    assert job(status="distilling").status == "distilling"
    assert job(status="distilling").state is JobStatus.UNKNOWN


@pytest.mark.parametrize("status", [None, 3, "", {}, []])
def test_a_job_without_a_status_is_unreadable(status: object) -> None:
    with pytest.raises(Unreadable, match="ftjob-1 has no status"):
        job(status=status)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"id": 1}', b'{"id": " "}', b"{"])
def test_an_item_without_an_id_is_unreadable(raw: bytes) -> None:
    for read in (job_of, entry_of, checkpoint_of, identify):
        with pytest.raises(Unreadable):
            read(raw)


def test_a_field_of_the_wrong_type_reads_as_absent() -> None:
    odd = {
        name: [{"odd": [1]}]
        for name in Job.__struct_fields__
        if name not in {"id", "status", "extra", "integrations"}
    }
    assert job(**odd) == Job(id="ftjob-1", status="running")


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (1723205158, 1723205158),
        (1723205158.0, 1723205158),
        (0, 0),
        (True, None),
        (-1, None),
        (1723205158000000, None),
        ("1723205158", None),
        (1.5, None),
    ],
)
def test_a_time_is_unix_seconds_that_a_calendar_has(said: object, read: object) -> None:
    assert job(created_at=said).created_at == read


@pytest.mark.parametrize(
    "error", [{}, None, "", {"code": None, "message": None, "param": "x"}, [], 0]
)
def test_an_error_without_code_and_message_is_no_error(error: object) -> None:
    assert job(error=error).error is None


def test_an_error_counts_with_a_code_or_a_message() -> None:
    assert job(error={"code": "c"}).error == JobError(code="c")
    assert job(error={"message": "m", "param": "p"}).error == JobError(
        message="m", param="p"
    )
    assert job(error="it broke").error == JobError(message="it broke")
    assert job(error={"code": 17}).error == JobError(code="17")


def test_the_suffix_has_two_names() -> None:
    assert job(user_provided_suffix="a").suffix == "a"
    assert job(suffix="b").suffix == "b"
    assert job(user_provided_suffix=None, suffix="b").suffix == "b"
    assert job(user_provided_suffix="a", suffix="b").extra == {}


def test_metadata_that_is_no_text_becomes_text_or_goes() -> None:
    said = {"team": "a", "n": 3, "x": 0.5, "ok": True, "none": None, "deep": {}}
    read = {"team": "a", "n": "3", "x": "0.5", "ok": "true"}
    assert job(metadata=said).metadata == read
    assert job(metadata={}).metadata is None


def test_unknown_fields_are_kept_and_the_object_is_not() -> None:
    read = job(object="fine_tuning.job", shared_with_openai=False, eval_id="e", x=None)
    assert read.extra == {"shared_with_openai": False, "eval_id": "e", "x": None}


def test_an_empty_model_name_names_no_model() -> None:
    assert job(fine_tuned_model="").fine_tuned_model is None


def test_result_files_that_are_null_are_none() -> None:
    assert job(result_files=None).result_files == ()
    assert job(result_files=["file-1", None, 3]).result_files == ("file-1",)


def test_a_method_is_kept_raw() -> None:
    method = {"type": "distillation", "distillation": {"teacher": {"a": [1, 2]}}}
    assert job(method=method).method == method
    assert job(method=method).training_method == "distillation"


def test_an_entry_without_a_type_is_a_message() -> None:
    assert entry(message="Job started.").type == "message"
    assert entry(type=None).type == "message"
    assert entry(type="moderation_checks").type == "moderation_checks"


def test_a_message_that_is_no_text_is_shown_as_it_stands() -> None:
    assert entry(message={"a": 1}).message == '{"a":1}'
    assert entry(message=None).message == ""


def test_metrics_of_a_step_are_a_point() -> None:
    read = entry(type="metrics", data={"step": 3, "total_steps": 9, "train_loss": 0.0})
    assert read.point is not None
    assert (read.point.step, read.point.total_steps) == (3, 9)
    assert read.point.created_at == 1723207941
    assert read.point.values == {"train_loss": 0.0}


@pytest.mark.parametrize("step", [None, "3", 1.5, -1, True, {}, 2**60])
def test_metrics_without_a_step_stay_data_of_their_entry(step: object) -> None:
    data = {"step": step, "train_loss": 0.5}
    read = entry(type="metrics", data=data)
    assert read.point is None
    assert (read.type, read.data) == ("metrics", data)


@pytest.mark.parametrize("data", [None, [], "text", 3, {}])
def test_metrics_without_usable_data_are_no_point(data: object) -> None:
    assert entry(type="metrics", data=data).point is None


def test_a_message_with_a_step_in_its_data_is_no_point() -> None:
    assert entry(type="message", data={"step": 3, "train_loss": 1.0}).point is None


def test_a_checkpoint_takes_its_step_from_its_metrics_if_need_be() -> None:
    read = checkpoint_of(b'{"id": "c", "metrics": {"step": 7, "x": "1", "y": null}}')
    assert read == Checkpoint(id="c", step=7)


def test_a_checkpoint_keeps_what_is_unknown() -> None:
    raw = b'{"id": "c", "step_number": 0, "metrics": null, "shutdown_date": "d"}'
    assert checkpoint_of(raw) == Checkpoint(
        id="c", step=0, extra={"shutdown_date": "d"}
    )


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["running", "metrics", "ftjob-1", 2**70, 10**400, -1]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["name", "step", "graders", "a.b"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
_names = sorted(
    {
        *Job.__struct_fields__,
        *Entry.__struct_fields__,
        *Checkpoint.__struct_fields__,
        "step_number",
        "user_provided_suffix",
        "object",
    }
)
_items = st.dictionaries(st.sampled_from(_names) | st.text(max_size=3), _json)
_identified = st.builds(lambda item: {"id": "x", "status": "s", **item}, _items)


def raw_of(item: Any) -> bytes:
    """Return JSON as careless servers write it: NaN, half surrogates and all."""
    return json.dumps(item).encode()


def numbers_in(read: Job | Entry | Checkpoint) -> list[float]:
    if isinstance(read, Checkpoint):
        return list(read.metrics.values())
    if isinstance(read, Entry) and read.point is not None:
        return list(read.point.values.values())
    return []


@given(_items | _identified | _json)
def test_any_json_is_read_or_unreadable_and_never_a_crash(item: Any) -> None:
    raw = raw_of(item)
    for read in (job_of, entry_of, checkpoint_of):
        try:
            got = read(raw)
        except Unreadable:
            continue
        assert got.id == identify(raw)
        assert all(map(math.isfinite, numbers_in(got)))
        assert all(type(number) is float for number in numbers_in(got))
        # Whatever was read can be written as JSON, and says the same when read again.
        again = msgspec.json.decode(msgspec.json.encode(got), type=type(got))
        assert again.id == got.id


@given(_identified)
def test_any_object_with_an_id_and_a_status_is_a_job(item: dict[str, Any]) -> None:
    item.update(id="x", status="s")
    read = job_of(raw_of(item))
    assert (read.id, read.status) == ("x", "s")
    assert read == job_of(raw_of(item))


@given(st.binary())
def test_any_bytes_are_read_or_unreadable(raw: bytes) -> None:
    for read in (job_of, entry_of, checkpoint_of, identify):
        chained: BaseException | None = None
        try:
            read(raw)
        except Unreadable as fault:
            chained = fault.__context__
        # The decoder's own error would carry the bytes.
        assert chained is None
