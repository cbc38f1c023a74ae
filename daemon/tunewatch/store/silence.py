"""Transactions of ours whose client fell silent are ended: what they lock is free then.

PostgreSQL itself ends one that is idle for too long, but not one that waits for the
second half of a statement. Whoever is cut off, frozen or without power right there
would keep its locks for hours: that of a lease, and nobody else gets its source; that
of the position, and nobody commits an event. Knows no table, and not who fell silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import structlog

from tunewatch.store.carrier import Carrier
from tunewatch.store.records import StoreFault
from tunewatch.unbidden import going_on

APPLICATION = "tunewatch"
"""How our transactions are called in PostgreSQL's list of what is under way."""
SILENT = 4.0
"""s without a word in a transaction: longer than PostgreSQL waits for an idle one."""
LOOK_EVERY = 2.0
"""s between looks. With `SILENT`, half of what a lease lasts."""

# Our own role may end its own sessions: no right has to be given. A role that is not
# ours is left alone, and so is whoever is called otherwise, such as a backup.
_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"  # noqa: S608 - ours
    " WHERE datname = current_database() AND usename = current_user"
    f" AND application_name = '{APPLICATION}' AND xact_start IS NOT NULL"
    " AND wait_event_type = 'Client'"
    f" AND state_change < clock_timestamp() - interval '{SILENT} s'"
)

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def silent_ones_ended(carrier: Carrier) -> AsyncIterator[None]:
    """Look for them until the block ends, from its beginning on.

    What they lock may be what a start waits for.
    """
    async with going_on("store.silent", _look(carrier)):
        yield


async def _look(carrier: Carrier) -> NoReturn:
    while True:
        try:
            ended = await carrier.tally(_END)
        except StoreFault:
            ended = 0  # told by whoever needs the store for more than this
        if ended:
            _log.warning("store.silent_ended", transactions=ended)
        await asyncio.sleep(LOOK_EVERY)
