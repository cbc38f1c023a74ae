"""Transactions on both engines: grouped, isolated from each other, free of values."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from support.stores import HandClock
from tunewatch.store.carrier import Carrier
from tunewatch.store.opening import open_store
from tunewatch.store.records import StoreUnavailable

SECRET = "sk-do-not-print-me"


@pytest.fixture
async def carrier(store_url: str) -> AsyncIterator[Carrier]:
    async with open_store(store_url, clock=HandClock(), owner="one") as store:
        yield store.carrier


def put(name: str):
    def transaction(connection: Connection) -> str:
        connection.execute(
            text("INSERT INTO tombstone VALUES ('realm', :id, :status, 0)"),
            {"id": name, "status": SECRET},
        )
        return name

    return transaction


def names(connection: Connection) -> set[str]:
    return set(connection.execute(text("SELECT id FROM tombstone")).scalars())


def transaction_id(connection: Connection) -> object:
    """Tell transactions apart: by PostgreSQL's number, or SQLite's change of a row."""
    if connection.dialect.name == "postgresql":
        return connection.scalar(text("SELECT txid_current()"))
    raw = connection.connection.dbapi_connection
    assert raw is not None
    return raw.total_changes


class Gate:
    """A transaction that stays open until the test lets it end."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = threading.Event()
        self.loop = asyncio.get_running_loop()

    def __call__(self, connection: Connection) -> None:
        self.loop.call_soon_threadsafe(self.entered.set)
        if connection.dialect.name == "sqlite":
            self.opened.wait(10)
        else:
            connection.execute(text("SELECT pg_sleep(0.3)"))


async def test_what_commits_no_events_goes_beside_where_several_may_write(
    carrier, pooled
):
    gate, order = Gate(), []
    async with asyncio.TaskGroup() as tasks:

        async def write(name, fn, **how):
            await carrier.write(fn, **how)
            order.append(name)

        tasks.create_task(write("events", gate), name="events")
        await gate.entered.wait()
        tasks.create_task(write("beside", put("b"), beside=True), name="beside")
        await asyncio.sleep(0)
        gate.opened.set()
    # The pooler of these tests has one session for all.
    together = carrier.dialect == "postgresql" and pooled is None
    assert order == (["beside", "events"] if together else ["events", "beside"])


async def test_what_waits_while_a_transaction_runs_goes_into_the_next_one_together(
    carrier,
):
    gate = Gate()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(carrier.write(gate), name="gate")
        await gate.entered.wait()
        waiting = [
            tasks.create_task(carrier.write(transaction_id), name=f"wait:{n}")
            for n in range(8)
        ]
        await asyncio.sleep(0)
        gate.opened.set()
    assert len({task.result() for task in waiting}) == 1


async def test_a_function_that_fails_harms_only_itself(carrier):
    await carrier.write(put("taken"))
    gate = Gate()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(carrier.write(gate), name="gate")
        await gate.entered.wait()
        good = [
            tasks.create_task(carrier.write(put(f"good-{n}")), name=f"good:{n}")
            for n in range(3)
        ]
        bad = tasks.create_task(refused(carrier.write(put("taken"))), name="bad")
        late = tasks.create_task(carrier.write(put("late")), name="late")
        await asyncio.sleep(0)
        gate.opened.set()
    assert isinstance(bad.result(), IntegrityError)
    assert [task.result() for task in good] == ["good-0", "good-1", "good-2"]
    assert late.result() == "late"
    expected = {"taken", "good-0", "good-1", "good-2", "late"}
    assert await carrier.read(names) == expected


async def refused(awaitable) -> BaseException | None:
    try:
        await awaitable
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return error
    return None


async def test_rows_are_counted_without_being_carried(carrier):
    question = "SELECT id FROM tombstone"
    assert await carrier.tally(question) == 0
    for name in ("a", "b", "c"):
        await carrier.write(put(name))
    assert await carrier.tally(question) == 3


async def test_a_failing_function_leaves_nothing_behind(carrier):
    def half(connection: Connection) -> None:
        put("half")(connection)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await carrier.write(half)
    assert await carrier.read(names) == set()


async def test_a_cancelled_caller_does_not_break_the_others_of_its_group(carrier):
    gate = Gate()
    committed: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(carrier.write(gate), name="gate")
        await gate.entered.wait()
        gone = tasks.create_task(carrier.write(put("gone")), name="gone")
        stays = tasks.create_task(
            carrier.write(put("stays"), committed=committed.append), name="stays"
        )
        await asyncio.sleep(0)
        gone.cancel()
        running.cancel()
        gate.opened.set()
    assert gone.cancelled()
    assert running.cancelled()
    assert stays.result() == "stays"
    assert committed == ["stays"]
    assert await carrier.read(names) == {"stays"}


async def test_a_commit_is_told_even_if_its_caller_was_cancelled_meanwhile(carrier):
    gate = Gate()
    told = asyncio.Event()

    def transaction(connection: Connection) -> None:
        put("told")(connection)
        gate(connection)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(
            carrier.write(transaction, committed=lambda _: told.set()), name="told"
        )
        await gate.entered.wait()
        task.cancel()
        gate.opened.set()
        async with asyncio.timeout(10):
            await told.wait()
    assert await carrier.read(names) == {"told"}


async def test_a_read_sees_one_state_and_cannot_write(carrier):
    with pytest.raises(StoreUnavailable):
        await carrier.read(put("never"))
    assert await carrier.read(names) == set()


async def test_a_long_read_holds_up_no_write(carrier):
    gate = Gate()
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(carrier.read(gate), name="read")
        await gate.entered.wait()
        assert await carrier.write(put("written")) == "written"
        gate.opened.set()
        await reading


async def test_no_value_leaves_the_store_in_an_error(carrier):
    await carrier.write(put(SECRET))
    wrong = text("INSERT INTO job_nowhere VALUES (:a)")
    conversion = text("INSERT INTO position VALUES (7, CAST(:a AS BIGINT))")
    mistakes = [
        put(SECRET),
        lambda connection: connection.execute(wrong, {"a": SECRET}),
        lambda connection: connection.execute(text("SELECT :a"), {"a": object()}),
    ]
    if carrier.dialect == "postgresql":
        mistakes.append(lambda c: c.execute(conversion, {"a": SECRET}))
    for mistake in mistakes:
        error = await refused(carrier.write(mistake))
        assert isinstance(error, Exception)
        assert SECRET not in "".join(traceback.format_exception(error))
        assert SECRET not in every_word_of(error)


async def test_an_error_of_ones_own_does_not_drag_the_drivers_words_along(carrier):
    await carrier.write(put(SECRET))

    def translating(connection: Connection) -> None:
        try:
            put(SECRET)(connection)
        except DBAPIError as error:
            raise LookupError("not twice") from error

    error = await refused(carrier.write(translating))
    assert isinstance(error, LookupError)
    assert SECRET not in every_word_of(error)


def every_word_of(error: BaseException | None) -> str:
    """Return all that could be printed of an error, chained ones included."""
    words = []
    while error is not None:
        words += [str(error), repr(error), repr(getattr(error, "__dict__", ""))]
        words += [repr(getattr(error, "orig", "")), repr(getattr(error, "params", ""))]
        error = error.__cause__ or error.__context__
    return "\n".join(words)


async def test_a_function_that_hides_a_failed_statement_is_not_taken_for_committed(
    carrier,
):
    await carrier.write(put("taken"))

    def hiding(connection: Connection) -> None:
        put("lost")(connection)
        try:
            put("taken")(connection)
        except IntegrityError:
            return

    error = await refused(carrier.write(hiding))
    kept = await carrier.read(names)
    assert (error is None) == ("lost" in kept)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("53100", "the disk of PostgreSQL at 127.0.0.1"),
        ("58030", "failed (SQLSTATE 58030): its log names the file"),
        ("53200", "cannot do it now (SQLSTATE 53200)"),
    ],
)
async def test_what_a_server_cannot_do_for_now_may_be_asked_again(
    postgres_url, state, told
):
    fails = text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$")
    async with open_store(postgres_url, clock=HandClock(), owner="one") as store:
        error = await refused(store.carrier.write(lambda c: c.execute(fails)))
    assert isinstance(error, StoreUnavailable)
    assert told in error.reason


async def test_a_closed_store_says_so(store_url):
    async with open_store(store_url, clock=HandClock(), owner="one") as store:
        carrier = store.carrier
    with pytest.raises(StoreUnavailable, match="closed"):
        await carrier.write(put("late"))


async def test_what_the_body_raises_comes_out_as_it_is(store_url):
    with pytest.raises(LookupError):
        async with open_store(store_url, clock=HandClock(), owner="one"):
            raise LookupError


async def test_a_driver_out_of_step_with_its_server_counts_as_a_lost_connection(
    postgres_url,
):
    """What asyncpg raises when a server's farewell crosses a new statement."""

    def crossed(_: Connection) -> None:
        raise asyncpg.InternalClientError("cannot switch to state 11")

    async with open_store(postgres_url, clock=HandClock(), owner="one") as store:
        with pytest.raises(StoreUnavailable, match="lost the connection"):
            await store.carrier.write(crossed)
        assert await store.carrier.write(put("a")) == "a"


async def test_counting_rows_gets_over_dead_connections_and_waits_for_no_lock_for_long(
    server_url,
):
    question = "SELECT id FROM tombstone"
    ours = "FROM pg_stat_activity WHERE datname = current_database() AND pid <>"
    client = await asyncpg.connect(server_url)
    async with open_store(server_url, clock=HandClock(), owner="one") as store:
        assert await store.carrier.tally(question) == 0
        me = client.get_server_pid()
        await client.execute(f"SELECT pg_terminate_backend(pid) {ours} {me}")
        assert await store.carrier.tally(question) == 0
        async with client.transaction():
            await client.execute("LOCK TABLE tombstone")
            with pytest.raises(StoreUnavailable, match="55P03"):
                await store.carrier.tally(question)
        assert await store.carrier.tally(question) == 0
    await client.close()
