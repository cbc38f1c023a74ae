"""A web configuration file means here what it means to Prometheus.

Each is judged by promtool, too. Keys that its version does not know yet are left out.
"""

from __future__ import annotations

import subprocess

import pytest

from support.web_files import hashed, tls_of, write
from tunewatch.settings import ConfigError
from tunewatch.web import read_terms

DEMANDED = "RequireAndVerifyClientCert"


def tls(**more):
    return lambda papers: {"tls_server_config": tls_of(papers, **more)}


def demanding(**more):
    def sections(papers):
        ca = str(papers.authority)
        return {"tls_server_config": tls_of(papers, client_ca_file=ca, **more)}

    return sections


def headers(**named):
    given = {name.replace("_", "-"): value for name, value in named.items()}
    return lambda _: {"http_server_config": {"headers": given}}


def users(kept):
    return lambda _: {"basic_auth_users": {"ann": kept}}


TAKEN = {
    "TLS": tls(),
    "TLS 1.3 alone": tls(min_version="TLS13"),
    "TLS 1.2 alone": tls(max_version="TLS12"),
    "client certificates": demanding(client_auth_type=DEMANDED),
    "client certificates if given": demanding(
        client_auth_type="VerifyClientCertIfGiven"
    ),
    "suites and a curve": tls(
        cipher_suites=[
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ],
        prefer_server_cipher_suites=False,
        curve_preferences=["CurveP256"],
    ),
    "headers": headers(
        X_Frame_Options="deny",
        Strict_Transport_Security="max-age=1",
        X_XSS_Protection="",
    ),
    "no HTTP/2": lambda _: {"http_server_config": {"http2": False}},
    "users": users(hashed("x")),
}
REFUSED = {
    "no key": lambda papers: {
        "tls_server_config": {"cert_file": str(papers.certificate)}
    },
    "no such certificate": lambda papers: {
        "tls_server_config": {**tls_of(papers), "cert_file": "nowhere"}
    },
    "a key that is none": lambda papers: {
        "tls_server_config": {**tls_of(papers), "key_file": str(papers.certificate)}
    },
    "an authority and nobody asked": demanding(),
    "an authority that is not there": tls(
        client_ca_file="nowhere", client_auth_type=DEMANDED
    ),
    "no such policy": tls(client_auth_type="Whatever"),
    "no such version": tls(min_version="TLS111"),
    "no such suite": tls(cipher_suites=["TLS_INVENTED"]),
    "no such curve": tls(curve_preferences=["CurveP1"]),
    "no such key": tls(certificate="x"),
    "another header": headers(X_Own="x"),
    "another value": headers(X_Frame_Options="allow"),
    "no hash": users("password"),
}


def verdicts(path):
    """Return whether promtool takes it, and whether we do."""
    judged = subprocess.run(
        ["promtool", "check", "web-config", str(path)], check=False, capture_output=True
    )
    try:
        read_terms(path)
    except ConfigError:
        return judged.returncode == 0, False
    return judged.returncode == 0, True


@pytest.mark.parametrize("what", TAKEN)
def test_what_prometheus_takes_is_taken(tmp_path, papers, what):
    path = write(tmp_path / "web.yml", **TAKEN[what](papers))
    assert verdicts(path) == (True, True)


@pytest.mark.parametrize("what", REFUSED)
def test_what_prometheus_refuses_is_refused(tmp_path, papers, what):
    path = write(tmp_path / "web.yml", **REFUSED[what](papers))
    assert verdicts(path) == (False, False)
