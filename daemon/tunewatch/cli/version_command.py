"""`tunewatch version`: what runs."""

from __future__ import annotations

import platform

import click

from tunewatch import __version__


@click.command()
def command() -> None:
    """Print the version."""
    click.echo(f"tunewatch {__version__} (Python {platform.python_version()})")
