"""For any history of looks: who heard everything knows everything.

A provider is played by a machine that moves jobs about at will, a poller by one that
looks at it whole or in part, late, twice, or cut into parts.
"""

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tunewatch.diff import NEW, JobState, Known, Observation, diff
from tunewatch.events import (
    CheckpointCreated,
    CheckpointRemoved,
    Happening,
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
from tunewatch.model import Checkpoint, Entry, Job, MetricPoint, overlay

STATUSES = ["validating_files", "queued", "running", "paused", "succeeded", "odd-word"]
VALUES = st.floats(allow_nan=True, allow_infinity=True, width=32)
FIELDS = ["seed", "suffix", "fine_tuned_model", "trained_tokens", "organization_id"]


def decode(item: dict[str, Any]) -> Job:
    return Job(id="j", created_at=0, **item)


class Listener:
    """Someone who believes every event and nothing else."""

    def __init__(self) -> None:
        self.status: str | None = None
        self.job: dict[str, Any] = {}
        self.points: dict[tuple[int, str], float] = {}
        self.ordinals: list[int] = []
        self.messages: list[str] = []
        self.checkpoints: set[str] = set()
        self.settled = self.removed = False

    def hear(self, happening: Happening) -> None:
        match happening.payload:
            case JobDiscovered(job=job):
                assert self.status is None
                self.job = job
            case JobStatusChanged(job=job, previous_status=previous):
                assert previous == self.status, "a step was left out or invented"
                assert job["status"] != self.status, "told without a change"
                self.status, self.job = job["status"], job
            case JobUpdated(job=job, changes=changed):
                assert changed
                self.job = job
            case MessageLogged(event_id=name):
                self.messages.append(name)
            case MetricsRecorded(points=points):
                for point in points:
                    self.ordinals.append(point.n)
                    for key, value in point.values.items():
                        self.points.setdefault((point.step, key), value)
            case CheckpointCreated(checkpoint=checkpoint):
                assert checkpoint["id"] not in self.checkpoints
                self.checkpoints.add(checkpoint["id"])
            case CheckpointRemoved(checkpoint=checkpoint):
                self.checkpoints.remove(checkpoint["id"])
            case JobSettled():
                assert not self.settled
                self.settled = True
            case JobReopened():
                self.settled = self.removed = False
            case JobRemoved():
                self.removed = self.settled = True


class History(RuleBasedStateMachine):
    """A provider, a poller and a store of one job, and a listener."""

    @initialize()
    def begin(self) -> None:
        self.item: dict[str, Any] = {"status": "queued"}
        self.entries: list[Entry] = []
        self.listed: dict[str, Checkpoint] = {}
        self.state: JobState = NEW
        self.kept: dict[str, Any] | None = None
        self.known_entries: set[str] = set()
        self.known_points: dict[int, set[str]] = {}
        self.known_checkpoints: dict[str, Checkpoint] = {}
        self.listener = Listener()
        self.names: set[str] = set()
        self.looks = 0
        self.is_synced = False

    @rule(status=st.sampled_from(STATUSES))
    def the_status_moves(self, status: str) -> None:
        self.item = {**self.item, "status": status}
        self.is_synced = False

    @rule(field=st.sampled_from(FIELDS), value=st.integers(1, 3))
    def a_field_moves(self, field: str, value: int) -> None:
        is_number = field in ("seed", "trained_tokens")
        self.item = {**self.item, field: value if is_number else f"v{value}"}
        self.is_synced = False

    @rule(second=st.integers(0, 2), value=VALUES, step=st.integers(1, 4))
    def a_metric_appears(self, second: int, value: float, step: int) -> None:
        at = (self.entries[-1].created_at if self.entries else 0) + second
        point = MetricPoint(step=step, values={"train_loss": value})
        name = f"e{len(self.entries)}"
        self.entries.append(Entry(id=name, created_at=at, type="metrics", point=point))
        self.is_synced = False

    @rule(second=st.integers(0, 2))
    def a_message_appears(self, second: int) -> None:
        at = (self.entries[-1].created_at if self.entries else 0) + second
        self.entries.append(Entry(id=f"e{len(self.entries)}", created_at=at))
        self.is_synced = False

    @rule(name=st.sampled_from("abc"))
    def a_checkpoint_comes_or_goes(self, name: str) -> None:
        if self.listed.pop(name, None) is None:
            self.listed[name] = Checkpoint(id=name, step=ord(name))
        self.is_synced = False

    @rule(parts=st.integers(1, 3))
    def a_whole_look(self, parts: int) -> None:
        cut = max(1, -(-len(self.entries) // parts))
        chunks = [self.entries[i : i + cut] for i in range(0, len(self.entries), cut)]
        for chunk in chunks[:-1]:
            self._commit(entries=tuple(chunk), partial=True)
        self._commit(
            entries=tuple(chunks[-1]) if chunks else (),
            checkpoints=tuple(self.listed.values()),
            complete=True,
            quiet_for=1.0,
            settle_window=1.0,
            confirmed=True,
            absent_for=dict.fromkeys(self.known_checkpoints, 1.0),
        )
        self.is_synced = True

    @rule()
    def a_look_at_the_job_alone(self) -> None:
        self._commit(confirmed=True)

    @rule()
    def a_lagging_page_without_a_second_word(self) -> None:
        self._commit()

    @rule(said=st.sampled_from([{}, {"seed": None}, {"suffix": ""}, {"extra": {}}]))
    def an_answer_of_another_shape(self, said: dict[str, Any]) -> None:
        if self.kept is None or self.state.removed:
            return
        heard = len(self.names)
        self._commit(item={"status": self.kept["status"], **said})
        assert len(self.names) == heard, "a shape that differs read as a change"

    @rule()
    def the_job_vanishes(self) -> None:
        if self.kept is not None:
            self._commit(item={}, raw=None, gone=True)

    @rule(rows=st.dictionaries(st.integers(1, 6), VALUES, max_size=4))
    def a_result_file_is_read(self, rows: dict[int, float]) -> None:
        points = tuple(
            MetricPoint(step=step, values={"train_loss": value, "valid_loss": value})
            for step, value in sorted(rows.items())
        )
        self._commit(file_id="file-1", file_points=points, confirmed=True)

    def _commit(self, item: dict[str, Any] | None = None, **fields: Any) -> None:
        """Do as the journal does: lay over, decode, diff, keep, tell."""
        self.looks += 1
        fields.setdefault("raw", b"{}")
        seen = Observation(job_id="j", look=self.looks, at=0.0, **fields)
        said = self.item if item is None else item
        laid = overlay(self.kept or {}, said)
        delta = diff(
            self.state,
            None if self.kept is None else decode(self.kept),
            decode(laid),
            seen,
            Known(
                entries=frozenset(self.known_entries),
                filled={s: frozenset(k) for s, k in self.known_points.items()},
                checkpoints=dict(self.known_checkpoints),
            ),
        )
        self.state = delta.after
        if delta.keep_raw:
            self.kept = laid
        self.known_entries.update(delta.entries)
        for point in delta.points:
            self.known_points.setdefault(point.step, set()).update(point.values)
        for checkpoint in delta.checkpoints:
            self.known_checkpoints[checkpoint.id] = checkpoint
        for name in delta.removed_checkpoints:
            del self.known_checkpoints[name]
        for happening in delta.happenings:
            name = event_id("r", "j", happening.type, happening.key)
            assert name not in self.names, "two events share a name"
            self.names.add(name)
            msgspec.json.encode(happening.payload)
            self.listener.hear(happening)

    @invariant()
    def a_listener_who_heard_everything_knows_everything(self) -> None:
        if not self.is_synced:
            return
        heard = self.listener
        assert heard.status == self.item["status"] == self.state.told_status
        for field in ("seed", "suffix", "fine_tuned_model"):
            assert heard.job[field] == self.item.get(field)
        expected = [e.id for e in self.entries if e.point is None]
        assert sorted(heard.messages) == sorted(expected)
        assert heard.checkpoints == set(self.listed)
        assert heard.settled == self.state.settled
        assert heard.removed == self.state.removed

    @invariant()
    def ordinals_count_up_without_a_gap(self) -> None:
        count = len(self.listener.ordinals)
        assert self.listener.ordinals == list(range(1, count + 1))
        assert self.state.points == count

    @invariant()
    def what_is_heard_of_points_is_what_is_known(self) -> None:
        heard: dict[int, set[str]] = {}
        for step, key in self.listener.points:
            heard.setdefault(step, set()).add(key)
        kept = {step: keys for step, keys in self.known_points.items() if keys}
        assert heard == kept


History.TestCase.settings = settings(max_examples=150, stateful_step_count=30)
TestHistory = History.TestCase
