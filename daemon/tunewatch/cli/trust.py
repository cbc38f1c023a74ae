"""Whom a command believes to be the daemon, and how it shows who it is itself.

Opens no connection.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal

from tunewatch.cli.exits import USAGE, Quit
from tunewatch.cli.options import Papers
from tunewatch.openssl import in_words


def trust_of(papers: Papers) -> ssl.SSLContext | Literal[True]:
    """Return how to speak TLS; True: as everybody on this machine does. Raises Quit."""
    if papers == Papers():
        return True
    context = _trusting(papers.ca_file)
    if papers.cert_file is None:
        if papers.key_file is not None:
            raise Quit(USAGE, "--key-file wants --cert-file beside it: the certificate")
        return context
    try:
        # A key with a passphrase would be asked for on the terminal.
        context.load_cert_chain(papers.cert_file, papers.key_file, password=lambda: "")
    except (OSError, ValueError) as error:
        named = f"{papers.cert_file} (--cert-file)"
        if papers.key_file is not None:
            named = f"{named} and {papers.key_file} (--key-file)"
        raise Quit(
            USAGE,
            "wanted a certificate and its key, in PEM form without a passphrase, in "
            f"{named}; found: {_trouble(error)}",
        ) from None
    return context


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        raise Quit(
            USAGE,
            f"wanted certificates of authorities in {ca_file} (--ca-file); found: "
            f"{_trouble(error)}",
        ) from None


def _trouble(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return in_words(error)
    words = getattr(error, "strerror", None) or type(error).__name__
    return str(words).lower()
