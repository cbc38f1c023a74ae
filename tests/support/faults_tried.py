"""What goes wrong in the fault suite, and the tests that let it.

Knows the names of tests, and nothing of what came of them.
"""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """Something that goes wrong, and the long form that lets it."""

    name: str  #: as its lines in the record
    test: str
    bars: tuple[int, ...]
    means: str


_HERE = "tests/faults/"
_FULL = f"{_HERE}test_full_database_disk.py"
_REPLICAS = "tests/replicas/"
_TURMOIL = f"{_REPLICAS}test_turmoil.py"
_HUNDRED = f"{_REPLICAS}test_hundred_sources.py"
FAULTS = (
    Fault(
        "kill -9 at random moments",
        f"{_HERE}test_kills.py::test_nothing_is_lost_or_invented_by_1000_kills_at_random_moments",
        (1, 2, 18, 21),
        "20 receivers, jobs that move; killed at work, while it starts, and while it "
        "takes up what was left",
    ),
    Fault(
        "kill -9 at named points",
        f"{_HERE}test_named_points.py::test_nothing_is_lost_by_20_kills_at_each_point",
        (3,),
        "each point of the list below that a day's work comes by, in any order",
    ),
    Fault(
        "kill -9 while what is old is forgotten",
        f"{_HERE}test_forgetting.py::test_nothing_is_lost_by_many_kills_while_what_is_old_is_forgotten",
        (3,),
        "the points of retention in that list, with a retention of seconds",
    ),
    Fault(
        "power loss under load",
        f"{_HERE}test_power_loss.py::test_a_hundred_power_losses_lose_and_invent_nothing",
        (4,),
        "what was not synced is gone, or torn by sectors in any order; then it starts "
        "on what is left",
    ),
    Fault(
        "power loss before and after each sync",
        f"{_HERE}test_power_loss.py::test_a_power_loss_at_each_of_300_syncs_leaves_what_was_told",
        (4,),
        "one life cut at every sync: the store is sound, holds all that was told, and "
        "counts nothing as delivered that was not acknowledged by then",
    ),
    Fault(
        "EIO on the n-th write or sync",
        f"{_HERE}test_failing_disk.py::test_a_disk_that_fails_a_hundred_times_costs_nothing",
        (5,),
        "once, or from then on; the process ends with 3 and says which call failed, "
        "unless it was SQLite's own housekeeping, which it does anew",
    ),
    Fault(
        "disk full, then room again",
        f"{_HERE}test_failing_disk.py::test_a_disk_that_is_full_for_long_and_often_costs_nothing",
        (6,),
        "for up to a minute, in one process: nothing goes out meanwhile, `/readyz` and "
        "`tunewatch_state_up` say so, the log says it once",
    ),
    Fault(
        "PostgreSQL killed under load",
        f"{_HERE}test_database_killed.py::test_a_database_that_is_killed_a_hundred_times_costs_nothing",
        (7,),
        "an immediate stop every few seconds, down for up to 3 s; recovered counts "
        "from its answering again; memory may not grow",
    ),
    Fault(
        "the disk of PostgreSQL's tables full",
        f"{_FULL}::test_a_database_whose_tables_find_no_room_often_costs_nothing",
        (6,),
        "for up to 30 s, by a file system of its own; it refuses what takes room, and "
        "marks what does not: what is stored may go out meanwhile; recovered counts "
        "from when there is room",
    ),
    Fault(
        "the disk of PostgreSQL's log full",
        f"{_FULL}::test_a_database_that_panics_for_want_of_room_often_costs_nothing",
        (6, 7),
        "the same under the write-ahead log: the server panics, cannot recover, ends, "
        "and is started again when there is room; recovered counts from there",
    ),
    Fault(
        "the disk under PostgreSQL fails",
        f"{_HERE}test_failing_database_disk.py"
        "::test_a_disk_that_fails_often_under_postgresql_costs_nothing",
        (5, 7),
        "EIO on the n-th write or sync of any of its processes, once, or from then on: "
        "it panics and recovers, or ends and is started again when the disk is well; "
        "recovered counts from there",
    ),
    Fault(
        "PostgreSQL is read-only",
        f"{_FULL}::test_a_database_that_is_read_only_often_costs_nothing",
        (6, 45),
        "for up to 30 s, in the middle of work, as a primary that became a standby; "
        "it can be read, and `/readyz` says why it is not ready all the same",
    ),
    Fault(
        "kill -9 of the broker",
        f"{_HERE}test_broker_kills.py::test_nothing_is_lost_by_50_kills_of_the_broker",
        (25,),
        "of MQTT, under the whole daemon: nothing counts that was not acknowledged",
    ),
    Fault(
        "a backup under load",
        f"{_HERE}test_backups.py::test_a_hundred_backups_under_load_are_whole_and_disturb_nothing",
        (10,),
        "by `tunewatch backup`, or dumped and restored beside: whole as of the moment "
        "it was begun, nothing counted as delivered that was not acknowledged",
    ),
    Fault(
        "a key revoked and rotated under load",
        f"{_HERE}test_upstream.py::test_keys_that_are_rotated_fifty_times_under_load_cost_nothing",
        (36,),
        "refused for up to 1.5 s, then the new one is in its file; recovered counts "
        "from there; the refused one is not asked with in a hot loop",
    ),
    Fault(
        "an API that fails by chance",
        f"{_HERE}test_upstream.py::test_an_api_that_fails_for_minutes_costs_and_invents_nothing",
        (34,),
        "15 % of all answers are 429, 5xx, slow, cut or no JSON; runs are seconds",
    ),
    Fault(
        "SIGTERM under load",
        f"{_HERE}test_stopping.py::test_two_hundred_stops_under_load_are_in_time_and_lose_nothing",
        (39, 40),
        "exit code 0 within the grace, nothing sent twice, no task left behind",
    ),
    Fault(
        "hours of mixed troubles",
        f"{_HERE}test_soak.py::test_hours_of_trouble_leave_nothing_behind",
        (46,),
        "a receiver refuses or hangs, the API fails by chance or altogether, the disk "
        "is full, the key is exchanged, the configuration is reloaded; nothing of it "
        "ends the process, and memory, files and threads stay as they are",
    ),
    Fault(
        "SIGTERM within a second of the start",
        f"{_HERE}test_stopping.py::test_a_thousand_stops_in_the_first_second_lose_and_repeat_nothing",
        (39, 40),
        "at any moment, while it takes up what was left, too; a signal before it "
        "listens to any ends it as it ends any program",
    ),
    Fault(
        "SIGHUP under load",
        f"{_HERE}test_reloading.py::test_two_hundred_reloads_under_load_lose_nothing",
        (44,),
        "sources, plugins or both are built anew in the same process",
    ),
    Fault(
        "a supervised loop ends",
        f"{_HERE}test_dying_loops.py::test_no_loop_is_missed_in_silence_however_it_ends",
        (42,),
        "each raises, is cancelled by nobody, or returns: the process ends with 70 "
        "within 5 s and names it, or its source is down, counted, and begins anew",
    ),
    Fault(
        "a plugin blocks all its threads",
        f"{_HERE}test_blocked_loop.py::test_the_loop_is_in_time_beside_a_plugin_that_blocks_all_its_threads",
        (19, 39, 41),
        "a stranger's, by calls in `asyncio.to_thread` that never return: the loop is "
        "late by 100 ms at most 99 times in a hundred, others get everything, and the "
        "stop is in time",
    ),
    Fault(
        "a million events wait, in 128 MiB",
        f"{_HERE}test_memory_limit.py::test_a_million_events_behind_a_dead_endpoint_fit_into_128_mebibytes",
        (48,),
        "a control group of that size, 20 jobs that move, one endpoint dead and one "
        "well, `/metrics` scraped; then the dead one returns",
    ),
    Fault(
        "a damaged store of a million events",
        f"{_HERE}test_restored_backup.py::test_a_damaged_store_of_a_million_events_is_restored_within_a_minute",
        (8, 10),
        "pages in its middle are zero: it is refused with what to do; that is done, "
        "with a backup made under load, and timed until it is ready",
    ),
    Fault(
        "any history of a store",
        f"{_HERE}test_dispatch_model.py::test_no_long_history_loses_renames_or_disorders_anything",
        (18, 19, 20),
        "hypothesis: commits, answers, ends, pauses, redeliveries and forgetting in "
        "any order, on both engines",
    ),
    Fault(
        "3 replicas: mixed faults",
        f"{_TURMOIL}::test_three_replicas_survive_an_hour_of_mixed_faults",
        (27, 28, 29, 33),
        "an hour behind pgbouncer, one at a time: frozen past its lease, cut off, "
        "killed, stopped in order; the pooler or PostgreSQL away for up to 18 s",
    ),
    Fault(
        "3 replicas: SIGSTOP, SIGCONT",
        f"{_TURMOIL}::test_replicas_that_are_frozen_past_their_lease_do_no_harm_when_they_wake",
        (27,),
        "past its lease; it wakes while others have its sources, and writes nothing",
    ),
    Fault(
        "3 replicas: frozen, killed",
        f"{_TURMOIL}::test_what_is_frozen_or_killed_is_taken_over_and_does_no_harm",
        (27, 28),
        "one of each; for who wants to see it in two minutes",
    ),
    Fault(
        "3 replicas: cut off",
        f"{_TURMOIL}::test_what_is_cut_off_from_the_database_is_taken_over_and_does_no_harm",
        (29,),
        "nothing passes between a replica and PostgreSQL, in either direction",
    ),
    Fault(
        "3 replicas: packets dropped",
        f"{_TURMOIL}::test_what_packets_are_dropped_of_is_taken_over_and_does_no_harm",
        (29,),
        "the same by the kernel, in a network of its own: no reset, no answer",
    ),
    Fault(
        "3 replicas: half of all packets",
        f"{_TURMOIL}::test_who_loses_half_of_all_packets_does_no_harm",
        (29,),
        "each by chance, for up to a minute, between one replica and PostgreSQL in "
        "both directions; it may keep what it has, or lose it",
    ),
    Fault(
        "3 replicas: clocks set",
        "tests/replicas/test_clocks.py::test_replicas_whose_clocks_are_set_and_drift_share_and_lose_nothing",
        (31,),
        "two are set by 5 minutes, an hour or a year to and fro, one gains 0.2 s a "
        "second; replicas are rolled and killed meanwhile, and no lease is lost by it",
    ),
    Fault(
        "3 replicas: rolled",
        f"{_TURMOIL}::test_fifty_rolling_restarts_under_load_lose_and_repeat_nothing",
        (33,),
        "each stopped in order and started again, one after the other",
    ),
    Fault(
        "3 replicas, pgbouncer, rolled",
        f"{_REPLICAS}test_sharing.py::test_three_replicas_behind_a_pgbouncer_share_and_roll_and_lose_nothing",
        (30, 33),
        "once round; sessions of the pool are as they were before",
    ),
    Fault(
        "100 sources",
        f"{_HUNDRED}::test_a_hundred_sources_are_handed_over_and_taken_over",
        (28, 33),
        "of one replica go to another and back: SIGTERM, then kill -9",
    ),
    Fault(
        "100 sources, to and fro",
        f"{_HUNDRED}::test_a_hundred_sources_are_handed_over_within_a_second_each_time",
        (28, 33),
        "the same ten times",
    ),
)
"""Long forms of `tests/faults` and of `tests/replicas`."""

OTHERS = (
    Fault(
        "backup restored in the place of the store",
        f"{_HERE}test_restored_backup.py::test_a_restored_backup_renames_nothing_and_no_sequence_goes_back",
        (10, 21),
        "made under load by `tunewatch backup`",
    ),
    Fault(
        "upgrade from the first tables with events that wait, killed 3 times",
        f"{_HERE}test_upgrade.py::test_what_waits_in_an_old_store_is_delivered_after_an_upgrade_that_is_killed",
        (3, 9),
        "before, between and after the steps; each waiting event is delivered once",
    ),
    Fault(
        "the wall clock is set by an hour",
        f"{_HERE}test_wall_clock.py::test_a_clock_that_is_set_by_an_hour_changes_nothing",
        (31,),
        "forward and back, while one receiver is down and one refuses",
    ),
    Fault(
        "one receiver hangs, or refuses every event",
        f"{_HERE}test_harm_stays_where_it_is.py::test_an_endpoint_in_trouble_harms_only_itself",
        (16,),
        "the others get everything; it is not flooded",
    ),
    Fault(
        "a damaged file",
        f"{_HERE}test_harm_stays_where_it_is.py::test_a_damaged_file_is_refused_with_3_and_left_as_it_is",
        (8,),
        "cut in half, zeroed, or not a store at all",
    ),
    Fault(
        "something blocks the event loop",
        f"{_HERE}test_blocked_loop.py::test_a_loop_that_is_blocked_gives_no_sign_of_life_and_loses_nothing",
        (41,),
        "for 4 s: the watchdog is not fed, the lag is in `/metrics`, all goes on",
    ),
    Fault(
        "a start on a full disk",
        f"{_HERE}test_failing_disk.py::test_a_start_on_a_full_disk_waits_for_room",
        (6,),
        "waits, says why, and goes on",
    ),
)
"""Those that have only the form that `make test` runs."""
