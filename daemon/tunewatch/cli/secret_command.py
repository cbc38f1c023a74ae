"""`tunewatch secret`: a fresh secret to sign webhooks with, or a token for operators.

Imports what makes ed25519 keys only when one is asked for: not everybody has it. What
is shown is kept nowhere.
"""

from __future__ import annotations

import base64
import secrets

import click

BYTES = 32  #: within the 24 to 64 that receivers accept; the seed of an ed25519 key
TOKEN_BYTES = 32  #: of a token: nobody guesses 256 bits


@click.command()
@click.option(
    "--kind",
    type=click.Choice(["shared", "ed25519"]),
    default=None,
    help="shared (the default): the receiver has the same; ed25519: it has the public "
    "half only.",
)
@click.option(
    "--token",
    "name",
    metavar="NAME",
    help="Instead, a token of that name for the operator API.",
)
@click.option(
    "--scopes",
    metavar="SCOPES",
    help="With --token: read, act or read,act (the default).",
)
def command(kind: str | None, name: str | None, scopes: str | None) -> None:
    """Make a webhook secret: whsec_ and the base64 of 32 random bytes.

    With --kind ed25519 a private key, whsk_ and base64, for this side; its public half,
    whpk_ and base64, is for the receiver and goes to stderr.

    With --token a token for the operator API, which is shown this once; the line for
    daemon.api_token_file, which holds no secret, goes to stderr.
    """
    if name is not None:
        if kind is not None:
            raise click.UsageError("--kind is of webhooks: it does not go with --token")
        _make_token(name, scopes)
        return
    if scopes is not None:
        raise click.UsageError("--scopes is of tokens: it goes with --token NAME")
    seed = secrets.token_bytes(BYTES)
    if kind != "ed25519":
        click.echo("whsec_" + _base64(seed))
        return
    public = _public_half(seed)
    click.echo(f"for the receiver: whpk_{_base64(public)}", err=True)
    click.echo("whsk_" + _base64(seed + public))


def _make_token(name: str, scopes: str | None) -> None:
    from tunewatch.config.tokens import SCOPES, line_of

    said = SCOPES if scopes is None else tuple(scopes.split(","))
    meant = frozenset(one for one in SCOPES if one in said)
    if not set(said) <= meant:
        raise click.UsageError("--scopes wants read, act or read,act")
    # The beginning tells scanners of secrets, and people, what it is.
    token = "twop_" + secrets.token_urlsafe(TOKEN_BYTES)
    try:
        line = line_of(token, name=name, scopes=meant)
    except ValueError as error:
        raise click.UsageError(f"--token {error}") from None
    click.echo(f"for daemon.api_token_file: {line}", err=True)
    click.echo(token)


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
