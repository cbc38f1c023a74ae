"""Whether the web configuration file can be served by: certificates, keys, passwords.

Reads the files as the daemon would and connects to nobody.
"""

from __future__ import annotations

import time
from pathlib import Path

from tunewatch.cli.check_surroundings import is_open
from tunewatch.cli.exits import USAGE
from tunewatch.cli.output import moment
from tunewatch.cli.told import Told
from tunewatch.config import Settings
from tunewatch.config.web_file import TlsServer
from tunewatch.settings import ConfigError
from tunewatch.web import Terms, read_terms
from tunewatch.web.certificate import Validity, validity_of

LAST_PART = 0.1
"""Of a certificate's life, in which it should have been renewed."""

_WHAT = "web configuration"
_RENEW = "renew it and write it there: a daemon that runs takes it up by itself"


def look_at_web(settings: Settings, told: Told) -> None:
    """Look at the file that `daemon.web_config_file` names, if it names one."""
    path = settings.daemon.web_config_file
    if path is None:
        return
    try:
        terms = read_terms(path)
    except ConfigError as error:
        for mistake in error.mistakes:
            told.wrong(_WHAT, str(mistake), USAGE)
        return
    told.well(_WHAT, f"{path}, {_summary(terms)}")
    tls = terms.said.tls_server_config
    if tls is not None:
        _look_at_certificate(tls, told)
        if is_open(tls.key_file):
            text = "every user of this machine can read this key: chmod o-rwx "
            told.note(str(tls.key_file), f"{text}{tls.key_file}")
    elif terms.users and not settings.daemon.listen.is_loopback:
        text = "passwords come here without TLS, for everybody on the way to read: "
        told.note(_WHAT, f"{text}add tls_server_config")
    daemon = settings.daemon
    if not (terms.users or daemon.api_token or daemon.listen.is_loopback):
        text = "others can reach daemon.listen, and without basic_auth_users or "
        text += "daemon.api_token_file it answers nothing there but probes, /metrics "
        told.note(_WHAT, text + "and webhooks")
    if terms.users and is_open(path):
        text = "has hashes of passwords in it, and every user can read it: chmod o-rwx "
        told.note(str(path), f"{text}{path}")


def _summary(terms: Terms) -> str:
    tls, users = terms.said.tls_server_config, len(terms.users)
    if tls is None:
        parts = ["no TLS"]
    else:
        parts = [f"TLS from {tls.min_version} on"]
        if tls.client_auth_type != "NoClientCert":
            parts.append(f"client certificates: {tls.client_auth_type}")
    parts.append(f"{users} user{'s' * (users != 1)} with a password")
    return ", ".join(parts)


def _look_at_certificate(tls: TlsServer, told: Told) -> None:
    valid, path = validity_of(tls.cert_file), tls.cert_file
    if valid is None:
        return  # OpenSSL took it, and we cannot tell until when
    _judge(valid, path, told)


def _judge(valid: Validity, path: Path, told: Told) -> None:
    what, now = f"certificate {path}", time.time()
    if valid.ends <= now:
        told.wrong(what, f"expired on {moment(valid.ends)}: {_RENEW}", USAGE)
    elif valid.begins > now:
        text = f"holds from {moment(valid.begins)} on alone: compare the clock of this "
        told.wrong(what, f"{text}machine, or wait", USAGE)
    elif valid.ends - now < LAST_PART * (valid.ends - valid.begins):
        told.note(what, f"expires on {moment(valid.ends)}: {_RENEW}")
    else:
        told.well(what, f"holds until {moment(valid.ends)}")
