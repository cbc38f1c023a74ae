"""The end of the process, whatever somebody's threads still wait for.

The interpreter waits for every thread that its maker did not declare to be dispensable:
a library's or a plugin's that hangs would keep a daemon that has done all it had to.
Knows no thread by what it does.
"""

from __future__ import annotations

import os
import sys
import threading
import time

import structlog

PATIENCE = 10.0
"""s for what libraries do at the end of a process."""

_log = structlog.get_logger(__name__)


def end_anyway(code: int, *, within: float = PATIENCE) -> None:
    """Let the process end with this code in so many seconds, if it has not by then.

    To be called when everything is closed and only the interpreter's own end is left.
    """

    def end() -> None:
        time.sleep(within)
        left = [
            one.name
            for one in threading.enumerate()
            if not one.daemon and one is not threading.main_thread()
        ]
        _log.warning("daemon.leaves_threads_behind", threads=left)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    threading.Thread(target=end, name="end", daemon=True).start()
