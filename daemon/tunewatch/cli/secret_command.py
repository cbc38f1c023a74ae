"""`tunewatch secret`: a fresh webhook secret."""

from __future__ import annotations

import base64
import secrets

import click

BYTES = 32  #: within the 24 to 64 that receivers accept


@click.command()
def command() -> None:
    """Make a webhook secret: whsec_ and the base64 of 32 random bytes."""
    click.echo("whsec_" + base64.b64encode(secrets.token_bytes(BYTES)).decode())
