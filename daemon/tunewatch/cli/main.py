"""The root of the command line: which commands there are, and how they end.

Commands are imported when they are asked for; the help of all of them needs none.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tunewatch import __version__
from tunewatch.cli import exits

COMMANDS = {
    "run": "Run the daemon.",
    "demo": "Show it all at work, with no account: simulated API, daemon, receiver.",
    "simulate": "Serve the simulated API alone, to try a configuration.",
    "check": "Check configuration, credentials, store and sources.",
    "jobs": "List fine-tuning jobs.",
    "show": "Show one job in full.",
    "events": "Show what happened, and with --follow what happens.",
    "best": "Print the model of a job's best checkpoint and nothing else.",
    "deliveries": "List attempts to deliver, or dead letters.",
    "redeliver": "Deliver events again: some, a range, or all that failed.",
    "backup": "Copy the store into a file, while the daemon goes on.",
    "audit": "List who had what done.",
    "plugins": "List plugins and their state; pause or resume one.",
    "config": "Print the settings in force, or the annotated example.",
    "secret": "Make a webhook secret, or a token for the operator API.",
    "completion": "Print what makes a shell complete commands and options.",
    "version": "Print the version.",
}
"""Names and one-line help: so that `--help` imports no command."""


class _Lazy(click.Group):
    """A group whose commands are modules of this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"tunewatch.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            result: object = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has had enough (`| head`): no trouble, but the interpreter
            # would complain when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return exits.OK
        return result

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 2 usage or configuration, 3 store in use or unusable, "
    "69 unreachable, 70 a defect.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="The configuration file; else $TUNEWATCH_CONFIG, ./tunewatch.toml in a "
    "terminal, /etc/tunewatch/tunewatch.toml.",
)
@click.version_option(__version__, prog_name="tunewatch")
@click.pass_context
def root(ctx: click.Context, config_path: Path | None) -> None:
    """Watch every fine-tuning job, so that nobody has to."""
    ctx.obj = config_path


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process."""
    try:
        code = root.main(arguments, prog_name="tunewatch", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(exits.USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(exits.USAGE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(exits.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last one to tell a person
        exits.end_for(error)
    sys.exit(code if isinstance(code, int) else exits.OK)
