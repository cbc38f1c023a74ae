"""How often to look, and how long to wait after failures."""

from hypothesis import given
from hypothesis import strategies as st

from tunewatch import pace
from tunewatch.model import JobStatus

RATES = pace.Rates(poll_interval=15.0, idle_interval=60.0, settle_window=90.0)


def test_rates_follow_what_the_job_is_doing():
    def every(status: JobStatus, unchanged_for: float = 0.0) -> float:
        return pace.look(RATES, status, unchanged_for=unchanged_for)

    assert every(JobStatus.RUNNING) == 15.0
    assert every(JobStatus.QUEUED) == 30.0
    assert every(JobStatus.SUCCEEDED) == 30.0
    assert every(JobStatus.UNKNOWN) == 15.0
    assert every(JobStatus.UNKNOWN, 86_400.0) == 86_400.0
    assert every(JobStatus.RUNNING, 86_400.0) == 15.0


def test_settling_is_never_faster_than_polling():
    rates = pace.Rates(poll_interval=60.0, settle_window=90.0)
    assert pace.look(rates, JobStatus.FAILED, unchanged_for=0.0) == 60.0


def test_discovery_slows_down_when_nothing_is_active():
    assert pace.discovery(RATES, active=True) == 15.0
    assert pace.discovery(RATES, active=False) == 60.0


@given(st.integers(0, 10_000), st.floats(0.0, 0.999), st.floats(0.01, 400.0))
def test_backing_off_doubles_to_five_minutes_and_never_hammers(failures, draw, every):
    wait = pace.back_off(every, failures, lambda: draw)
    assert every / 2 <= wait <= max(300.0, every)


@given(st.floats(0.0, 0.999))
def test_jitter_is_a_tenth_either_way(draw):
    assert 9.0 <= pace.jittered(10.0, lambda: draw) <= 11.0


def test_pages_are_read_only_where_they_save_requests():
    assert pace.pages_to_read([], 100) == 0
    assert pace.pages_to_read([150], 100) == 0
    assert pace.pages_to_read([150, 160], 100) == 1
    assert pace.pages_to_read([150, 160, 950], 100) == 1
    assert pace.pages_to_read([150, *range(900, 950)], 100) == 9


@given(st.lists(st.integers(100, 5000), max_size=60))
def test_no_other_number_of_pages_costs_less(ranks):
    def cost(pages: int) -> int:
        return pages + sum(1 for rank in ranks if rank >= (pages + 1) * 100)

    chosen = cost(pace.pages_to_read(ranks, 100))
    assert all(chosen <= cost(pages) for pages in range(60))
