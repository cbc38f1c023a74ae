"""A real pgbouncer before a PostgreSQL: it pools by transaction.

It has fewer sessions than one daemon has connections, and gives them in turn.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
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
    """A pooler that runs, and that tests may stop and start again."""

    server: PostgresServer
    port: int
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        # It refuses to be root.
        user = ["-u", "postgres"] if os.geteuid() == 0 else []
        ini = str(self.directory / "ini")
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                # It goes with us, however we end.
                ["setpriv", "--pdeathsig", "QUIT", program, *user, ini],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START
        while not _answers(self):
            late = time.monotonic() > deadline or self.process.poll() is not None
            assert not late, (self.directory / "log").read_text()
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it: whoever uses it loses the connection."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=10)
            self.process = None

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
def pgbouncer(
    server: PostgresServer, *, sessions: int = SESSIONS
) -> Iterator[PgBouncer]:
    """Run one, with so many sessions for each database, until the block ends."""
    directory = Path(tempfile.mkdtemp(prefix="tw-pgb-", dir="/tmp"))
    pooler = PgBouncer(server, free_port(), directory)
    (directory / "ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port} user=tunewatch\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {pooler.port}\n"
        "unix_socket_dir =\nauth_type = any\npool_mode = transaction\n"
        f"default_pool_size = {sessions}\nserver_round_robin = 1\n"
        "max_client_conn = 200\n"
    )
    if os.geteuid() == 0:
        os.chown(directory, pwd.getpwnam("postgres").pw_uid, -1)
    try:
        pooler.start()
        yield pooler
    finally:
        pooler.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _answers(pooler: PgBouncer) -> bool:
    try:
        pooler.run("SELECT 1", pooler.server.url("postgres"))
    except subprocess.CalledProcessError:
        return False
    return True
