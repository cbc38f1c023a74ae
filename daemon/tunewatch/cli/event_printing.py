"""Print events: a table of those there are, and line by line those to come."""

from __future__ import annotations

from collections.abc import Sequence

import click
import msgspec

from tunewatch.cli.event_lines import COLUMNS, cells, line
from tunewatch.cli.output import print_data, print_table
from tunewatch.events import decode


class Printer:
    """Prints events in one form."""

    def __init__(self, form: str, *, follow: bool) -> None:
        self._form = form
        self._follow = follow

    def first(self, bodies: Sequence[bytes], *, has_more: bool) -> None:
        """Print what there is."""
        if self._follow:
            if self._form == "table":
                click.echo(line(tuple(column.upper() for column in COLUMNS)))
            for body in bodies:
                self.more(body)
        elif self._form == "table":
            print_table(COLUMNS, [cells(decode(body)) for body in bodies])
        else:
            data = [msgspec.json.decode(body) for body in bodies]
            print_data({"data": data, "has_more": has_more}, self._form)

    def more(self, body: bytes) -> None:
        """Print one event that came."""
        if self._form == "table":
            click.echo(line(cells(decode(body))))
        elif self._form == "json":
            click.echo(body)
        else:
            click.echo("---")
            print_data(msgspec.json.decode(body), self._form)
