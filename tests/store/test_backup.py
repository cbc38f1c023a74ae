"""A copy of a store that is in use: whole, or not there at all."""

from __future__ import annotations

import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event

import pytest

from support.damaged_store import zero
from support.filled_store import filling, make_large_store
from support.small_disk import small_disk
from tunewatch.store.backup import Backup, CannotWrite, back_up
from tunewatch.store.records import StoreUnusable

JOBS = 300
LARGE = 65 * 2**20


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "state.db"
    make_large_store(path, JOBS)
    return path


@pytest.fixture
def target(tmp_path):
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups" / "tonight.db"


def rows(path, question="SELECT position, id, body FROM event ORDER BY position"):
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(question).fetchall()


def test_a_copy_has_everything_and_only_its_owner_can_read_it(store, target):
    done = back_up(store, target)
    assert rows(target) == rows(store)
    assert done == Backup(JOBS, len(rows(store)), target.stat().st_size)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [one.name for one in target.parent.iterdir()] == [target.name]


async def test_a_daemon_opens_a_copy_as_its_store(store, target):
    back_up(store, target)
    async with filling(target) as to:
        await to.job("ftjob-after")
    assert len(rows(target)) > len(rows(store))


def test_a_copy_is_of_one_moment_however_much_is_written_meanwhile(store, target):
    enough = Event()
    with closing(sqlite3.connect(store)) as first:
        first.execute("CREATE TABLE pair (a, b)")
        first.execute("INSERT INTO pair VALUES (0, 0)")
        first.commit()

    def write():
        """Move two values together, as fast as it goes."""
        with closing(sqlite3.connect(store, timeout=30)) as writer:
            made = 0
            while not enough.is_set():
                made += 1
                with writer:
                    writer.execute("UPDATE pair SET a = ?", (made,))
                    writer.execute("UPDATE pair SET b = ?", (made,))
            return made

    with ThreadPoolExecutor() as threads:
        writing = threads.submit(write)
        try:
            copies = []
            for number in range(20):
                copy = target.with_name(f"{number}.db")
                back_up(store, copy)
                copies += rows(copy, "SELECT a, b FROM pair")
        finally:
            enough.set()
        assert writing.result() > 0
    assert [a for a, b in copies if a != b] == []
    assert [a for a, _ in copies] == sorted(a for a, _ in copies)
    assert copies[-1] > copies[0], "nothing was written meanwhile"


def test_what_is_there_already_is_left_as_it_is(store, target):
    target.write_text("yesterday's")
    with pytest.raises(CannotWrite, match="is there already"):
        back_up(store, target)
    assert target.read_text() == "yesterday's"
    link = target.with_name("link")
    link.symlink_to(target.with_name("nowhere"))
    with pytest.raises(CannotWrite, match="is there already"):
        back_up(store, link)


def test_a_link_that_sqlite_follows_elsewhere_does_not_make_an_empty_backup(store):
    # As the way into a container's files, by the number of a process in it.
    with small_disk(mebibytes=4) as disk:
        there = disk.seen_from_here()
        with pytest.raises(CannotWrite, match="name the directory itself"):
            back_up(store, there / "tonight.db")
        assert list(there.iterdir()) == []


def test_where_nobody_can_write_it_says_so(store, tmp_path):
    with pytest.raises(CannotWrite, match="nowhere: No such file or directory"):
        back_up(store, tmp_path / "nowhere" / "tonight.db")


@pytest.mark.parametrize("size", ["small", "too large to be read at a start"])
def test_a_damaged_store_is_not_passed_on_as_a_backup(store, target, size):
    before = store.stat().st_size
    if size != "small":
        with closing(sqlite3.connect(store)) as connection, connection:
            connection.execute("CREATE TABLE ballast AS SELECT zeroblob(?)", (LARGE,))
    zero(store, 1, within=before)
    with pytest.raises(StoreUnusable, match=r"state\.db is damaged"):
        back_up(store, target)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("content", ["", "these are somebody's notes\n" * 400])
def test_what_is_no_store_is_not_backed_up(tmp_path, target, content):
    path = tmp_path / "notes"
    path.write_text(content)
    with pytest.raises(StoreUnusable):
        back_up(path, target)
    assert list(target.parent.iterdir()) == []


def test_somebody_else_s_database_is_not_backed_up(tmp_path, target):
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    with pytest.raises(StoreUnusable, match=r"other\.db is no store of tunewatch"):
        back_up(path, target)


def test_a_store_that_is_not_there_is_not_made(tmp_path, target):
    path = tmp_path / "state.db"
    with pytest.raises(StoreUnusable, match="there is no store at"):
        back_up(path, target)
    assert not path.exists()
