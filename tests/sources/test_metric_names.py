from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from tunewatch.sources.openai.metrics import gathered, point_of, values_of


def test_supervised_metrics_keep_their_names() -> None:
    data = {
        "step": 300,
        "total_steps": 300,
        "train_loss": 0.15,
        "full_valid_loss": 0.4,
        "train_mean_token_accuracy": 0.94,
    }
    point = point_of(data, created_at=7)
    assert point is not None
    assert (point.step, point.total_steps, point.created_at) == (300, 300, 7)
    assert point.values == {
        "train_loss": 0.15,
        "full_valid_loss": 0.4,
        "train_mean_token_accuracy": 0.94,
    }


def test_other_words_for_a_quantity_become_the_canonical_one() -> None:
    assert values_of({"train_accuracy": 0.5}) == {"train_mean_token_accuracy": 0.5}
    assert values_of({"validation_mean_token_accuracy": 0.5}) == {
        "valid_mean_token_accuracy": 0.5
    }


def test_what_is_no_finite_number_has_no_value() -> None:
    said = {
        "nan": math.nan,
        "inf": -math.inf,
        "none": None,
        "text": "0.5",
        "truth": True,
        "huge": 10**400,
        "zero": 0,
    }
    assert values_of(said) == {"zero": 0.0}


def test_nested_values_are_flattened_and_graders_go_by_name() -> None:
    said = {
        "step": 10,
        "timing": {"step": {"eval": 1.5, "full_iteration": 7}},
        "errors": {"graders": [{"name": "exact", "type": "t", "valid_mean": 0.25}]},
        "model_graders_token_usage": {"gpt-4.1-mini": {"eval_prompt_tokens": 4820}},
        "list": [1, {"x": 2}],
    }
    assert values_of(said) == {
        "timing.step.eval": 1.5,
        "timing.step.full_iteration": 7.0,
        "errors.graders.exact.valid_mean": 0.25,
        "model_graders_token_usage.gpt-4.1-mini.eval_prompt_tokens": 4820.0,
        "list.0": 1.0,
        "list.1.x": 2.0,
    }


def test_a_nested_mean_reward_is_told_under_its_flat_name_too() -> None:
    said = {"scores": {"train_reward_mean": 0.42, "valid_reward_mean": 0.6}}
    assert values_of(said) == {
        "scores.train_reward_mean": 0.42,
        "scores.valid_reward_mean": 0.6,
        "train_mean_reward": 0.42,
        "valid_mean_reward": 0.6,
    }


def test_a_flat_mean_reward_is_never_replaced_by_a_nested_one() -> None:
    said = {"scores": {"train_reward_mean": 0.42}, "train_mean_reward": 0.5}
    assert values_of(said)["train_mean_reward"] == 0.5


def test_no_full_validation_reward_is_made_of_a_mini_batch() -> None:
    said = {"scores": {"valid_reward_mean": 0.6}, "valid_mean_reward": 0.6}
    assert "full_valid_mean_reward" not in values_of(said)


def test_two_graders_of_one_name_both_stay() -> None:
    graders = [{"name": "g", "mean": 1}, {"name": "g", "mean": 2}, {"mean": 3}]
    assert values_of({"graders": graders}) == {
        "graders.g.mean": 1.0,
        "graders.g#2.mean": 2.0,
        "graders.2.mean": 3.0,
    }


def test_a_name_that_is_taken_is_not_overwritten() -> None:
    assert values_of({"a": {"b": 1}, "a.b": 2}) == {"a.b": 2.0, "a.b#2": 1.0}
    assert values_of({"a": {"b": 1}, "a.b": 1}) == {"a.b": 1.0}
    assert values_of({"train_accuracy": 1, "train_mean_token_accuracy": 2}) == {
        "train_mean_token_accuracy": 2.0,
        "train_mean_token_accuracy#2": 1.0,
    }


def test_data_nested_without_end_is_left_at_some_depth() -> None:
    deep: dict[str, object] = {"x": 1}
    for _ in range(500):
        deep = {"d": deep}
    assert values_of({"deep": deep, "train_loss": 1.0}) == {"train_loss": 1.0}


_pairs = st.lists(
    st.tuples(
        st.sampled_from(["a", "a#2", "train_accuracy", "train_mean_token_accuracy"]),
        st.floats(allow_nan=False, allow_infinity=False),
    )
)


@given(_pairs)
def test_no_value_is_lost_under_any_names(pairs: list[tuple[str, float]]) -> None:
    assert set(gathered(pairs).values()) == {value for _, value in pairs}


_data = st.recursive(
    st.floats() | st.integers() | st.none() | st.text() | st.booleans(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=3), _data))
def test_values_are_finite_whatever_the_data(data: dict[str, object]) -> None:
    values = values_of(data)
    assert all(map(math.isfinite, values.values()))
    json.dumps(values, allow_nan=False)
