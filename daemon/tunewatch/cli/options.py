"""Options that several commands share."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


class Moment(click.ParamType[float]):
    """A moment, as so long ago or by date and time; becomes unix seconds."""

    name = "when"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return unix seconds; what has no zone is taken for UTC."""
        from tunewatch.settings import Wanted, parse_duration

        if isinstance(value, float):
            return value
        try:
            return time.time() - parse_duration(value)
        except Wanted:
            pass
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"wanted so long ago, such as 2h or 30d, or a moment such as "
                f"2026-11-25 or 2026-11-25T18:30:00Z; found {value!r}",
                param,
                ctx,
            )
        zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return zoned.timestamp()


def config_option(command: CommandT) -> CommandT:
    """Let a command take --config after its name too; see `chosen_config`."""
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        default=None,
        help="The configuration file.",
    )(command)


def chosen_config(given: Path | None) -> Path | None:
    """Return the configuration file of the command, else the one before its name."""
    if given is not None:
        return given
    before: Path | None = click.get_current_context().find_root().obj
    return before


def output_option(command: CommandT) -> CommandT:
    """Let a command take -o table|json|yaml."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="How to print.",
    )(command)


def source_option(command: CommandT) -> CommandT:
    """Let a command take --source."""
    return click.option("--source", help="Only jobs of this source.")(command)
