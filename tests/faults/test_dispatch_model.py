"""Any history of commits, answers, ends, pauses and forgetting, on both databases."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from support.dispatch_model import World
from support.judge import books_of
from support.track_record import rounds

JOBS = st.sampled_from(["ftjob-1", "ftjob-2", "ftjob-3"])
MOODS = st.sampled_from(["accepts", "is down", "blames", "rejects", "raises", "holds"])
WAITS = st.sampled_from([1.0, 6.0, 35.0, 140.0, 700.0, 3600.0])


class Histories(RuleBasedStateMachine):
    """What may happen to a store, a dispatcher and its sinks."""

    def __init__(self, make_store, drop_store, tried):
        super().__init__()
        self.drop_store, self.tried = drop_store, tried
        self.url, free_leases = make_store()
        self.world = World(self.url, free_leases)

    def teardown(self):
        try:
            self.world.check_drained()
            self.tried["histories"] += 1
            self.tried["told"] += sum(
                len(one.accepted) for one in self.world.sinks.values()
            )
        finally:
            self.world.close()
            self.drop_store(self.url)

    @rule(looks=st.dictionaries(JOBS, st.integers(1, 4), min_size=1))
    def looks_are_committed(self, looks):
        said = {job: ["a step"] * count for job, count in looks.items()}
        self.world.run(self.world.commit(said))

    @rule(data=st.data(), mood=MOODS)
    def a_sink_changes_its_mood(self, data, mood):
        self.world.sinks[self._one(data)].mood = mood

    @rule(data=st.data())
    def a_sink_answers_what_it_holds(self, data):
        self.world.run(self.world.release(self._one(data)))

    @rule(seconds=WAITS)
    def time_passes(self, seconds):
        self.world.run(self.world.pass_time(seconds))

    @rule(cleanly=st.booleans())
    def the_process_ends_and_begins_anew(self, cleanly):
        self.world.run(self.world.restart(cleanly=cleanly))

    @rule(data=st.data())
    def a_person_pauses_a_plugin(self, data):
        self.world.run(self.world.pause(self._one(data)))

    @rule(data=st.data())
    def a_person_resumes_a_plugin(self, data):
        self.world.run(self.world.resume(self._one(data)))

    @precondition(lambda self: self.world.committed)
    @rule(data=st.data())
    def a_person_asks_for_an_event_again(self, data):
        position = data.draw(st.sampled_from(sorted(self.world.committed)))
        event_id = self.world.committed[position].id
        asked = {"plugin": self._one(data), "events": (event_id,)}
        self.world.run(self.world.redeliver(**asked))

    @rule(data=st.data())
    def a_person_asks_for_everything_again(self, data):
        self.world.run(self.world.redeliver(plugin=self._one(data), since=0.0))

    @rule()
    def a_person_asks_for_all_that_are_dead(self):
        self.world.run(self.world.redeliver(dead=True))

    @rule()
    def a_person_takes_back_what_was_asked_for_last(self):
        self.world.run(self.world.take_back())

    @precondition(lambda self: len(self.world.sinks) < 3)
    @rule()
    def a_plugin_is_added(self):
        self.world.run(self.world.restart(cleanly=True))
        self.world.add_sink()
        self.world.run(self.world.restart(cleanly=True))

    @rule(older_than=st.sampled_from([0.0, 60.0, 3600.0]))
    def what_is_old_is_forgotten(self, older_than):
        self.world.run(self.world.forget(older_than))

    @invariant()
    def nothing_is_lost_renamed_or_out_of_order(self):
        self.world.check()
        self.tried["steps"] += 1

    def _one(self, data):
        running = sorted(self.world.started)
        return data.draw(st.sampled_from(running))


@pytest.fixture
def stores(request):
    """Lend how to make and drop stores of one engine."""
    if request.param == "sqlite":
        with tempfile.TemporaryDirectory() as directory:
            numbers = iter(range(10**9))

            def make():
                path = Path(directory) / f"state{next(numbers)}.db"
                return f"sqlite:///{path}", lambda: None

            yield make, lambda _url: None
        return
    server = request.getfixturevalue("postgres")
    template = request.getfixturevalue("postgres_template")

    def make_database():
        url = server.create(template)
        return url, books_of(url, server).expire_leases

    yield make_database, server.drop


def explore(stores, seed, examples, steps):
    """Try so many histories of so many steps; return how many of which there were."""
    tried = Counter()
    run_state_machine_as_test(
        hypothesis.seed(seed)(lambda: Histories(*stores, tried)),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            database=None,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return tried


ENGINES = pytest.mark.parametrize("stores", ["sqlite", "postgresql"], indirect=True)


@ENGINES
def test_no_history_loses_renames_or_disorders_anything(stores, seed):
    explore(stores, seed, examples=10, steps=20)


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
@ENGINES
def test_no_long_history_loses_renames_or_disorders_anything(
    stores, seed, request, track_record
):
    began = time.monotonic()
    tried = explore(stores, seed, examples=rounds(1000), steps=60)
    track_record(
        "any history of a store",
        engine=request.node.callspec.params["stores"],
        runs=tried["histories"],
        lost=f"0 of {tried['told']}",
        out_of_order=0,
        recovered_in=f"{tried['steps']} steps",
        seconds=round(time.monotonic() - began),
    )
