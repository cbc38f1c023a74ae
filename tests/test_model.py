"""Facts about jobs, whoever provides them."""

from __future__ import annotations

import pytest

from tunewatch.model import Job


@pytest.mark.parametrize(
    ("finished_at", "moment", "before"),
    [(100, 101, True), (100, 100, False), (100, 99.5, False), (None, 1e12, False)],
)
def test_a_job_ended_before_a_moment_only_if_somebody_says_so(
    finished_at: int | None, moment: float, before: bool
):
    job = Job(id="a", status="failed", finished_at=finished_at)
    assert job.ended_before(moment) is before
