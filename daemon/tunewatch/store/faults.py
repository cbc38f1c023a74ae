"""What a database driver says, in the store's words, without a single value.

Drivers quote rows in their messages (PostgreSQL's DETAIL, failed conversions). Nothing
of that may leave the store: every error is made anew from its code. Nothing here
touches a database.
"""

from __future__ import annotations

import sqlite3
import ssl
from typing import Any

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as NoneFree

from tunewatch.openssl import in_words
from tunewatch.store.carrier import StoreAway
from tunewatch.store.records import (
    StoreBroken,
    StoreFault,
    StoreUnavailable,
    StoreUnusable,
)

_SHARED_MEMORY = frozenset({4618, 4874, 5130, 5386, 6154})
"""SQLITE_IOERR_SHM…: the index of the write-ahead log found no room or no access."""

_READ_ONLY = "25006"


class DriverError(Exception):
    """What a driver said, cut down to its code."""


def translated(error: Exception, where: str) -> Exception:
    """Return what the caller shall see instead of error: a new one, or it itself.

    `where` names the database without a secret. Errors that are not a driver's pass,
    freed of drivers' errors in their chain.
    """
    if isinstance(error, DBAPIError):
        fault = _fault(error.orig, where)
        if fault is None and error.connection_invalidated:
            fault = StoreAway(f"lost the connection to {where}")
        return fault or _bare(error)
    fault = _fault(error, where)
    if fault is not None:
        return fault
    if isinstance(error, StatementError):
        return _bare(error)
    return _unchained(error)


def is_read_only(error: Exception) -> bool:
    """Whether a server takes no writes: it may be a standby from now on."""
    orig = error.orig if isinstance(error, DBAPIError) else error
    return getattr(orig, "sqlstate", None) == _READ_ONLY


def _fault(error: BaseException | None, where: str) -> StoreFault | None:
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error, where)
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return _of_postgres(state, where)
    if isinstance(error, NoneFree):  # of the pool, and no TimeoutError
        return StoreUnavailable(f"{where} is slow: no connection was free in time")
    if isinstance(error, TimeoutError):
        return StoreAway(f"{where} does not answer")
    if isinstance(error, ssl.SSLError):
        return StoreAway(f"no TLS with {where}: {_of_tls(error)}")
    if isinstance(error, OSError):
        return StoreAway(f"cannot reach {where}: {type(error).__name__}")
    if _is_wrongly_configured(error):
        return StoreAway(_of_parameters(error, where))
    if _is_lost_client(error):
        return StoreAway(f"lost the connection to {where}")
    return None


def _of_sqlite(error: sqlite3.Error, where: str) -> StoreFault | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    name = getattr(error, "sqlite_errorname", "an unknown error")
    match code & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StoreUnavailable(
                f"the disk is full: {where} takes no writes until there is room"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return StoreUnavailable(f"cannot write {where} ({name}): check its rights")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_NOMEM:
            return StoreUnavailable(f"{where} is busy ({name})")
        case sqlite3.SQLITE_IOERR if code in _SHARED_MEMORY:
            return StoreUnavailable(f"no room beside {where} ({name})")
        case sqlite3.SQLITE_IOERR:
            return StoreBroken(f"the disk failed under {where} ({name})")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return damaged(where, name)
        case _:
            return None


def damaged(where: str, found: str) -> StoreUnusable:
    """Return the fault for a file that is not a sound database, with what to do."""
    return StoreUnusable(
        f"{where} is damaged ({found}). Nothing was changed. Stop tunewatch, move the "
        f"file and its -wal and -shm aside, put a backup in its place and start again; "
        f"without a backup, start with no file: jobs are then seen anew"
    )


def _of_postgres(state: str, where: str) -> StoreFault | None:
    match state[:2]:
        case "08" | "57" if state != "57014":
            return StoreAway(f"lost the connection to {where} (SQLSTATE {state})")
        case "25" if state in {"25P03", "25P04"}:
            return StoreAway(f"{where} ended a slow transaction (SQLSTATE {state})")
        case "25" if state == _READ_ONLY:
            return StoreAway(
                f"{where} is read-only (SQLSTATE {state}): it may be a standby by now. "
                "Name all servers in daemon.state with "
                "?target_session_attrs=read-write, and the primary is found again"
            )
        case "53" if state == "53100":
            return StoreUnavailable(f"the disk of {where} is full")
        case "58" if state == "58030":
            return StoreUnavailable(
                f"the disk of {where} failed (SQLSTATE 58030): its log names the file"
            )
        case "28" | "3D":
            return StoreAway(
                f"{where} refuses us (SQLSTATE {state}): check user, password, database"
            )
        case "53" | "40" | "55" | "57" | "58" | "25":
            return StoreUnavailable(f"{where} cannot do it now (SQLSTATE {state})")
        case "XX" if state in {"XX001", "XX002"}:
            return StoreUnusable(
                f"{where} reports damaged data (SQLSTATE {state}): restore a backup"
            )
        case _:
            return None


def _of_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is refused here ({in_words(error)}). Name who signed it "
            "with sslrootcert, and the host as it is in the certificate"
        )
    return in_words(error)


def _of_parameters(error: BaseException | None, where: str) -> str:
    """Return what is wrong with the parameters of the address; no value is repeated."""
    if "root certificate" in str(error):
        return (
            f"cannot connect to {where}: sslmode verify-ca and verify-full want the "
            "certificates of authorities, and there is no such file. Name it in "
            "daemon.state, ?sslmode=verify-full&sslrootcert=/path/of/authorities.pem, "
            "or put it where it is looked for without, ~/.postgresql/root.crt"
        )
    return (
        f"cannot connect to {where}: a parameter in daemon.state cannot be used. "
        "Compare what follows the ? with the manual of PostgreSQL"
    )


_LOST = frozenset({"InterfaceError", "InternalClientError"})
"""The second is asyncpg's word when a server's farewell crosses a new statement."""


def _is_lost_client(error: BaseException | None) -> bool:
    """Whether the client itself found the connection closed, in use or out of step.

    By name, so that SQLite users need no PostgreSQL driver. A wrong argument is one
    too by class, but a defect of ours and no trouble of the connection.
    """
    names = _names(error)
    is_client = "asyncpg" in type(error).__module__ and not _LOST.isdisjoint(names)
    return is_client and "DataError" not in names


def _is_wrongly_configured(error: BaseException | None) -> bool:
    """Whether the client cannot make anything of the address it was given.

    SQLAlchemy puts an error of its own before the client's.
    """
    cause = None if error is None else error.__cause__
    return "ClientConfigurationError" in _names(error) | _names(cause)


def _names(error: BaseException | None) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _bare(error: StatementError) -> Exception:
    """Return the same kind of error with its statement, without any value."""
    orig = error.orig
    said = type(orig).__name__
    state = getattr(orig, "sqlstate", None)
    if isinstance(state, str):
        said = f"SQLSTATE {state}{_constraint(orig)}"
    elif isinstance(orig, sqlite3.IntegrityError | sqlite3.OperationalError):
        said = str(orig)  # names tables and columns, quotes no values
    kind: type[Any] = type(error)
    bare = DriverError(said)
    if isinstance(error, DBAPIError):
        made: Exception = kind(error.statement, None, bare, hide_parameters=True)
    else:
        made = StatementError(said, error.statement, None, bare, hide_parameters=True)
    return made


def _constraint(orig: BaseException | None) -> str:
    cause = getattr(orig, "__cause__", None) or orig
    name = getattr(cause, "constraint_name", None)
    return f", constraint {name}" if isinstance(name, str) else ""


def _unchained(error: Exception) -> Exception:
    link: BaseException | None = error
    while link is not None:
        if _is_of_driver(link.__cause__):
            link.__cause__ = None
        if _is_of_driver(link.__context__):
            link.__context__ = None
        link = link.__cause__ or link.__context__
    return error


def _is_of_driver(error: BaseException | None) -> bool:
    return (
        isinstance(error, SQLAlchemyError | sqlite3.Error)
        or getattr(error, "sqlstate", None) is not None
    )
