"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


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
