"""The reactor: what it says, when it is silent, and that it never repeats itself."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pydantic import ValidationError

from support.readers import HandmadeJobs, lent_context
from tunewatch.events import (
    CheckpointCreated,
    CheckpointRemoved,
    CheckpointSelected,
    CheckpointUnselected,
    Common,
    Event,
    JobReopened,
    JobSettled,
    JobStatusChanged,
    MetricsRecorded,
    SourceDown,
    derived_id,
    matcher,
)
from tunewatch.events.catalogue import PointObject
from tunewatch.model import (
    Checkpoint,
    Job,
    MetricPoint,
    Selection,
    Snapshot,
    checkpoint_object,
    job_object,
)
from tunewatch.plugin import Delivery, Derived
from tunewatch_plugins.best_checkpoint import PLUGIN, BestCheckpoint, Settings

SOURCE, JOB = "research", "ftjob-1"


class Life:
    """One job's life: state changes, events about it, and the reactor's answers.

    Does what the store does: what the reactor concludes becomes the job's selection.
    """

    def __init__(self, **settings: Any) -> None:
        self.jobs = HandmadeJobs()
        self.reactor = BestCheckpoint(Settings(**settings).rules(), self.jobs)
        self.status = "running"
        self.fields: dict[str, Any] = {"validation_file": "file-v"}
        self.settled = False
        self.points: list[MetricPoint] = []
        self.checkpoints: list[Checkpoint] = []
        self.selection: Selection | None = None
        self.said: list[CheckpointSelected | CheckpointUnselected] = []
        self.sequence = 0

    @property
    def job(self) -> Job:
        return Job(id=JOB, status=self.status, **self.fields)

    @property
    def common(self) -> Common:
        return Common(
            id=JOB,
            source=SOURCE,
            realm="r",
            status=self.status,
            sequence=self.sequence,
            observed_at="2024-08-09T12:53:33Z",
        )

    async def hear(
        self, payload: Any, *, backfilled: bool = False, redelivered: bool = False
    ) -> list[str]:
        """Deliver an event about the state as it is; return what was said to it."""
        self.sequence += 1
        event = Event(
            id=f"evt_{self.sequence}",
            type=type(payload).TYPE,
            created_at=self.sequence,
            common=msgspec.structs.replace(self.common, backfilled=backfilled),
            payload=payload,
        )
        self.jobs.snapshots[SOURCE, JOB] = self._snapshot()
        delivery = Delivery(event=event, body=b"", redelivered=redelivered)
        answer = list(await self.reactor.react(delivery))
        assert answer == list(await self.reactor.react(delivery)), "not deterministic"
        return [self._commit(event, index, d) for index, d in enumerate(answer)]

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            source=SOURCE,
            realm="r",
            revision=self.sequence,
            job=self.job,
            settled=self.settled,
            removed=False,
            points=tuple(self.points),
            checkpoints=tuple(self.checkpoints),
            selection=self.selection,
        )

    def _commit(self, cause: Event, index: int, derived: Derived) -> str:
        # What goes to the database and comes back is JSON.
        data = msgspec.json.decode(msgspec.json.encode(derived.data))
        self.selection = Selection(
            type=derived.type,
            event_id=derived_id(cause.id, "best_checkpoint", index, derived.data),
            created_at=self.sequence,
            data=data,
        )
        kind = {k.TYPE: k for k in (CheckpointSelected, CheckpointUnselected)}
        payload = msgspec.convert(derived.data, kind[derived.type])
        assert msgspec.json.decode(msgspec.json.encode(payload)) == data
        self.said.append(payload)
        if isinstance(payload, CheckpointSelected):
            return f"{payload.decision} {payload.checkpoint['id']}"
        return payload.reason

    async def save(self, step: int, loss: float | None = None, **how: Any) -> list[str]:
        metrics = {} if loss is None else {"full_valid_loss": loss}
        checkpoint = Checkpoint(
            id=f"c{step}", step=step, model=f"m{step}", metrics=metrics
        )
        self.checkpoints.append(checkpoint)
        body = checkpoint_object(checkpoint, JOB)
        return await self.hear(CheckpointCreated(checkpoint=body), **how)

    async def drop(self, step: int, **how: Any) -> list[str]:
        gone = next(c for c in self.checkpoints if c.step == step)
        self.checkpoints.remove(gone)
        body = checkpoint_object(gone, JOB)
        return await self.hear(CheckpointRemoved(checkpoint=body), **how)

    async def measure(self, step: int, **values: float) -> list[str]:
        point = MetricPoint(step=step, created_at=1, values=values)
        self.points.append(point)
        return await self.hear(recorded(step, **values))

    async def turn(self, status: str, **how: Any) -> list[str]:
        self.status = status
        body = job_object(self.job)
        return await self.hear(
            JobStatusChanged(job=body, previous_status="running"), **how
        )

    async def settle(self, status: str = "succeeded", **how: Any) -> list[str]:
        self.status, self.settled = status, True
        return await self.hear(self._lasting(JobSettled), **how)

    async def reopen(self, status: str = "succeeded") -> list[str]:
        self.status, self.settled = status, False
        return await self.hear(self._lasting(JobReopened))

    def _lasting(self, kind: Any) -> Any:
        return kind(job=job_object(self.job), duration_seconds=1, queue_seconds=1)


def recorded(step: int, **values: float) -> MetricsRecorded:
    point = PointObject(n=1, step=step, total_steps=9, created_at=1, values=values)
    return MetricsRecorded(points=(point,))


# A job's life ---------------------------------------------------------------------


async def test_each_better_checkpoint_is_said_once_and_then_the_final_choice():
    life = Life()
    assert await life.save(100, 0.5) == ["provisional c100"]
    assert await life.save(200, 0.3) == ["provisional c200"]
    assert await life.save(300, 0.4) == []
    assert await life.turn("succeeded") == []
    assert await life.settle() == ["final c200"]
    assert await life.settle() == []


async def test_the_data_says_what_was_chosen_why_and_instead_of_what():
    life = Life()
    await life.save(100, 0.5)
    await life.save(200, 0.3)
    first, second = life.said
    assert isinstance(first, CheckpointSelected)
    assert isinstance(second, CheckpointSelected)
    assert first.previous is None
    assert second.previous == first.checkpoint
    assert second.checkpoint["fine_tuned_model_checkpoint"] == "m200"
    assert second.checkpoint["fine_tuning_job_id"] == JOB
    assert (second.metric, second.goal) == ("full_valid_loss", "minimize")
    assert second.value == 0.3
    assert "lowest at step 200" in second.reason
    assert second.candidates[0] == {
        "checkpoint_id": "c100",
        "step": 100,
        "model": "m100",
        "value": 0.5,
        "origin": "checkpoint",
    }


async def test_a_value_that_arrives_after_its_checkpoint_is_answered():
    life = Life()
    assert await life.save(100) == []
    assert await life.save(200) == []
    assert await life.measure(200, full_valid_loss=0.4) == ["provisional c200"]
    assert await life.measure(100, full_valid_loss=0.2) == ["provisional c100"]


async def test_metrics_that_cannot_matter_are_skipped_without_reading_the_job():
    life = Life()
    await life.measure(1, train_loss=0.1, valid_loss=0.0001, full_valid_accuracy=1.0)
    assert life.jobs.reads == 0
    await life.measure(2, full_valid_loss=0.1)
    assert life.jobs.reads > 0


async def test_mini_batch_loss_never_chooses():
    life = Life()
    for step in (100, 200):
        await life.save(step)
        await life.measure(step, valid_loss=1 / step)
    assert await life.settle() == ["no_full_metric"]


async def test_the_last_checkpoint_does_not_win_for_being_last():
    life = Life()
    await life.save(100, 0.1)
    await life.save(200, 0.9)
    assert await life.settle() == ["final c100"]


async def test_a_missing_value_does_not_win_as_zero():
    life = Life()
    await life.save(100)
    await life.save(200, 0.9)
    assert await life.settle() == ["final c200"]


async def test_a_job_without_a_validation_file_is_told_so_at_settling():
    life = Life()
    life.fields = {}
    assert await life.save(100) == []
    assert await life.turn("succeeded") == []
    assert await life.settle() == ["no_validation_file"]
    assert await life.settle() == []


async def test_a_failed_job_takes_its_provisional_choice_back_when_it_settled():
    life = Life()
    await life.save(100, 0.5)
    assert await life.turn("failed") == []
    assert await life.settle("failed") == ["job_failed"]


async def test_a_cancelled_job_with_a_value_has_a_final_choice():
    life = Life()
    await life.save(100, 0.5)
    assert await life.settle("cancelled") == ["final c100"]


async def test_a_cancelled_job_without_one_says_so():
    assert await Life().settle("cancelled") == ["job_cancelled"]


# Removal and reopening ------------------------------------------------------------


async def test_a_chosen_checkpoint_that_vanishes_hands_over_to_the_next_best():
    life = Life()
    await life.save(100, 0.1)
    await life.save(200, 0.2)
    assert await life.drop(100) == ["provisional c200"]
    last = life.said[-1]
    assert isinstance(last, CheckpointSelected)
    assert last.previous is not None
    assert last.previous["id"] == "c100"
    assert "no longer listed" in last.reason


async def test_after_settling_the_next_best_is_final_at_once():
    life = Life()
    await life.save(100, 0.1)
    await life.save(200, 0.2)
    await life.settle()
    assert await life.drop(100) == ["final c200"]


async def test_the_only_choice_that_vanishes_is_unselected():
    life = Life()
    await life.save(100, 0.1)
    await life.settle()
    assert await life.drop(100) == ["checkpoint_removed"]
    assert await life.settle(redelivered=True) == []


async def test_a_checkpoint_that_was_not_chosen_may_go_without_a_word():
    life = Life()
    await life.save(100, 0.1)
    await life.save(200, 0.2)
    await life.settle()
    assert await life.drop(200) == []


async def test_a_final_choice_stands_whatever_comes_late():
    life = Life()
    await life.save(100, 0.5)
    await life.settle()
    assert await life.save(200, 0.1) == []
    assert await life.measure(200, full_valid_loss=0.05) == []
    assert await life.turn("succeeded") == []
    assert await life.settle(redelivered=True) == []


async def test_a_reopened_job_may_change_its_choice():
    life = Life()
    await life.save(100, 0.5)
    await life.settle()
    life.checkpoints.append(
        Checkpoint(id="c200", step=200, metrics={"full_valid_loss": 0.1})
    )
    assert await life.reopen() == ["provisional c200"]
    assert await life.settle() == ["final c200"]


async def test_a_reopened_job_that_comes_to_the_same_says_nothing():
    life = Life()
    await life.save(100, 0.5)
    await life.settle()
    assert await life.reopen() == []
    assert await life.settle() == []


async def test_a_reopened_job_that_fails_after_all_takes_its_final_choice_back():
    life = Life()
    await life.save(100, 0.5)
    await life.settle()
    assert await life.reopen("running") == []
    assert await life.settle("failed") == ["job_failed"]


# First sight ----------------------------------------------------------------------


async def test_of_a_history_told_at_once_only_the_final_choice_is_said():
    life = Life()
    life.status = "succeeded"
    life.checkpoints = [
        Checkpoint(id=f"c{s}", step=s, metrics={"full_valid_loss": 1 / s})
        for s in (100, 200, 300)
    ]
    for checkpoint in life.checkpoints:
        body = checkpoint_object(checkpoint, JOB)
        assert await life.hear(CheckpointCreated(checkpoint=body), backfilled=True) == (
            []
        )
    assert await life.turn("succeeded", backfilled=True) == []
    assert await life.settle() == ["final c300"]


async def test_a_job_found_running_has_a_provisional_choice_at_once():
    life = Life()
    assert await life.save(100, 0.5, backfilled=True) == ["provisional c100"]


async def test_a_lagging_reactor_leaves_the_answer_to_the_event_of_settling():
    life = Life()
    life.settled, life.status = True, "succeeded"
    assert await life.save(100, 0.5) == []
    assert await life.settle() == ["final c100"]


async def test_a_job_that_is_gone_and_news_of_a_source_are_not_answered():
    life = Life()
    delivery_of = Delivery(
        event=Event(
            id="evt",
            type=JobSettled.TYPE,
            created_at=1,
            common=life.common,
            payload=JobSettled(job={}, duration_seconds=None, queue_seconds=None),
        ),
        body=b"",
    )
    assert list(await life.reactor.react(delivery_of)) == []
    down = Event(
        id="evt",
        type=SourceDown.TYPE,
        created_at=1,
        common=msgspec.structs.replace(life.common, status=None),
        payload=SourceDown(reason="refused", since="2024-08-09T12:53:33Z"),
    )
    assert list(await life.reactor.react(Delivery(event=down, body=b""))) == []


# Settings -------------------------------------------------------------------------


async def test_the_fallback_answers_at_settling_only():
    life = Life(fallback="smoothed_valid_loss", window=3)
    await life.save(5)
    for step in range(1, 10):
        assert await life.measure(step, valid_loss=0.1 * step) == []
    assert await life.settle() == ["final c5"]
    last = life.said[-1]
    assert isinstance(last, CheckpointSelected)
    assert last.metric == "smoothed_valid_loss"


async def test_metrics_of_one_method_can_be_set_and_the_others_stay():
    life = Life(metrics={"supervised": "full_valid_mean_token_accuracy"})
    life.checkpoints = [
        Checkpoint(id="a", step=1, metrics={"full_valid_mean_token_accuracy": 0.9}),
        Checkpoint(id="b", step=2, metrics={"full_valid_mean_token_accuracy": 0.8}),
    ]
    assert await life.settle() == ["final a"]
    assert Settings(metrics={"supervised": "eval_loss"}).metrics["reinforcement"] == (
        "full_valid_mean_reward"
    )


@pytest.mark.parametrize(
    ("goal", "best"),
    [("maximize", "a"), ({"supervised": "maximize"}, "a"), (None, "b")],
)
async def test_a_goal_can_be_set_for_all_or_by_method(goal: Any, best: str):
    life = Life(goal=goal)
    life.checkpoints = [
        Checkpoint(id="a", step=1, metrics={"full_valid_loss": 0.9}),
        Checkpoint(id="b", step=2, metrics={"full_valid_loss": 0.8}),
    ]
    assert await life.settle() == [f"final {best}"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"metric": "full_valid_loss"},
        {"metrics": {"supervised": "valid_loss"}},
        {"metrics": {"supervised": "bleu"}},
        {"goal": "smallest"},
        {"tie": "random"},
        {"min_delta": float("nan")},
        {"fallback": "valid_loss"},
        {"window": 10},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


async def test_the_plugin_opens_and_subscribes_to_what_can_change_a_choice(
    tmp_path: Path,
):
    wanted = matcher(PLUGIN.events)
    heard = ["created", "removed"]
    assert all(wanted(f"fine_tuning.checkpoint.{word}") for word in heard)
    assert wanted("fine_tuning.job.cancelled")
    assert wanted("tunewatch.job.settled")
    assert wanted("tunewatch.job.reopened")
    assert wanted("fine_tuning.event.metrics")
    assert not wanted("fine_tuning.event.message")
    assert not wanted("tunewatch.checkpoint.selected")
    context = lent_context(HandmadeJobs(), tmp_path)
    async with PLUGIN.open(PLUGIN.settings(), context) as reactor:
        assert isinstance(reactor, BestCheckpoint)


# Laws -----------------------------------------------------------------------------


class AnyLife(RuleBasedStateMachine):
    """Whatever happens to a job, what was said last is true and was said once."""

    def __init__(self) -> None:
        super().__init__()
        self.life = Life()

    def run(self, what: Any) -> None:
        # Nothing in the reactor waits for anything: one step ends the coroutine.
        with pytest.raises(StopIteration):
            what.send(None)

    @rule(step=st.integers(1, 5), loss=st.sampled_from([None, 0.1, 0.2, 0.3]))
    def save(self, step: int, loss: float | None) -> None:
        if all(c.step != step for c in self.life.checkpoints):
            self.run(self.life.save(step, loss))

    @rule(step=st.integers(1, 5))
    def drop(self, step: int) -> None:
        if any(c.step == step for c in self.life.checkpoints):
            self.run(self.life.drop(step))

    @rule(step=st.integers(1, 5), loss=st.sampled_from([0.05, 0.25, 0.35]))
    def measure(self, step: int, loss: float) -> None:
        self.run(self.life.measure(step, full_valid_loss=loss))

    @rule(status=st.sampled_from(["succeeded", "failed", "cancelled"]))
    def settle(self, status: str) -> None:
        if not self.life.settled:
            self.run(self.life.settle(status))
            selection = self.life.selection
            assert selection is not None
            if selection.type == CheckpointSelected.TYPE:
                assert selection.data["decision"] == "final"

    @rule()
    def reopen(self) -> None:
        if self.life.settled:
            self.run(self.life.reopen("running"))

    @invariant()
    def what_is_selected_is_listed(self) -> None:
        selection = self.life.selection
        if selection is not None and selection.type == CheckpointSelected.TYPE:
            listed = {c.id for c in self.life.checkpoints}
            assert selection.data["checkpoint"]["id"] in listed

    @invariant()
    def nothing_is_said_twice_in_a_row(self) -> None:
        said = [_gist(payload) for payload in self.life.said]
        assert all(a != b for a, b in pairwise(said))


def _gist(payload: CheckpointSelected | CheckpointUnselected) -> tuple[str, str]:
    if isinstance(payload, CheckpointSelected):
        return payload.decision, payload.checkpoint["id"]
    return "unselected", payload.reason


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=150, deadline=None)


@given(st.permutations([100, 200, 300, 400]))
def test_in_whatever_order_checkpoints_appear_the_final_choice_is_the_same(
    order: list[int],
):
    life = Life()
    losses = {100: 0.4, 200: 0.2, 300: 0.3, 400: 0.2}

    async def live() -> list[str]:
        for step in order:
            await life.save(step, losses[step])
        return await life.settle()

    with pytest.raises(StopIteration) as ended:
        live().send(None)
    assert ended.value.value == ["final c200"]
