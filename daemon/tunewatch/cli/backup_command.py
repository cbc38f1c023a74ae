"""`tunewatch backup`: a whole copy of the store, beside a running daemon or without."""

from __future__ import annotations

from pathlib import Path

import click

from tunewatch.cli.exits import USAGE, Quit
from tunewatch.cli.options import config_option


@click.command()
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--state",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The store's file, instead of the one that the configuration names.",
)
@config_option
def command(target: Path, state: Path | None, config_path: Path | None) -> None:
    """Copy the store into a new FILE, whole and sound, while the daemon goes on.

    To restore it: stop the daemon, move its state file and the -wal and -shm beside it
    away, put a copy of FILE in their place with the same owner, and start it again.

    For PostgreSQL use its own tools, such as pg_dump.
    """
    from tunewatch.store.backup import CannotWrite, back_up

    path = _file(config_path) if state is None else state
    try:
        done = back_up(path, target)
    except CannotWrite as error:
        raise Quit(USAGE, error.reason) from None
    size = f"{done.bytes / 2**20:.1f} MiB"
    click.echo(f"{target}: {done.events} events of {done.jobs} jobs, {size}")


def _file(config_path: Path | None) -> Path:
    """Return the file that the configuration names."""
    from tunewatch.cli.settings import load_daemon
    from tunewatch.store.address import sqlite_path

    path = sqlite_path(load_daemon(config_path).state)
    if path is None:
        raise Quit(
            USAGE,
            "the store is a PostgreSQL database, which has tools of its own: "
            "pg_dump --format=custom --file=FILE DATABASE makes a backup while "
            "everything runs, pg_restore brings it back",
        )
    return path
