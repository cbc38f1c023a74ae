"""What one look at a job changes, sentence by sentence of the polling rules."""

from typing import Any

import msgspec
import pytest

from tunewatch.diff import NEW, Delta, JobState, Known, Observation, diff
from tunewatch.events import (
    CheckpointCreated,
    CheckpointRemoved,
    JobDiscovered,
    JobRemoved,
    JobReopened,
    JobSettled,
    JobStatusChanged,
    JobUpdated,
    MessageLogged,
    MetricsRecorded,
)
from tunewatch.events.identity import event_id
from tunewatch.model import Checkpoint, Entry, Job, JobError, MetricPoint

AT = 1_723_208_000.0
CREATED = 1_723_207_900


def job(status: str = "running", **fields: Any) -> Job:
    fields.setdefault("created_at", CREATED)
    return Job(id="ftjob-1", status=status, **fields)


def look(**fields: Any) -> Observation:
    fields.setdefault("look", 1)
    fields.setdefault("raw", b"{}")
    return Observation(job_id="ftjob-1", at=AT, **fields)


def message(name: str, at: int = CREATED, text: str = "hello") -> Entry:
    return Entry(id=name, created_at=at, message=text)


def metrics(name: str, step: int, at: int = CREATED, **values: float) -> Entry:
    values = values or {"train_loss": 1.0 / step}
    point = MetricPoint(step=step, values=values, total_steps=100)
    return Entry(id=name, created_at=at, type="metrics", point=point)


def types(delta: Delta) -> list[str]:
    return [happening.type for happening in delta.happenings]


def first(**fields: Any) -> Delta:
    return diff(NEW, None, job(**fields), look(), Known())


def told(state: JobState, before: Job, after: Job, **fields: Any) -> Delta:
    return diff(state, before, after, look(**fields), Known())


def test_a_first_sight_is_discovered_then_status_without_a_previous_one():
    delta = first()
    assert types(delta) == ["tunewatch.job.discovered", "fine_tuning.job.running"]
    payload = delta.happenings[1].payload
    assert isinstance(payload, JobStatusChanged)
    assert payload.previous_status is None
    assert payload.changes == {}


def test_the_order_within_a_look_is_discovered_entries_checkpoints_status():
    seen = look(
        entries=(message("e1"), metrics("e2", 1)),
        checkpoints=(Checkpoint(id="c1", step=1),),
    )
    delta = diff(NEW, None, job("succeeded"), seen, Known())
    assert types(delta) == [
        JobDiscovered.TYPE,
        MessageLogged.TYPE,
        MetricsRecorded.TYPE,
        CheckpointCreated.TYPE,
        "fine_tuning.job.succeeded",
    ]


def test_an_unheard_of_status_is_told_verbatim_and_is_not_an_end():
    delta = first(status="Deep-Sleep")
    assert types(delta)[-1] == "fine_tuning.job._eep__leep"
    payload = delta.happenings[-1].payload
    assert isinstance(payload, JobStatusChanged)
    assert payload.job["status"] == "Deep-Sleep"
    assert delta.after.told_status == "Deep-Sleep"


def test_the_same_look_again_tells_nothing():
    state = first().after
    delta = told(state, job(), job(), look=2)
    assert delta.happenings == ()
    assert not delta.changed


def test_a_status_change_carries_what_changed_with_it():
    state = first().after
    done = job("succeeded", finished_at=CREATED + 60, trained_tokens=9, seed=4)
    delta = told(state, job(), done, look=2)
    assert types(delta) == ["fine_tuning.job.succeeded"]
    happening = delta.happenings[0]
    payload = happening.payload
    assert isinstance(payload, JobStatusChanged)
    assert payload.previous_status == "running"
    assert payload.changes == {
        "finished_at": {"before": None, "after": CREATED + 60},
        "trained_tokens": {"before": None, "after": 9},
        "seed": {"before": None, "after": 4},
    }
    assert happening.created_at == CREATED + 60


@pytest.mark.parametrize(
    "fields",
    [{"estimated_finish": 5}, {"trained_tokens": 5}, {"extra": {"new_thing": 1}}],
)
def test_estimates_tokens_and_unknown_fields_are_stored_without_a_word(fields):
    delta = told(first().after, job(), job(**fields), look=2)
    assert delta.happenings == ()
    assert delta.keep_raw


def test_auto_turning_into_numbers_is_one_update():
    before = job(hyperparameters={"n_epochs": "auto"})
    after = job(hyperparameters={"n_epochs": 3})
    delta = told(first().after, before, after, look=2)
    assert types(delta) == [JobUpdated.TYPE]
    payload = delta.happenings[0].payload
    assert isinstance(payload, JobUpdated)
    assert payload.changes["hyperparameters"]["after"] == {"n_epochs": 3}


def test_an_error_that_arrives_after_the_status_is_an_update():
    state = first(status="failed").after
    after = job("failed", error=JobError(code="invalid_n_examples"))
    assert types(told(state, job("failed"), after, look=2)) == [JobUpdated.TYPE]


def test_pause_resume_pause_gives_four_events_with_four_names():
    state, names, before = first().after, set(), job()
    for status in ("paused", "running", "paused", "running"):
        after = job(status)
        delta = told(state, before, after, look=2)
        (happening,) = delta.happenings
        names.add(event_id("r", "ftjob-1", happening.type, happening.key))
        state, before = delta.after, after
    assert len(names) == 4


def test_several_events_in_one_second_are_told_by_step_with_messages_in_place():
    second = CREATED + 5
    seen = look(
        look=2,
        entries=(
            message("m1", second, "started"),
            metrics("p3", 3, second),
            metrics("p1", 1, second),
            metrics("p2", 2, second),
            message("m2", second, "done"),
        ),
    )
    delta = diff(first().after, job(), job(), seen, Known())
    assert types(delta) == [
        MessageLogged.TYPE,
        MetricsRecorded.TYPE,
        MessageLogged.TYPE,
    ]
    recorded = delta.happenings[1].payload
    assert isinstance(recorded, MetricsRecorded)
    assert [(p.n, p.step) for p in recorded.points] == [(1, 1), (2, 2), (3, 3)]
    assert delta.happenings[1].key == ("p1", "p3", 3)


def test_known_events_and_repeats_within_a_walk_are_told_once():
    seen = look(look=2, entries=(message("m1"), message("m2"), message("m2")))
    known = Known(entries=frozenset({"m1"}))
    delta = diff(first().after, job(), job(), seen, known)
    assert delta.entries == ("m2",)
    assert types(delta) == [MessageLogged.TYPE]


def test_one_event_carries_at_most_500_points_and_128_kib():
    steps = tuple(metrics(f"e{n}", n, CREATED + n) for n in range(1, 1201))
    delta = diff(first().after, job(), job(), look(look=2, entries=steps), Known())
    groups = [h.payload for h in delta.happenings]
    assert [len(g.points) for g in groups] == [500, 500, 200]
    assert [p.n for g in groups for p in g.points] == list(range(1, 1201))
    wide = tuple(
        metrics(f"w{n}", n, **{f"grader_number_{k}": 0.123456789 for k in range(200)})
        for n in range(1, 200)
    )
    delta = diff(first().after, job(), job(), look(look=2, entries=wide), Known())
    sizes = [len(msgspec.json.encode(h.payload)) for h in delta.happenings]
    assert len(sizes) > 1
    assert max(sizes) < 128 * 1024
    assert sum(len(h.payload.points) for h in delta.happenings) == 199


def test_nan_and_infinity_are_no_value_never_zero():
    bad = metrics("e1", 7, train_loss=float("nan"), valid_loss=float("inf"), full=0.5)
    delta = diff(first().after, job(), job(), look(look=2, entries=(bad,)), Known())
    assert delta.points[0].values == {"full": 0.5}
    assert set(delta.after.latest) == {"full"}


def test_gauges_show_the_highest_step_and_late_points_do_not_move_them_back():
    entries = (metrics("e1", 10, train_loss=0.5), metrics("e2", 4, train_loss=0.9))
    delta = diff(first().after, job(), job(), look(look=2, entries=entries), Known())
    assert delta.after.step == 10
    assert delta.after.latest["train_loss"] == (10, 0.5)


def test_a_result_file_fills_only_what_nobody_had():
    state = first(status="succeeded").after
    seen = look(
        look=2,
        file_id="file-1",
        file_points=(
            MetricPoint(step=1, values={"train_loss": 9.0, "valid_loss": 2.0}),
            MetricPoint(step=2, values={"train_loss": 1.0}),
            MetricPoint(step=3, values={"train_loss": 0.5}),
        ),
    )
    known = Known(filled={1: frozenset({"train_loss"}), 2: frozenset({"train_loss"})})
    ended = job("succeeded", finished_at=CREATED + 9)
    delta = diff(state, ended, ended, seen, known)
    assert types(delta) == [MetricsRecorded.TYPE]
    assert delta.happenings[0].key == ("file-1", 1, 3)
    assert [(p.step, p.values) for p in delta.points] == [
        (1, {"valid_loss": 2.0}),
        (3, {"train_loss": 0.5}),
    ]
    again = diff(delta.after, ended, ended, seen, known)
    assert again.happenings == ()


def test_an_open_result_file_is_read_again_until_the_job_settles():
    state, ended = first(status="succeeded").after, job("succeeded")

    def reading(look_number: int, *rows: MetricPoint, **fields: Any) -> Observation:
        return look(
            look=look_number,
            file_id="file-1",
            file_points=rows,
            file_open=True,
            complete=True,
            settle_window=90.0,
            **fields,
        )

    loss = MetricPoint(step=1, values={"train_loss": 0.5})
    delta = diff(state, ended, ended, reading(2, loss), Known())
    assert [p.values for p in delta.points] == [{"train_loss": 0.5}]
    assert delta.after.files == ()
    more = MetricPoint(step=1, values={"train_loss": 0.5, "valid_loss": 0.7})
    known = Known(filled={1: frozenset({"train_loss"})})
    again = diff(delta.after, ended, ended, reading(3, more, quiet_for=99.0), known)
    assert [p.values for p in again.points] == [{"valid_loss": 0.7}]
    keys = [d.happenings[0].key for d in (delta, again)]
    assert keys == [("file-1", 1, 1, 1), ("file-1", 1, 1, 2)]
    assert not again.after.settled
    known = Known(filled={1: frozenset({"train_loss", "valid_loss"})})
    last = diff(again.after, ended, ended, reading(4, more, quiet_for=99.0), known)
    assert types(last) == [JobSettled.TYPE]
    assert last.after.files == ("file-1",)


def test_a_checkpoint_is_removed_when_absent_long_enough_and_may_come_back():
    checkpoint = Checkpoint(id="c1", step=10)
    known = Known(checkpoints={"c1": checkpoint})
    state = first().after
    soon = look(look=2, checkpoints=(), absent_for={"c1": 3.0}, absent_after=15.0)
    delta = diff(state, job(), job(), soon, known)
    assert delta.happenings == ()
    assert delta.absent == {"c1"}
    late = look(look=3, checkpoints=(), absent_for={"c1": 15.0}, absent_after=15.0)
    removed = diff(delta.after, job(), job(), late, known)
    assert types(removed) == [CheckpointRemoved.TYPE]
    assert removed.removed_checkpoints == ("c1",)
    back = look(look=4, checkpoints=(checkpoint,))
    created = diff(removed.after, job(), job(), back, Known())
    assert types(created) == [CheckpointCreated.TYPE]
    assert created.happenings[0].key != ("c1",)


def test_a_list_that_was_not_asked_for_removes_nothing():
    known = Known(checkpoints={"c1": Checkpoint(id="c1", step=10)})
    delta = diff(first().after, job(), job(), look(look=2), known)
    assert delta.absent == frozenset()
    assert delta.happenings == ()


def test_an_ended_job_that_goes_on_needs_a_second_word():
    state = first(status="succeeded").after
    ended, again = job("succeeded"), job("running")
    doubt = told(state, ended, again, look=2)
    assert doubt.unconfirmed
    assert doubt.happenings == ()
    assert not doubt.keep_raw
    sure = told(state, ended, again, look=3, confirmed=True)
    assert types(sure) == ["fine_tuning.job.running"]


def test_a_job_settles_only_when_complete_quiet_and_ended():
    state = first(status="succeeded").after
    ended = job("succeeded", finished_at=CREATED + 100)

    def settles(**fields: Any) -> bool:
        return JobSettled.TYPE in types(
            told(state, ended, ended, look=2, settle_window=90.0, **fields)
        )

    assert not settles(complete=True, quiet_for=None)
    assert not settles(complete=True, quiet_for=89.0)
    assert not settles(complete=False, quiet_for=200.0)
    assert not settles(complete=True, quiet_for=95.0, entries=(message("late"),))
    assert settles(complete=True, quiet_for=90.0)


def test_a_settled_job_that_changes_is_reopened_first():
    state = first(status="succeeded").after
    ended = job("succeeded", finished_at=CREATED + 100)
    settled = told(
        state, ended, ended, look=2, complete=True, quiet_for=9.0, settle_window=9.0
    ).after
    assert settled.settled
    late = told(settled, ended, ended, look=3, entries=(message("billing"),))
    assert types(late) == [JobReopened.TYPE, MessageLogged.TYPE]
    assert not late.after.settled
    assert told(settled, ended, ended, look=3).happenings == ()


def test_a_removed_job_is_told_once_and_reopened_if_it_comes_back():
    state = first().after
    gone = told(state, job(), job(), look=2, raw=None, gone=True)
    assert types(gone) == [JobRemoved.TYPE]
    assert gone.after.settled
    assert told(gone.after, job(), job(), look=3, raw=None, gone=True).happenings == ()
    back = told(gone.after, job(), job(), look=4)
    assert types(back) == [JobReopened.TYPE]
    assert not back.after.removed


def test_a_job_from_before_the_backfill_is_recorded_without_a_word():
    ended = job("succeeded", finished_at=CREATED)
    silent = diff(NEW, None, ended, look(silent=True), Known())
    assert silent.happenings == ()
    assert silent.after.settled
    same = told(silent.after, ended, ended, look=2)
    assert same.happenings == ()
    renamed = job("succeeded", finished_at=CREATED, fine_tuned_model="ft:x")
    changed = told(silent.after, ended, renamed, look=2)
    assert types(changed) == [JobDiscovered.TYPE, "fine_tuning.job.succeeded"]


def test_the_first_look_at_an_older_job_is_marked_backfilled():
    old = diff(NEW, None, job(created_at=int(AT) - 601), look(), Known())
    assert old.backfilled
    young = diff(NEW, None, job(created_at=int(AT) - 599), look(), Known())
    assert not young.backfilled
    later = told(old.after, job(), job("succeeded"), look=2)
    assert not later.backfilled


def test_a_look_cut_into_parts_changes_the_state_only_in_the_last():
    one = look(entries=(message("e1"),), partial=True)
    part = diff(NEW, None, job("succeeded"), one, Known())
    assert types(part) == [JobDiscovered.TYPE, MessageLogged.TYPE]
    assert part.after.told_status is None
    two = look(entries=(message("e2"),))
    rest = diff(part.after, job("succeeded"), job("succeeded"), two, Known())
    assert types(rest) == [MessageLogged.TYPE, "fine_tuning.job.succeeded"]


def test_durations_are_by_the_providers_times_and_absent_when_one_is_missing():
    entries = (metrics("e1", 1, CREATED + 40),)
    started = diff(NEW, None, job(), look(entries=entries), Known())
    ended = job("failed", finished_at=None)
    failed = told(started.after, job(), ended, look=2)
    fields = {"complete": True, "quiet_for": 1.0, "settle_window": 1.0}
    payload = told(failed.after, ended, ended, look=3, **fields).happenings[0].payload
    assert isinstance(payload, JobSettled)
    assert payload.duration_seconds is None
    assert payload.queue_seconds == 40
