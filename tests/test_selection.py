"""The best checkpoint: what is chosen, what never is, and the words for it."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewatch.model import Checkpoint, Job, MetricPoint, finite
from tunewatch.selection import (
    SMOOTHED,
    Choice,
    Goal,
    NoChoice,
    Rules,
    goal_of,
    select,
)

FULL = "full_valid_loss"
NAN, INF = math.nan, math.inf
SHARED = Path(os.environ.get("TUNEWATCH_SHARED", Path(__file__).parents[2] / "shared"))
PINOLO = SHARED / "payloads/openai_sft_gpt4omini_events_checkpoints_pinolo.json"


def job(status: str = "succeeded", method: str = "supervised", **fields: Any) -> Job:
    fields.setdefault("validation_file", "file-valid")
    return Job(id="ftjob-1", status=status, method={"type": method}, **fields)


def saved(step: int | None, name: str | None = None, **metrics: float) -> Checkpoint:
    name = name or f"ckpt-{step}"
    return Checkpoint(id=name, step=step, model=f"ft:m:{name}", metrics=metrics)


def at(step: int, n: int = 0, *, created_at: int | None = 1, **v: float) -> MetricPoint:
    return MetricPoint(step=step, n=n, created_at=created_at, values=v)


def chosen(
    checkpoints: list[Checkpoint],
    points: list[MetricPoint] | tuple[MetricPoint, ...] = (),
    of: Job | None = None,
    **rules: Any,
) -> Choice:
    choice = select(of or job(), points, checkpoints, Rules(**rules))
    assert isinstance(choice, Choice), choice
    return choice


def none(
    checkpoints: list[Checkpoint],
    points: list[MetricPoint] | tuple[MetricPoint, ...] = (),
    of: Job | None = None,
    **rules: Any,
) -> NoChoice:
    choice = select(of or job(), points, checkpoints, Rules(**rules))
    assert isinstance(choice, NoChoice), choice
    return choice


def test_the_lowest_full_validation_loss_wins_not_the_last_checkpoint():
    choice = chosen(
        [
            saved(100, full_valid_loss=0.5),
            saved(200, full_valid_loss=0.3),
            saved(300, full_valid_loss=0.4),
        ]
    )
    assert choice.checkpoint.id == "ckpt-200"
    assert (choice.metric, choice.goal, choice.value) == (FULL, "minimize", 0.3)


def test_a_value_recorded_by_the_event_of_the_same_step_counts():
    points = [at(100, full_valid_loss=0.2), at(200, full_valid_loss=0.3)]
    choice = chosen([saved(100, valid_loss=9.0), saved(200, valid_loss=1e-6)], points)
    assert choice.checkpoint.id == "ckpt-100"
    assert [c.origin for c in choice.candidates] == ["event", "event"]


def test_a_value_read_from_the_result_file_says_so():
    choice = chosen([saved(9)], [at(9, created_at=None, full_valid_loss=0.3)])
    assert choice.candidates[0].origin == "result_file"


def test_the_checkpoints_own_value_goes_before_the_events():
    choice = chosen([saved(9, full_valid_loss=0.1)], [at(9, full_valid_loss=0.3)])
    assert choice.value == 0.1
    assert choice.candidates[0].origin == "checkpoint"


def test_a_value_of_a_neighbouring_step_is_never_borrowed():
    points = [at(99, full_valid_loss=0.01), at(101, full_valid_loss=0.01)]
    choice = chosen([saved(100), saved(200, full_valid_loss=0.4)], points)
    assert choice.checkpoint.id == "ckpt-200"
    assert choice.candidates[0].value is None


def test_of_two_points_at_one_step_the_one_committed_last_counts():
    points = [at(5, n=2, full_valid_loss=0.2), at(5, n=1, full_valid_loss=0.9)]
    assert chosen([saved(5)], points).value == 0.2
    assert chosen([saved(5)], points[::-1]).value == 0.2


def test_mini_batch_loss_would_choose_wrong_and_is_not_looked_at():
    choice = chosen(
        [
            saved(100, valid_loss=4.9e-6, full_valid_loss=0.9),
            saved(200, valid_loss=0.5, full_valid_loss=0.1),
        ]
    )
    assert choice.checkpoint.id == "ckpt-200"


def test_mini_batch_loss_alone_chooses_nothing():
    points = [at(s, valid_loss=0.1, train_loss=0.1) for s in range(1, 300)]
    found = none([saved(100, valid_loss=1e-6), saved(200, valid_loss=0.5)], points)
    assert found.reason == "no_full_metric"
    assert "full_valid_loss" in found.detail


@pytest.mark.parametrize("missing", [{}, {FULL: NAN}, {FULL: INF}, {FULL: -INF}])
def test_a_missing_value_is_not_zero(missing: dict[str, float]):
    choice = chosen([saved(100, **missing), saved(200, full_valid_loss=0.4)])
    assert choice.checkpoint.id == "ckpt-200"
    assert choice.candidates[0].value is None
    assert "1 checkpoint has no value." in choice.reason


def test_an_exact_zero_is_a_value():
    choice = chosen([saved(1, full_valid_loss=0.0), saved(2, full_valid_loss=0.1)])
    assert choice.checkpoint.id == "ckpt-1"


def test_a_not_a_number_of_the_checkpoint_leaves_the_events_value():
    choice = chosen([saved(7, full_valid_loss=NAN)], [at(7, full_valid_loss=0.2)])
    assert choice.value == 0.2


def test_equal_values_go_to_the_earliest_step_unless_asked_otherwise():
    equal = [saved(s, full_valid_loss=0.3) for s in (300, 100, 200)]
    assert chosen(equal).checkpoint.id == "ckpt-100"
    assert chosen(equal, tie="latest").checkpoint.id == "ckpt-300"
    assert "3 are equal: the earliest is taken." in chosen(equal).reason


def test_values_within_min_delta_count_as_equal():
    points = [saved(100, full_valid_loss=0.305), saved(200, full_valid_loss=0.3)]
    choice = chosen(points, min_delta=0.01)
    assert choice.checkpoint.id == "ckpt-100"
    assert choice.margin is not None
    assert choice.margin == pytest.approx(-0.005)
    assert "lowest" not in choice.reason
    assert "within 0.01 of the best value (0.3 at step 200)" in choice.reason


def test_a_checkpoint_of_unknown_step_wins_no_tie():
    equal = [saved(None, "odd", full_valid_loss=1.0), saved(5, full_valid_loss=1.0)]
    assert chosen(equal).checkpoint.id == "ckpt-5"
    assert chosen(equal, tie="latest").checkpoint.id == "ckpt-5"


def test_a_step_listed_among_the_metrics_only_joins_too():
    odd = Checkpoint(id="c", step=None, metrics={"step": 40.0})
    assert chosen([odd], [at(40, full_valid_loss=0.2)]).value == 0.2


def test_reinforcement_maximises_the_full_validation_reward():
    choice = chosen(
        [
            saved(10, full_valid_mean_reward=0.5, full_valid_loss=0.0),
            saved(20, full_valid_mean_reward=0.7),
            saved(30, full_valid_mean_reward=0.6),
        ],
        of=job(method="reinforcement"),
    )
    assert choice.checkpoint.id == "ckpt-20"
    assert choice.goal == "maximize"
    assert choice.margin == pytest.approx(0.1)
    assert "highest at step 20" in choice.reason


def test_an_older_job_without_a_method_is_supervised():
    old = Job(id="j", status="succeeded", validation_file="file-v")
    assert chosen([saved(1, full_valid_loss=0.1)], of=old).metric == FULL


def test_the_margin_is_measured_against_the_jobs_own_model():
    done = job(fine_tuned_model="ft:m:ckpt-200")
    choice = chosen(
        [
            saved(100, full_valid_loss=0.3),
            saved(200, full_valid_loss=0.35),
            saved(300, full_valid_loss=0.9),
        ],
        of=done,
    )
    assert choice.margin == pytest.approx(0.05)
    assert "The final model (step 200) is worse by 0.05." in choice.reason


def test_without_a_known_final_model_the_last_step_is_compared():
    choice = chosen([saved(200, full_valid_loss=0.5), saved(100, full_valid_loss=0.3)])
    assert "The last checkpoint (step 200) is worse by 0.2." in choice.reason


def test_a_final_model_without_a_value_leaves_the_margin_unknown():
    choice = chosen([saved(100, full_valid_loss=0.3), saved(200)])
    assert choice.margin is None
    assert "has no value to compare" in choice.reason


def test_the_reason_reads_as_plain_words():
    choice = chosen(
        [
            saved(100, full_valid_loss=0.5),
            saved(200, full_valid_loss=0.3),
            saved(300, full_valid_loss=0.4),
            saved(400),
        ],
        of=job(fine_tuned_model="ft:m:ckpt-300"),
    )
    assert choice.reason == (
        "full_valid_loss is lowest at step 200: 0.3, of 3 with a value. "
        "Next best: 0.4 at step 300. "
        "The final model (step 300) is worse by 0.1. "
        "1 checkpoint has no value."
    )


@pytest.mark.parametrize(
    ("of", "checkpoints", "reason"),
    [
        (job(validation_file=None), [saved(1, valid_loss=0.1)], "no_validation_file"),
        (job(), [saved(1)], "no_full_metric"),
        (job(), [], "no_candidate"),
        (job("failed"), [], "job_failed"),
        (job("failed"), [saved(1, full_valid_loss=0.1)], "job_failed"),
        (job("cancelled"), [], "job_cancelled"),
        (job("cancelled"), [saved(1)], "job_cancelled"),
        (job(method="orpo"), [saved(1, full_valid_loss=0.1)], "no_full_metric"),
        (job("failed", "orpo"), [], "job_failed"),
    ],
)
def test_no_choice_says_why(of: Job, checkpoints: list[Checkpoint], reason: str):
    found = none(checkpoints, of=of)
    assert found.reason == reason
    assert found.detail.endswith(".")


def test_a_method_without_a_metric_says_where_to_name_one():
    assert "'orpo': name one under metrics" in none([], of=job(method="orpo")).detail


def test_a_cancelled_job_keeps_the_best_of_what_it_saved():
    choice = chosen([saved(1, full_valid_loss=0.2)], of=job("cancelled"))
    assert choice.checkpoint.id == "ckpt-1"
    assert "The job was cancelled" in choice.reason


def test_a_job_that_still_runs_has_a_choice_by_what_is_known():
    assert chosen([saved(1, full_valid_loss=0.2)], of=job("running")).value == 0.2


# The fallback ---------------------------------------------------------------------

CURVE = [at(s, valid_loss=abs(s - 150) / 100 + (s % 5 == 0) * 0.4) for s in range(301)]


def test_the_fallback_smooths_what_one_batch_would_get_wrong():
    noisy = [p for p in CURVE if p.step not in {100, 150, 300}]
    noisy += [at(100, valid_loss=0.6), at(150, valid_loss=3.0), at(300, valid_loss=0.0)]
    choice = chosen([saved(100), saved(150), saved(300)], noisy, smoothed=True)
    assert choice.checkpoint.id == "ckpt-150"
    assert (choice.metric, choice.goal) == (SMOOTHED, "minimize")
    assert {c.origin for c in choice.candidates} == {"smoothed"}
    assert "mean of up to 11 mini-batch values of valid_loss" in choice.reason


def test_the_smoothed_value_is_the_mean_of_the_window():
    points = [at(s, valid_loss=float(s)) for s in range(1, 10)]
    choice = chosen([saved(5), saved(9)], points, smoothed=True, window=5)
    assert [c.value for c in choice.candidates] == [5.0, 8.0]


def test_one_full_metric_is_enough_to_leave_the_fallback_out():
    choice = chosen([saved(100), saved(300, full_valid_loss=5.0)], CURVE, smoothed=True)
    assert (choice.checkpoint.id, choice.metric) == ("ckpt-300", FULL)


def test_the_fallback_waits_until_the_job_ended():
    found = none([saved(100)], CURVE, of=job("running"), smoothed=True)
    assert found.reason == "no_full_metric"


def test_too_few_or_too_distant_batches_are_no_value():
    few = [at(1, valid_loss=0.1), at(2, valid_loss=0.1)]
    assert none([saved(1)], few, smoothed=True).reason == "no_full_metric"
    early = [at(s, valid_loss=0.1) for s in range(1, 50)]
    assert none([saved(900)], early, smoothed=True).reason == "no_full_metric"


# Rules ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "goal"),
    [
        ("full_valid_loss", "minimize"),
        ("full_valid_mean_parse_error", "minimize"),
        ("full_valid_mean_reward", "maximize"),
        ("full_valid_mean_token_accuracy", "maximize"),
        ("scores.valid_reward_mean", "maximize"),
        ("eval/perplexity", "minimize"),
        ("bleu", None),
        ("reward_error", None),
    ],
)
def test_the_goal_is_read_from_the_metrics_name(metric: str, goal: Goal | None):
    assert goal_of(metric) == goal


def test_a_goal_can_be_set_where_the_name_does_not_say():
    rules = {"metrics": {"supervised": "bleu"}, "goals": {"supervised": "maximize"}}
    choice = chosen([saved(1, bleu=2.0), saved(2, bleu=3.0)], **rules)
    assert choice.checkpoint.id == "ckpt-2"


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"metrics": {"dpo": "valid_loss"}}, "one batch"),
        ({"metrics": {"dpo": "bleu"}}, "goal = { dpo ="),
        ({"goals": {"orpo": "minimize"}}, "'orpo', which has no metric"),
        ({"min_delta": -1.0}, "min_delta"),
        ({"min_delta": NAN}, "min_delta"),
        ({"window": 4}, "odd"),
        ({"window": 1}, "odd"),
    ],
)
def test_rules_that_could_only_choose_by_accident_are_refused(
    wrong: dict[str, Any], complaint: str
):
    with pytest.raises(ValueError, match=complaint):
        Rules(**wrong)


# Laws -----------------------------------------------------------------------------

values = st.one_of(st.floats(), st.integers(-3, 3).map(float))
metrics = st.dictionaries(st.sampled_from([FULL, "valid_loss", "step"]), values)
steps = st.one_of(st.none(), st.integers(0, 6))
checkpoint_lists = st.lists(
    st.builds(
        lambda n, step, m: Checkpoint(id=f"c{n}", step=step, metrics=m),
        st.integers(0, 30),
        steps,
        metrics,
    ),
    max_size=8,
    unique_by=lambda c: c.id,
)
point_lists = st.lists(
    st.builds(
        MetricPoint,
        step=st.integers(0, 6),
        n=st.integers(0, 5),
        created_at=st.one_of(st.none(), st.integers(0, 3)),
        values=metrics,
    ),
    max_size=12,
)
rule_sets = st.builds(
    Rules,
    goals=st.sampled_from([{}, {"supervised": "maximize"}]),
    min_delta=st.sampled_from([0.0, 0.5]),
    tie=st.sampled_from(["earliest", "latest"]),
    smoothed=st.booleans(),
    window=st.sampled_from([3, 5]),
)
statuses = st.sampled_from(["running", "succeeded", "cancelled", "failed", "novel"])


@given(checkpoint_lists, point_lists, rule_sets, statuses)
def test_nothing_is_ever_chosen_without_a_finite_value(
    checkpoints: list[Checkpoint],
    points: list[MetricPoint],
    rules: Rules,
    status: str,
):
    choice = select(job(status), points, checkpoints, rules)
    assert len(choice.candidates) == len(checkpoints)
    if isinstance(choice, NoChoice):
        assert choice.detail
        return
    assert math.isfinite(choice.value)
    assert choice.checkpoint in checkpoints
    by_id = {c.checkpoint_id: c for c in choice.candidates}
    assert by_id[choice.checkpoint.id].value == choice.value
    having = [c.value for c in choice.candidates if c.value is not None]
    best = min(having) if choice.goal == "minimize" else max(having)
    assert abs(choice.value - best) <= rules.min_delta


@given(checkpoint_lists, point_lists, rule_sets, st.randoms(use_true_random=False))
def test_the_order_of_the_inputs_is_irrelevant(
    checkpoints: list[Checkpoint],
    points: list[MetricPoint],
    rules: Rules,
    chance: Any,
):
    before = select(job(), points, checkpoints, rules)
    chance.shuffle(checkpoints)
    chance.shuffle(points)
    after = select(job(), points, checkpoints, rules)
    assert repr(after) == repr(before)


@given(checkpoint_lists, point_lists, st.integers(0, 9), st.floats(0.001, 1e6))
def test_a_worse_candidate_never_changes_the_choice(
    checkpoints: list[Checkpoint], points: list[MetricPoint], step: int, worse: float
):
    before = select(job(), points, checkpoints, Rules())
    if isinstance(before, NoChoice):
        return
    value = before.value + worse
    if not value > before.value or not math.isfinite(value):
        return
    added = Checkpoint(id="added", step=step, metrics={FULL: value})
    after = select(job(), points, [*checkpoints, added], Rules())
    assert isinstance(after, Choice)
    assert after.checkpoint.id == before.checkpoint.id


@given(checkpoint_lists, point_lists)
def test_candidates_without_a_value_never_change_the_choice(
    checkpoints: list[Checkpoint], points: list[MetricPoint]
):
    before = select(job(), points, checkpoints, Rules())
    added = Checkpoint(id="added", step=None, metrics={"valid_loss": 0.0, FULL: NAN})
    after = select(job(), points, [*checkpoints, added], Rules())
    assert type(after) is type(before) or not checkpoints
    if isinstance(before, Choice) and isinstance(after, Choice):
        assert after.checkpoint.id == before.checkpoint.id


# Recorded payloads ----------------------------------------------------------------


def _recorded() -> tuple[list[Checkpoint], list[MetricPoint]]:
    recorded = json.loads(PINOLO.read_text())
    checkpoints = [
        Checkpoint(
            id=item["id"],
            step=item["step_number"],
            created_at=item["created_at"],
            model=item["fine_tuned_model_checkpoint"],
            metrics={k: v for k, v in item["metrics"].items() if finite(v) is not None},
        )
        for item in recorded["job1_checkpoints"]["data"]
    ]
    points = [
        MetricPoint(
            step=item["data"]["step"],
            created_at=item["created_at"],
            values={k: float(v) for k, v in item["data"].items() if k != "step"},
        )
        for item in recorded["job1_events_limit10_newest_first"]["data"]
        if item["type"] == "metrics"
    ]
    return checkpoints, points


def judge_the_recorded_job() -> None:
    checkpoints, points = _recorded()
    model = "ft:gpt-4o-mini-2024-07-18:personal:pinolo-mutate-llm:9uJPbR69"
    choice = chosen(checkpoints, points, of=job(fine_tuned_model=model))
    # By mini-batch loss it would have been step 100, at 4.9e-06.
    assert choice.checkpoint.step == 300
    assert choice.value == 0.05314807081111815
    assert [c.origin for c in choice.candidates] == [None, None, "event"]
    assert "It is the final model. 2 checkpoints have no value." in choice.reason


if PINOLO.exists():  # recorded bodies are kept beside the project, not in it

    def test_a_recorded_job_is_judged_by_the_event_at_its_last_step():
        judge_the_recorded_job()
