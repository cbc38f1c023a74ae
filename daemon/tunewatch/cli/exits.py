"""How the program ends: exit codes, and one paragraph about why.

Exit codes are part of the interface. Foreign exceptions are known by their class here
and imported only when something was raised.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

from tunewatch.unbidden import causes

OK = 0
USAGE = 2  #: usage or configuration
STORE = 3  #: the store is in use or cannot be used
NO_CHOICE = 4  #: `best`: none
PROVISIONAL = 5  #: `best`: only a provisional choice
UNDELIVERED = 6  #: `redeliver`: not everything was accepted, or not yet
UNREACHABLE = 69
DEFECT = 70
INTERRUPTED = 130


class Quit(Exception):
    """End with this exit code and this reason on stderr."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def end(code: int, reason: str = "") -> NoReturn:
    """End the process; the reason goes to stderr."""
    if reason:
        print(f"tunewatch: {reason}", file=sys.stderr)  # noqa: T201 - the command line
    sys.exit(code)


def end_for(error: Exception) -> NoReturn:
    """End the process as an exception asks for: one paragraph, no traceback."""
    end(*_told(error) or (DEFECT, _defect(error)))


def code_for(error: Exception) -> int:
    """Return the exit code that an exception asks for."""
    code, _ = _told(error) or (DEFECT, "")
    return code


def _told(error: Exception) -> tuple[int, str] | None:
    found = map(_known, causes(error))
    return next((known for known in found if known is not None), None)


def _known(error: BaseException) -> tuple[int, str] | None:
    # Here, not above: nobody pays for these imports unless something went wrong.
    from tunewatch.api.faults import Ambiguous, NotAnswered
    from tunewatch.settings import ConfigError, NoSuchKind
    from tunewatch.sources.contract import SourceFault
    from tunewatch.store.records import StoreFault
    from tunewatch.web import CannotListen

    match error:
        case Quit():
            return error.code, error.reason
        case Ambiguous():
            return USAGE, f"{error.reason}; say which with --source"
        case NotAnswered():
            return USAGE, error.reason
        case ConfigError() | NoSuchKind():
            return USAGE, str(error)
        case CannotListen():
            return USAGE, error.reason
        case StoreFault():
            return STORE, error.reason
        case SourceFault():
            return UNREACHABLE, error.reason
        case _:
            return None


def _defect(error: BaseException) -> str:
    """Return a hint without the message: it may hold what must not be shown."""
    if os.environ.get("TUNEWATCH_TRACEBACK"):
        traceback.print_exception(error)
    first = next(causes(error))
    where = traceback.extract_tb(first.__traceback__)[-1:]
    place = f" at {where[0].filename}:{where[0].lineno}" if where else ""
    return (
        f"a defect: {type(first).__name__}{place}. Nothing is lost; please report it. "
        "TUNEWATCH_TRACEBACK=1 shows the whole traceback, which may hold secrets"
    )
