"""deploy/FAULTS.md: what was tried, how often, and what it came to.

The figures are those of long forms that passed, from deploy/faults.json, which
`make faults` keeps; the words are here. Run as `python -m support.fault_table`.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from support.distribution import ROOT
from support.fatal_points import CORE_LOOPS, POINTS, SOURCE_LOOPS
from support.reference_tables import table
from support.track_record import COLUMNS

PAGE = ROOT / "deploy/FAULTS.md"
RECORD = ROOT / "deploy/faults.json"


class Fault(NamedTuple):
    """Something that goes wrong, and the long form that lets it."""

    name: str  #: as its lines in the record
    test: str
    bars: tuple[int, ...]
    means: str


class Bar(NamedTuple):
    """What is promised, and what stands behind that."""

    number: int
    promise: str
    proof: str


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
        "by SQLite's own means, or dumped and restored beside: whole as of the moment "
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
        "a million events wait, in 128 MiB",
        f"{_HERE}test_memory_limit.py::test_a_million_events_behind_a_dead_endpoint_fit_into_128_mebibytes",
        (48,),
        "a control group of that size, 20 jobs that move, one endpoint dead and one "
        "well, `/metrics` scraped; then the dead one returns",
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
        "made under load by SQLite's own means",
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

BARS = (
    Bar(
        1,
        "1,000 kills at random: 0 lost, 0 counted as done falsely",
        "the record, if it has that line",
    ),
    Bar(
        2,
        "repeats a kill: at most what was in flight, same id and bytes",
        "the record; the test fails beyond that",
    ),
    Bar(
        3,
        "25 named points, each 20 times",
        "the record, on both engines",
    ),
    Bar(4, "power loss at 200 syncs or more", "the record; NORMAL is shown to lose"),
    Bar(
        5,
        "EIO on the n-th write or sync",
        "the record, on both engines, tells how often",
    ),
    Bar(
        6,
        "disk full: alive, not ready, on again within 10 s of room",
        "the record. There is no ballast file: what waits is paused, too",
    ),
    Bar(
        7,
        "PostgreSQL killed: on again within 5 s",
        "the record, which tells for how long; memory may not grow",
    ),
    Bar(
        8, "damage is found at a start and refused", "short form; no time for a restore"
    ),
    Bar(
        9,
        "upgrade and downgrade over three releases",
        "from the first tables on; there is no other release yet, and a later store "
        "is refused (tests/store/test_opening.py)",
    ),
    Bar(
        10,
        "100 backups under load",
        "the record; the daemon itself goes on on one, of SQLite",
    ),
    Bar(
        27,
        "200 times frozen past its lease and awake again: writes nothing",
        "the record; what was fenced off is not counted apart",
    ),
    Bar(
        28,
        "taken over 20 s after kill -9, handed over 1 s after SIGTERM",
        "the record: in time, 150 times, with 12 sources, and ten times with 100, on "
        "a machine that does nothing else",
    ),
    Bar(
        29,
        "100 times cut off from PostgreSQL",
        "the record; half of all packets lost, by a line of its own",
    ),
    Bar(
        30,
        "the same behind a pooler of transactions",
        "the record, tests/store/test_pooler.py; `make test ARGS=--through-pooler` is "
        "the whole suite by one session for all, but for what is about sessions",
    ),
    Bar(
        32,
        "a second daemon on the same file ends at once and does no harm",
        "tests/faults/test_harm_stays_where_it_is.py",
    ),
    Bar(
        33,
        "50 rolling restarts of three replicas under load",
        "the record",
    ),
    Bar(
        34,
        "whatever the API answers",
        "tests/sources/test_source_faults.py, tests/sources/test_decode.py and "
        "tests/poller/test_looks.py; the record, of what passes by itself",
    ),
    Bar(
        35,
        "1,000 changes during an outage, each told once",
        "tests/poller/test_catching_up.py",
    ),
    Bar(
        36,
        "a revoked key is no hot loop, a new one is found in 5 s",
        "the record; tests/poller/test_source_trouble.py",
    ),
    Bar(37, "10,000 jobs in 100 projects", "`make bench`"),
    Bar(38, "forged webhooks trigger nothing", "tests/e2e/test_inbound_webhooks.py"),
    Bar(
        39,
        "SIGTERM under load, 200 times",
        "the record, on each Python and engine",
    ),
    Bar(
        40,
        "2,000 stops on each Python, none hangs",
        "the record: 2,000 within a second of the start, and 400 under load",
    ),
    Bar(
        41,
        "a blocked event loop gives no sign of life",
        "short form, tests/app/test_service.py, tests/deploy/test_systemd.py; p99 of "
        "the lag beside plugins in threads is not measured",
    ),
    Bar(42, "no loop ends in silence", "the record"),
    Bar(43, "the protocol of systemd", "tests/e2e/test_service_manager.py"),
    Bar(44, "50 broken files on reload", "tests/e2e/test_reloading.py"),
    Bar(
        45,
        "probes while the database or a provider is away",
        "tests/e2e/test_postgres_daemon.py",
    ),
    Bar(
        46,
        "8 hours of mixed faults without growth",
        "UNPROVED: that takes 8 hours. 38 minutes of it lost 0 of 53,168, kept files "
        "and threads, and grew by 2.2 MiB an hour, more than the 1 that is allowed, "
        "while caches fill (4 MiB of events). `make longevity` is an hour that is "
        "forty days",
    ),
    Bar(
        48,
        "128 MiB with a backlog of a million rows",
        "the record: with SQLite, webhooks and /metrics; W&B's helper, which is a "
        "process of its own, and other plugins need what they need beside that",
    ),
)
"""Of the reliability that we measure ourselves by; the others are elsewhere."""

_INTRODUCTION = """
# Faults

Written by `make faults`, which runs the long forms, keeps what passed in `faults.json`
and makes this page of it. Most have a short form in `make test`.

One scene for all: the simulated API, whose jobs move and end; receivers that remember
what they acknowledged, and are the oracle; the daemon as a process of its own; and a
judge that reads the store by SQL of its own. What the store committed is an obligation.
After the faults every job plays out, all is delivered, and a fresh job must be told to
everybody. It fails if anything was lost, invented, renamed, told twice, sent with other
bytes, sent again although it was acknowledged in the same life, out of order, or
counted as delivered before it was acknowledged.

Every run has a seed, which it prints: `FAULTS_SEED=… make faults ARGS='-k kills'` draws
the same again. Moments are not: they are the machine's. `FAULTS_ROUNDS` is how often a
long form does what it does.
"""
_ABOUT_RECORD = """
Lost: of how many deliveries that were owed. Repeated: what a receiver got again with
the same id and the same bytes. Set aside: a dead letter because three ends in a row met
it out and alone, as is meant to be, and sent again by `tunewatch redeliver`. Recovered:
from the start to readiness, or as it says above. Replicas: taken over, from the fault
until others hold every source; handed over, from SIGTERM until then; all held again,
from when what was away answers. Held: memory that is no copy of a file. The machine had
two cores and other work to do, so times are upper bounds.
"""
_ABOUT_POINTS = """
A launcher wraps one function of the real program from outside; its n-th call is the
last thing that the process does. n is drawn.
"""
_ABOUT_LOOPS = """
Each raised, was cancelled by nobody, and returned. Those of the process end it; those
of a source end its term, and it begins anew.
"""
_OF_WHAT = "Of the process: {}. Of a source: {}."
_ABOUT_BARS = """
What we measure ourselves by, in short, and where it stands. UNPROVED says what it says.
"""


def page() -> str:
    """Return deploy/FAULTS.md."""
    record = json.loads(RECORD.read_text())
    told = {line["fault"] for line in record}
    parts = [
        _INTRODUCTION,
        "## What was tried",
        table(
            ("fault", "how", "bars", "test"),
            [
                (one.name, one.means, ", ".join(map(str, one.bars)), f"`{one.test}`")
                for one in (*FAULTS, *OTHERS)
            ],
        ),
        "## What it came to",
        _ABOUT_RECORD,
        table(_COLUMNS, [_row(line) for line in record]),
    ]
    unrun = [one.name for one in FAULTS if one.name not in told]
    if unrun:
        parts.append(f"Without a line by now: {'; '.join(unrun)}.")
    parts += [
        "## The points",
        _ABOUT_POINTS,
        "\n".join(
            f"* {one.name} (`{one.where}`, {one.when}; {one.stage})"
            for one in POINTS.values()
        ),
        "## The loops",
        _ABOUT_LOOPS,
        _OF_WHAT.format(", ".join(CORE_LOOPS), ", ".join(SOURCE_LOOPS)),
        "## The bars",
        _ABOUT_BARS,
        table(
            ("bar", "promise", "where it stands"),
            [(str(bar.number), bar.promise, bar.proof) for bar in BARS],
        ),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


_COLUMNS = (*COLUMNS, "Python", "day")


def _row(line: dict[str, object]) -> tuple[str, ...]:
    return tuple(str(line.get(column.lower(), "")) for column in _COLUMNS)


if __name__ == "__main__":
    PAGE.write_text(page())
