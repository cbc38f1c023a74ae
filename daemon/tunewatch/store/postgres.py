"""The carrier for PostgreSQL: asyncpg under SQLAlchemy, without any session state.

It works behind a transaction pooler: no statement cache, unnamed statements, `SET
LOCAL` in each transaction. Knows nothing of tables.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeAlias, TypeVar

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tunewatch.store.carrier import Grouping, StoreAway, Transaction, run_all
from tunewatch.store.faults import is_read_only, translated
from tunewatch.store.silence import APPLICATION
from tunewatch.store.statements import execute

T = TypeVar("T")
Password: TypeAlias = str | Callable[[], str | None] | None

CONNECTIONS = 5
"""One commits events, one writes beside it, the others read."""
CONNECT = 3.0
"""s to connect."""
COMMAND = 4.5
"""s until a statement without an answer counts as a lost connection."""
WHOLE = 10.0
"""s for a transaction from begin to commit: it must end within a lease of 12 s."""

# Below a third of the lease: whoever hangs is out before somebody else takes over.
_LIMITS = (
    "SET LOCAL statement_timeout = '3500ms';"
    "SET LOCAL lock_timeout = '3000ms';"
    "SET LOCAL idle_in_transaction_session_timeout = '3500ms'"
)
_BEGIN_WRITE = (
    f"BEGIN ISOLATION LEVEL READ COMMITTED; {_LIMITS};SET LOCAL synchronous_commit = on"
)
_DEAD = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a server's farewell crossed the statement
    OSError,
)
"""What a statement that cannot fail says of its connection."""
_REFUSED = (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError)
"""What a question may meet on a connection that lives."""
_BEGIN_READ = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_LIMITS}"


class PostgresCarrier:
    """See `carrier.Carrier`. Open it with `postgres_carrier`."""

    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, url: str, *, password: Password = None) -> None:
        self._where, self._engine = _engine(url, password)
        self._grouping = Grouping(self._attempt)
        self._beside = Grouping(self._attempt)
        self._primaries = 1  # how many there were, as far as we know

    async def write(
        self,
        fn: Callable[[Connection], T],
        *,
        committed: Callable[[T], None] | None = None,
        beside: bool = False,
    ) -> T:
        """See `carrier.Carrier.write`."""
        grouping = self._beside if beside else self._grouping
        return await grouping.write(fn, committed)

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """See `carrier.Carrier.read`."""
        [result] = await self._transaction([fn], _BEGIN_READ)
        value: T = result
        return value

    async def tally(self, question: str) -> int:
        """See `carrier.Carrier.tally`."""
        try:
            async with asyncio.timeout(WHOLE):
                connection, tag = await self._begun(f"{_LIMITS};{question}")
                await connection.close()
                return int(tag.removeprefix("SELECT "))
        except Exception as error:  # noqa: BLE001 - translated and raised below
            fault = translated(error, self._where)
        raise fault

    async def _attempt(self, fns: Sequence[Transaction]) -> list[Any]:
        return await self._transaction(fns, _BEGIN_WRITE)

    async def _transaction(self, fns: Sequence[Transaction], begin: str) -> list[Any]:
        try:
            async with asyncio.timeout(WHOLE):
                connection, _ = await self._begun(begin)
                try:
                    results = await connection.run_sync(_run, fns)
                except Exception as error:
                    self._primaries += is_read_only(error)
                    await _roll_back(connection)
                    raise
                except BaseException:
                    await _throw_away(connection)
                    raise
                await connection.close()
                return results
        except Exception as error:  # noqa: BLE001 - translated and raised below
            fault = translated(error, self._where)
        # Outside of the except block: a context would carry the driver's words along.
        raise fault

    async def _begun(self, begin: str) -> tuple[AsyncConnection, str]:
        """Return a connection on which a transaction has begun, and the answer.

        Connections that died in the pool are replaced: nothing was done on them yet.
        """
        for _ in range(CONNECTIONS):
            connection = await self._connected()
            try:
                tag = await connection.run_sync(execute, begin)
            except _REFUSED:
                await _throw_away(connection)
                raise
            except _DEAD as error:
                await _throw_away(connection)
                if isinstance(error, TimeoutError):
                    break  # it hangs: the next one would hang as long
            except BaseException:
                await _throw_away(connection)
                raise
            else:
                return connection, tag
        raise StoreAway(f"lost the connection to {self._where}")

    async def _connected(self) -> AsyncConnection:
        """Return a connection, made since the last server refused to write.

        One to a standby would go on to answer, with what may be of yesterday.
        """
        while True:
            connection = await self._engine.connect()
            primary = connection.info.setdefault("primary", self._primaries)
            if primary == self._primaries:
                return connection
            await _throw_away(connection)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def _run(connection: Connection, fns: Sequence[Transaction]) -> list[Any]:
    results = run_all(connection, fns)
    # PostgreSQL answers the COMMIT of a failed transaction with a friendly ROLLBACK.
    if execute(connection, "COMMIT") != "COMMIT":
        raise RuntimeError("a function swallowed the failure of its own statement")
    return results


async def _roll_back(connection: AsyncConnection) -> None:
    try:
        await connection.run_sync(execute, "ROLLBACK")
    except (*_DEAD, SQLAlchemyError):  # the last: found dead before, and thrown away
        # It was the connection that failed, and the caller hears of that already.
        await _throw_away(connection)
    except BaseException:
        await _throw_away(connection)
        raise
    else:
        await connection.close()


async def _throw_away(connection: AsyncConnection) -> None:
    await connection.invalidate()
    await connection.close()


def _at_once(dropped: Any, *_: object) -> None:
    """End a connection that is given up, before SQLAlchemy does it with care.

    It would wait for a farewell that nobody may hear, in a task whose end nobody looks
    at if we are cancelled meanwhile.
    """
    driver = getattr(dropped, "driver_connection", None)
    if isinstance(driver, asyncpg.Connection):
        driver.terminate()


def _engine(url: str, password: Password) -> tuple[str, AsyncEngine]:
    dsn = url.replace("postgresql+asyncpg://", "postgresql://", 1)
    secret: dict[str, Any] = {}
    if password is not None:
        secret["password"] = _current(password)

    async def connect(**_: Any) -> asyncpg.Connection[asyncpg.Record]:
        return await asyncpg.connect(
            dsn,
            timeout=CONNECT,
            command_timeout=COMMAND,
            statement_cache_size=0,
            server_settings={"application_name": APPLICATION},
            **secret,
        )

    engine = create_async_engine(
        "postgresql+asyncpg://",
        connect_args={
            "async_creator_fn": connect,
            "prepared_statement_cache_size": 0,
            # Unnamed: a name would stay behind on whichever server a pooler chose.
            "prepared_statement_name_func": lambda: "",
        },
        # Transactions are begun and ended by hand: one round trip instead of five.
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=CONNECT,
    )
    event.listen(engine.sync_engine, "invalidate", _at_once)
    return without_secret(url), engine


def _current(password: str | Callable[[], str | None]) -> Callable[[], str]:
    """Return the question for the password as it is now: files are rotated."""
    return lambda: (password() if callable(password) else password) or ""


def without_secret(url: str) -> str:
    """Return what a person may read of a database's address."""
    rest = url.partition("://")[2]
    location = rest.rpartition("@")[2].partition("?")[0]
    return f"PostgreSQL at {location}" if location else "PostgreSQL"


@asynccontextmanager
async def postgres_carrier(
    url: str, *, password: Password = None
) -> AsyncIterator[PostgresCarrier]:
    """Open the carrier of a database; connections are made when they are needed.

    `password` wins over one in the URL and is asked for at every connection.
    """
    carrier = PostgresCarrier(url, password=password)
    try:
        async with carrier._grouping, carrier._beside:  # noqa: SLF001 - one module
            yield carrier
    finally:
        await carrier.close()
