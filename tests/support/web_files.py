"""Web configuration files, and clients that trust what they name."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import bcrypt
import yaml

from support.certificates import Papers

CHEAP = 4
"""The lowest cost: a hash for tests takes a millisecond."""


def hashed(password: str, *, cost: int = CHEAP) -> str:
    """Return a password as the file keeps it."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def write(path: Path, **sections: Any) -> Path:
    """Write a file, in one step as those do who exchange it while it is read."""
    draft = path.with_suffix(".new")
    draft.write_text(yaml.safe_dump(sections))
    draft.chmod(0o600)
    return draft.replace(path)


def tls_of(papers: Papers, **more: Any) -> dict[str, Any]:
    """Return `tls_server_config` that serves by a certificate."""
    return {
        "cert_file": str(papers.certificate),
        "key_file": str(papers.key),
        **more,
    }


def trusting(papers: Papers, *, shows: Papers | None = None) -> ssl.SSLContext:
    """Return how a client trusts an authority, and which certificate it shows."""
    context = ssl.create_default_context(cafile=papers.authority)
    if shows is not None:
        context.load_cert_chain(shows.certificate, shows.key)
    return context


def basic(name: str, password: str) -> dict[str, str]:
    """Return the header that sends a password."""
    given = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {given}"}
