"""A real PostgreSQL for the tests: its own cluster, its own directory, its own port.

PostgreSQL refuses to run as root, so as root the system user `postgres` runs it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support.small_disk import SmallDisk

START = 30.0
"""s for the server to start."""


@dataclass(slots=True)
class PostgresServer:
    """A cluster that tests may stop, kill and start again."""

    binaries: Path
    directory: Path
    port: int
    addresses: tuple[str, ...] = ("127.0.0.1",)
    tables_on: SmallDisk | None = None
    log_on: SmallDisk | None = None  #: the write-ahead log
    environment: Mapping[str, str] = field(default_factory=dict)  #: beside ours
    process: subprocess.Popen[bytes] | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [
            *("postgres", "-D", str(self.data)),
            *("-p", str(self.port), "-k", str(self.directory)),
            *("-h", ",".join(self.addresses), "-N", "100"),
            *("-c", "fsync=on", "-c", "shared_buffers=32MB"),
        ]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command(*command),
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **self.environment},
            )
        deadline = time.monotonic() + START
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError((self.directory / "log").read_text())
            time.sleep(0.05)

    @property
    def data(self) -> Path:
        """Where it keeps its tables, as it sees it."""
        directory = self.directory if self.tables_on is None else self.tables_on.under
        return directory / "data"

    def prepare(self) -> None:
        """Make the cluster."""
        places = ["-D", str(self.data)]
        if self.log_on is not None:
            places += ["--waldir", str(self.log_on.under / "log"), "--wal-segsize=1"]
        subprocess.run(
            self._command(
                *("initdb", *places, "-U", "tunewatch", "-A", "trust", "-E", "UTF8"),
                *("--locale=C", "--no-sync"),
            ),
            check=True,
            capture_output=True,
            cwd=self.directory,
        )

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends sessions in order, SIGQUIT is as good as a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=30)
            self.process = None

    def url(self, database: str) -> str:
        """Return the address of a database."""
        return f"postgresql://tunewatch@127.0.0.1:{self.port}/{database}"

    def create(self, template: str = "template1") -> str:
        """Make a fresh database and return its address."""
        name = f"t{next(self.numbers)}"
        self.run(f'CREATE DATABASE {name} TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drop a database with whoever is still connected."""
        name = url.rpartition("/")[2]
        self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def run(self, sql: str, database: str = "postgres") -> list[str]:
        """Run one statement and return its rows as text."""
        # psql, not a driver: tests call this inside and outside of an event loop.
        done = subprocess.run(
            [*(str(self.binaries / "psql"), "-XAt", "-c", sql, self.url(database))],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout.splitlines()

    def _command(self, program: str, *arguments: str) -> list[str]:
        """Return what runs one of its programs where its disks are, as who may."""
        disk = self.tables_on or self.log_on
        return [
            *([] if disk is None else disk.entry),
            # It goes with us, however we end.
            *("setpriv", *_user(), "--pdeathsig", "QUIT"),
            *(str(self.binaries / program), *arguments),
        ]

    def _answers(self) -> bool:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.run("SELECT 1")
            return True
        return False


@contextlib.contextmanager
def postgres_server(
    *also: str, tables_on: SmallDisk | None = None, log_on: SmallDisk | None = None
) -> Iterator[PostgresServer]:
    """Run a PostgreSQL on loopback until the block ends, on these addresses too.

    What is on no disk of its own is with everything else.
    """
    directory = Path(tempfile.mkdtemp(prefix="tw-pg-", dir="/tmp"))
    addresses = ("127.0.0.1", *also)
    server = PostgresServer(
        _binaries(), directory, free_port(), addresses, tables_on, log_on
    )
    try:
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres")
        server.prepare()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _user() -> list[str]:
    if os.geteuid() != 0:
        return []
    entry = pwd.getpwnam("postgres")
    return [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    assert initdb is not None, "the tests need PostgreSQL's server programs (initdb)"
    return Path(initdb).resolve().parent
