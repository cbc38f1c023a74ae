"""A real pgbouncer before a PostgreSQL: it pools by transaction.

It has fewer sessions than one daemon has connections, and gives them in turn.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.databases import PostgresServer, free_port

SESSIONS = 3
START = 10.0
"""s for it to answer."""


@dataclass(slots=True)
class PgBouncer:
    """A pooler that runs."""

    server: PostgresServer
    port: int

    def url(self, state: str) -> str:
        """Return the address of a database as it is through the pooler."""
        return state.replace(f":{self.server.port}/", f":{self.port}/")

    def run(self, sql: str, state: str) -> list[str]:
        """Run one statement on one of the sessions that everybody uses."""
        psql = str(self.server.binaries / "psql")
        done = subprocess.run(
            [psql, "-XAt", "-c", sql, self.url(state)],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout.splitlines()


@contextmanager
def pgbouncer(server: PostgresServer) -> Iterator[PgBouncer]:
    """Run one until the block ends."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    directory = Path(tempfile.mkdtemp(prefix="tw-pgb-", dir="/tmp"))
    port = free_port()
    (directory / "ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port} user=tunewatch\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        "unix_socket_dir =\nauth_type = any\npool_mode = transaction\n"
        f"default_pool_size = {SESSIONS}\nserver_round_robin = 1\n"
        "max_client_conn = 200\n"
    )
    user = []
    if os.geteuid() == 0:
        # It refuses to be root.
        os.chown(directory, pwd.getpwnam("postgres").pw_uid, -1)
        user = ["-u", "postgres"]
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            # It goes with us, however we end.
            ["setpriv", "--pdeathsig", "QUIT", program, *user, str(directory / "ini")],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        pooler = PgBouncer(server, port)
        deadline = time.monotonic() + START
        while not _answers(pooler):
            late = time.monotonic() > deadline or process.poll() is not None
            assert not late, (directory / "log").read_text()
            time.sleep(0.05)
        yield pooler
    finally:
        process.kill()
        process.wait(timeout=10)
        shutil.rmtree(directory, ignore_errors=True)


def _answers(pooler: PgBouncer) -> bool:
    try:
        pooler.run("SELECT 1", pooler.server.url("postgres"))
    except subprocess.CalledProcessError:
        return False
    return True
