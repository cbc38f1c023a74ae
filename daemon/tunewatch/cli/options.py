"""Options that several commands share."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

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


@dataclass(frozen=True, slots=True)
class Papers:
    """By whom a daemon's certificate is signed, and what we show it ourselves."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Where:
    """Who is asked: the store that a configuration names, or a daemon at a URL."""

    config: Path | None
    url: str | None
    token_file: Path | None
    papers: Papers = field(default_factory=Papers)


def where_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command that reads take --url and what goes with it beside --config."""

    @click.option(
        "--url",
        envvar="TUNEWATCH_URL",
        show_envvar=True,
        help="Ask the daemon there instead of its store, as http://127.0.0.1:9478.",
    )
    @click.option(
        "--token-file",
        envvar="TUNEWATCH_TOKEN_FILE",
        show_envvar=True,
        type=click.Path(path_type=Path),
        help="The file with its token; else $TUNEWATCH_TOKEN.",
    )
    @click.option(
        "--ca-file",
        envvar="TUNEWATCH_CA_FILE",
        show_envvar=True,
        type=click.Path(path_type=Path),
        help="Who signs its certificate, in PEM form; else whom this machine trusts.",
    )
    @click.option(
        "--cert-file",
        envvar="TUNEWATCH_CERT_FILE",
        show_envvar=True,
        type=click.Path(path_type=Path),
        help="The certificate to show it, if it asks for one.",
    )
    @click.option(
        "--key-file",
        envvar="TUNEWATCH_KEY_FILE",
        show_envvar=True,
        type=click.Path(path_type=Path),
        help="The key of that certificate; else it is in the same file.",
    )
    @config_option
    @functools.wraps(command)
    def asking(
        *args: Any,
        url: str | None,
        token_file: Path | None,
        ca_file: Path | None,
        cert_file: Path | None,
        key_file: Path | None,
        config_path: Path | None,
        **kwargs: Any,
    ) -> Any:
        config = chosen_config(config_path)
        papers = Papers(ca_file, cert_file, key_file)
        where = Where(config, _url_beside(config, url), token_file, papers)
        return command(*args, where=where, **kwargs)

    return asking


def _url_beside(config: Path | None, url: str | None) -> str | None:
    """Return the URL, unless a configuration was named and the URL was not."""
    if config is None or not url:
        return url or None
    given = click.get_current_context().get_parameter_source("url")
    if given is ParameterSource.COMMANDLINE:
        raise click.UsageError("--config names a store and --url a daemon: keep one")
    return None


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


def metadata_option(about: str) -> Callable[[CommandT], CommandT]:
    """Let a command take --metadata KEY=VALUE, again and again; see `pairs_of`."""
    return click.option(
        "--metadata", "pairs", multiple=True, metavar="KEY=VALUE", help=about
    )


def pairs_of(given: tuple[str, ...]) -> dict[str, str]:
    """Return the metadata that was given. Raises UsageError."""
    found = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError("--metadata wants KEY=VALUE")
        found[key] = value
    return found
