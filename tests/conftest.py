"""What tests of every part may ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.databases import PostgresServer, postgres_server
from support.pgbouncer import PgBouncer, pgbouncer
from support.stores import make_tables
from support.track_record import chance, pytest_terminal_summary, seed, track_record

__all__ = ["chance", "pytest_terminal_summary", "seed", "track_record"]


@pytest.hookimpl
def pytest_addoption(parser: pytest.Parser) -> None:
    """Let every test that uses PostgreSQL go through a pooler."""
    parser.addoption(
        "--through-pooler",
        action="store_true",
        help="reach PostgreSQL through a pgbouncer that pools by transaction",
    )


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Lend a real PostgreSQL, started when the first test asks for it."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """Lend the name of a database that has today's tables: copying it is quick."""
    url = postgres.create()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, make_tables(url)).result()
    return url.rpartition("/")[2]


@pytest.fixture(scope="session")
def pooled(
    request: pytest.FixtureRequest, postgres: PostgresServer
) -> Iterator[PgBouncer | None]:
    """Lend the pooler that tests are to go through, None if to none."""
    if not request.config.getoption("through_pooler"):
        yield None
        return
    with pgbouncer(postgres, sessions=1) as pooler:
        yield pooler


@pytest.fixture
def postgres_url(
    postgres: PostgresServer, postgres_template: str, pooled: PgBouncer | None
) -> Iterator[str]:
    """Lend a database of its own, with tables and nothing in them."""
    url = postgres.create(postgres_template)
    yield url if pooled is None else pooled.url(url)
    postgres.drop(url)


@pytest.fixture
def server_url(postgres: PostgresServer, postgres_url: str) -> str:
    """Lend the same database past any pooler, for what is about sessions."""
    return postgres.url(postgres_url.rpartition("/")[2])


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Lend an address for a new store, once per engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url
