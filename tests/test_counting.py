"""By which words and bounds jobs are counted."""

from __future__ import annotations

import pytest

from tunewatch.counting import (
    DURATION_BOUNDS,
    counted_bucket,
    counted_code,
    counted_method,
    root_model,
)

MINI = "gpt-4o-mini-2024-07-18"


@pytest.mark.parametrize(
    ("model", "root"),
    [
        (f"ft:{MINI}:org::id", MINI),
        (f"ft:{MINI}:org:suffix:id:ckpt-step-90", MINI),
        ("davinci:ft-org-2023-05-12", "davinci"),
        ("gpt-35-turbo-0125.ft-0ab3f80e4f22-suffix", "gpt-35-turbo-0125"),
        ("gpt-4.1-nano-2025-04-14", "gpt-4.1-nano-2025-04-14"),
        ("ft:", None),
        ("", None),
        (None, None),
    ],
)
def test_the_base_model_is_the_root_of_all_tuning(model: str | None, root: str | None):
    assert root_model(model) == root


def test_the_bounds_go_from_a_minute_to_a_day():
    assert DURATION_BOUNDS[0] == 60
    assert DURATION_BOUNDS[-1] == 86_400
    assert list(DURATION_BOUNDS) == sorted(set(DURATION_BOUNDS))


@pytest.mark.parametrize(
    ("took", "bound"),
    [(0, "60"), (60, "60"), (60.5, "120"), (86_400, "86400"), (86_401, "+Inf")],
)
def test_a_duration_falls_into_the_lowest_bucket_that_holds_it(took, bound):
    assert counted_bucket(took) == bound


def test_words_that_are_on_no_list_are_other():
    assert [counted_method(m) for m in ("dpo", "orpo")] == ["dpo", "other"]
    codes = ("server_error", "bad_day", "", None)
    assert [counted_code(code) for code in codes] == ["server_error", "other", "", ""]
