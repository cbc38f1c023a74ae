"""`tunewatch run`: the daemon."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tunewatch.cli.options import config_option


@click.command()
@click.option(
    "--once",
    is_flag=True,
    help="Until all due work is done, then end; not with 0 if a source failed.",
)
@config_option
def command(once: bool, config_path: Path | None) -> int:
    """Run the daemon until it is told to stop."""
    from tunewatch.cli.settings import load_settings
    from tunewatch.telemetry import Redactor, configure_logs

    settings = load_settings(config_path)
    configure_logs(
        level=settings.daemon.log_level,
        form=settings.daemon.log_format,
        redact=Redactor(settings.secrets(), later=settings.learned),
        environ=os.environ,
    )
    from tunewatch.app import run

    code: int = run(settings, once=once)
    return code
