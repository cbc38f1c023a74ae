"""Whether the port can be listened on, and who listens there if not.

Whoever answers is told nothing.
"""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from pathlib import Path

from tunewatch.cli.exits import USAGE
from tunewatch.cli.told import Told
from tunewatch.config import Address, DaemonSettings
from tunewatch.config.web_reading import read_web_file
from tunewatch.settings import ConfigError

_SOON = 1.0  #: s for whoever listens to say who it is


def look_at_port(daemon: DaemonSettings, told: Told) -> None:
    """Look whether it is free, or ours already."""
    address = daemon.listen
    what = f"listen {address}"
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((address.host, address.port))
        except OSError as error:
            number = error.errno or 0
            if number == errno.EADDRINUSE and _is_ours(daemon):
                told.well(what, "a daemon of tunewatch runs there")
                return
            reason = _REASONS.get(number, (error.strerror or "cannot be had").lower())
            told.wrong(what, f"{reason} (daemon.listen)", USAGE)


_REASONS = {
    errno.EADDRINUSE: "another program listens there: name another port",
    errno.EACCES: "this user may not listen there: name a port from 1024 on",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
}


def _is_ours(daemon: DaemonSettings) -> bool:
    host, port = daemon.listen
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    plain = http.client.HTTPConnection(host, port, timeout=_SOON)
    by_tls = http.client.HTTPSConnection(host, port, timeout=_SOON, context=anybody)
    if _is_tunewatch(plain) or _is_tunewatch(by_tls):
        return True
    # One that asks for a certificate answers nothing, and yet shows its own.
    return _shows(Address(host, port), _certificate(daemon.web_config_file))


def _is_tunewatch(connection: http.client.HTTPConnection) -> bool:
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().headers.get("Server") == "tunewatch"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _certificate(web_config_file: Path | None) -> str:
    """Return the certificates that are to be shown there; nothing if there are none."""
    if web_config_file is None:
        return ""
    try:
        tls = read_web_file(web_config_file).tls_server_config
        return "" if tls is None else tls.cert_file.read_text(errors="ignore")
    except (ConfigError, OSError):
        return ""


def _shows(address: Address, certificates: str) -> bool:
    try:
        shown = ssl.get_server_certificate(address, timeout=_SOON)
    except OSError:
        return False
    return _bare(shown) in _bare(certificates)


def _bare(text: str) -> str:
    """Return what counts of PEM: lines may be cut elsewhere."""
    return "".join(text.split())
