"""`tunewatch run`: the daemon."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tunewatch.cli import exits
from tunewatch.cli.ending import end_anyway
from tunewatch.cli.options import chosen_config, config_option
from tunewatch.config import Settings


@click.command()
@click.option(
    "--once",
    is_flag=True,
    help="Until all due work is done, then end; not with 0 if a source failed.",
)
@config_option
def command(once: bool, config_path: Path | None) -> int:
    """Run the daemon until it is told to stop."""
    from tunewatch.cli.settings import load_chosen
    from tunewatch.telemetry import Redactor, configure_logs

    chosen = chosen_config(config_path)
    settings = load_chosen(chosen)
    redact = Redactor(later=settings.learned)

    def set_up_log(settings: Settings) -> None:
        redact.renew(settings.secrets())
        configure_logs(
            level=settings.daemon.log_level,
            form=settings.daemon.log_format,
            redact=redact,
            environ=os.environ,
        )

    set_up_log(settings)
    from tunewatch.app import run

    code = exits.DEFECT
    try:
        code = run(
            settings,
            once=once,
            load=lambda: load_chosen(chosen),
            accepted=set_up_log,
        )
    except Exception as error:
        code = exits.code_for(error)
        raise
    finally:
        end_anyway(code)
    return code
