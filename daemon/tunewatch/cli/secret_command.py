"""`tunewatch secret`: a fresh secret to sign webhooks with.

Imports what makes ed25519 keys only when one is asked for: not everybody has it.
"""

from __future__ import annotations

import base64
import secrets

import click

BYTES = 32  #: within the 24 to 64 that receivers accept; the seed of an ed25519 key


@click.command()
@click.option(
    "--kind",
    type=click.Choice(["shared", "ed25519"]),
    default="shared",
    show_default=True,
    help="shared: the receiver has the same; ed25519: it has the public half only.",
)
def command(kind: str) -> None:
    """Make a webhook secret: whsec_ and the base64 of 32 random bytes.

    With --kind ed25519 a private key, whsk_ and base64, for this side; its public half,
    whpk_ and base64, is for the receiver and goes to stderr.
    """
    seed = secrets.token_bytes(BYTES)
    if kind == "shared":
        click.echo("whsec_" + _base64(seed))
        return
    public = _public_half(seed)
    click.echo(f"for the receiver: whpk_{_base64(public)}", err=True)
    click.echo("whsk_" + _base64(seed + public))


def _public_half(seed: bytes) -> bytes:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        raise click.UsageError(
            "ed25519 needs the package cryptography, which is not installed: pip"
            " install 'tunewatch[ed25519]'"
        ) from None
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
