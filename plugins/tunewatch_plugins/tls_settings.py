"""The settings of TLS, the same for every plugin that dials: whom to trust, who we are.

Dials nothing. What a certificate is shown to, and whether there is TLS at all, is the
plugin's to say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from tunewatch.plugin import Secret
from tunewatch_plugins.tls import Papers, Tls, tls, trust


def holds_certificates(path: Path | None) -> Path | None:
    """Return the path of a file with authorities. Raises ValueError for another."""
    if path is not None:
        try:
            trust(path)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise ValueError(
                f"wanted certificates in PEM form in this file; found: {why}"
            ) from None
    return path


CaFile = Annotated[
    Path | None,
    AfterValidator(holds_certificates),
    Field(description="certificate authorities to trust instead of the system's, PEM"),
]
ClientCert = Annotated[
    Secret | None,
    Field(
        examples=["client_cert_file=/run/secrets/client.pem"],
        description=(
            "a certificate of our own to show, PEM, with those between it and its"
            " authority; the key may be in the same file"
        ),
    ),
]
ClientKey = Annotated[
    Secret | None,
    Field(
        examples=["client_key_file=/run/secrets/client.key"],
        description="its private key, PEM",
    ),
]
ClientKeyPassword = Annotated[
    Secret | None,
    Field(
        examples=["client_key_password_file=/run/secrets/client.password"],
        description="what opens the private key, if it is encrypted",
    ),
]


def papers_of(
    certificate: Secret | None, key: Secret | None, password: Secret | None
) -> Papers | None:
    """Return where our certificate is kept, None without one.

    Raises ValueError for a key that belongs to none.
    """
    if certificate is not None:
        return Papers(certificate=certificate, key=key, password=password)
    if key is not None or password is not None:
        raise ValueError("a client_key is of no use without client_cert")
    return None


def read_again(ca_file: Path | None, papers: Papers | None) -> list[Secret]:
    """Return what new connections have to be made with other settings for."""
    kept = [] if papers is None else papers.secrets()
    if ca_file is not None:
        # No secret, and large: that it is another file is all that is asked.
        kept.append(Secret(lambda: _stamp(ca_file), f"file {ca_file}"))
    return kept


def _stamp(path: Path) -> str | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return f"{stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_size} {stat.st_ino}"


def tls_of(ca_file: Path | None, papers: Papers | None) -> Tls:
    """Return what to connect with. Raises ValueError that names the setting."""
    try:
        return tls(ca_file, papers)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ValueError(f"ca_file: wanted certificates; found: {why}") from None
