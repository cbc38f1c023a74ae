"""The numbers of training runs: what their shapes promise holds for every seed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tunewatch.testing import Script
from tunewatch.testing.curves import LossCurve
from tunewatch.testing.rewards import RewardCurve

seeds = some.text(min_size=1, max_size=8)


def full_losses(script: Script, seed: str) -> list[float]:
    curve = LossCurve(seed, script)
    return [curve.values(step)["full_valid_loss"] for step in script.epoch_ends]


@given(
    seed=seeds,
    epochs=some.integers(2, 12),
    method=some.sampled_from(["supervised", "dpo"]),
)
def test_an_over_fitting_job_is_best_before_its_last_epoch_and_among_the_kept(
    seed, epochs, method
):
    script = Script(curve="overfit", epochs=epochs, steps=10 * epochs, method=method)
    losses = full_losses(script, seed)
    best = losses.index(min(losses))
    assert len(losses) - 3 <= best < len(losses) - 1


@given(seed=seeds, epochs=some.integers(1, 12))
def test_a_converging_job_is_best_at_its_end(seed, epochs):
    script = Script(curve="converge", epochs=epochs, steps=10 * epochs)
    losses = full_losses(script, seed)
    assert losses == sorted(losses, reverse=True)


@given(seed=seeds)
def test_a_diverging_job_ends_far_above_where_it_was(seed):
    losses = full_losses(Script(curve="diverge", epochs=5, steps=100), seed)
    assert losses[-1] > 4 * min(losses)


@given(
    seed=seeds,
    curve=some.sampled_from(["converge", "overfit", "diverge", "flat", "noisy"]),
)
def test_every_number_is_finite_and_no_loss_is_negative(seed, curve):
    script = Script(curve=curve)
    for step in range(1, script.steps + 1):
        values = LossCurve(seed, script).values(step)
        assert all(math.isfinite(value) and value >= 0 for value in values.values())


def test_a_job_that_learnt_its_examples_by_heart_reports_exact_zeros():
    script = Script(curve="overfit", steps=200, epochs=4)
    curve = LossCurve("seed", script)
    losses = [curve.values(step)["train_loss"] for step in range(1, 201)]
    assert losses.count(0.0) > 5


@given(seed=seeds)
def test_an_over_fitting_reward_peaks_before_the_end(seed):
    script = Script(method="reinforcement", curve="overfit", steps=20)
    curve = RewardCurve(seed, script)
    steps = [step for step in range(1, 21) if curve.is_validated(step)]
    rewards = [curve.rewards(step)[1] for step in steps]
    assert steps == [4, 8, 12, 16, 20]
    assert rewards.index(max(rewards)) == 2


@pytest.mark.parametrize("curve", ["converge", "overfit", "diverge", "flat", "noisy"])
def test_rewards_stay_between_nothing_and_everything(curve):
    script = Script(method="reinforcement", curve=curve, steps=40)
    for step in range(1, 41):
        assert all(
            0 <= reward <= 1 for reward in RewardCurve("s", script).rewards(step)
        )
