"""The web configuration file: every key is understood, or refused by its name."""

from __future__ import annotations

from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tunewatch.config.web_file import HttpServer, RateLimit, TlsServer, WebFile
from tunewatch.config.web_reading import LARGEST, read_web_file
from tunewatch.settings import ConfigError

HASH = "$2y$10$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyzabcde"
WHOLE = f"""
tls_server_config:
  cert_file: server.crt
  key_file: /etc/keys/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [prometheus.example]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [X25519]
  cert:
http_server_config:
  http2: false
  headers:
    Content-Security-Policy: default-src 'self'
    X-Frame-Options: sameorigin
    X-XSS-Protection:
basic_auth_users:
  ann: {HASH}
rate_limit:
  interval: 1s
  burst: 20
"""


def read(tmp_path, text):
    path = tmp_path / "web.yml"
    path.write_text(text)
    return read_web_file(path)


def mistakes(tmp_path, text):
    with pytest.raises(ConfigError) as found:
        read(tmp_path, text)
    return {one.key: one.text for one in found.value.mistakes}


def test_a_whole_file_is_understood_and_its_paths_start_where_it_lies(tmp_path):
    found = read(tmp_path, WHOLE)
    tls = found.tls_server_config
    assert tls is not None
    assert tls.cert_file == tmp_path / "server.crt"
    assert str(tls.key_file) == "/etc/keys/server.key"
    assert tls.client_ca_file == tmp_path / "ca.crt"
    assert not tls.prefer_server_cipher_suites
    assert found.basic_auth_users == {"ann": HASH}
    assert found.rate_limit.interval == 1
    assert found.http_server_config.headers == {
        "Content-Security-Policy": "default-src 'self'",
        "X-Frame-Options": "sameorigin",
    }


def test_every_key_of_the_public_schema_is_known():
    tls = {"cert", "key", "client_ca", "cert_file", "key_file", "client_ca_file"}
    tls |= {"client_auth_type", "client_allowed_sans", "min_version", "max_version"}
    tls |= {"cipher_suites", "prefer_server_cipher_suites", "curve_preferences"}
    assert set(TlsServer.model_fields) == tls
    assert set(HttpServer.model_fields) == {"http2", "headers"}
    assert set(RateLimit.model_fields) == {"interval", "burst"}
    assert set(WebFile.model_fields) == set(yaml.safe_load(WHOLE))


TLS = "tls_server_config: {cert_file: a, key_file: b, %s}"
REFUSED = {
    "": ("", "wanted at least one of tls_server_config"),
    "# nothing": ("", "wanted at least one of"),
    "[]": ("", "wanted at least one of"),
    "{": ("", "wanted YAML; found a mistake in it: line 1"),
    "a: 1\na: 2": ("", "a key given twice, line 2"),
    "tls_server: {}": ("tls_server", "did you mean tls_server_config?"),
    "tls_server_config: {}": ("tls_server_config.cert_file", "wanted the certificate"),
    "tls_server_config: {cert_file: a}": ("tls_server_config.key_file", "private key"),
    TLS % "cert: PEM": ("tls_server_config.cert", "wanted a file"),
    TLS % "key: PEM": ("tls_server_config.key", "wanted a file"),
    TLS % "client_ca: PEM": ("tls_server_config.client_ca", "wanted a file"),
    TLS % "cert_fle: x": ("tls_server_config.cert_fle", "did you mean cert_file?"),
    TLS % "min_version: TLS10": ("tls_server_config.min_version", "TLS12 or TLS13"),
    TLS % "min_version: SSL3": ("tls_server_config.min_version", "'TLS12' or 'TLS13'"),
    TLS % "min_version: TLS13, max_version: TLS12": (
        "tls_server_config.max_version",
        "at least min_version",
    ),
    TLS % "cipher_suites: [TLS_AES_128_GCM_SHA256]": (
        "tls_server_config.cipher_suites[0]",
        "TLS 1.3 are always offered",
    ),
    TLS % "cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]": (
        "tls_server_config.cipher_suites[0]",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    ),
    TLS % "cipher_suites: [[]]": ("tls_server_config.cipher_suites[0]", "one of"),
    TLS % "curve_preferences: [X448]": (
        "tls_server_config.curve_preferences[0]",
        "CurveP256",
    ),
    TLS % "curve_preferences: [X25519, CurveP256]": (
        "tls_server_config.curve_preferences",
        "wanted one curve",
    ),
    TLS % "client_auth_type: RequireAnyClientCert": (
        "tls_server_config.client_auth_type",
        "nobody verifies",
    ),
    TLS % "client_auth_type: []": ("tls_server_config.client_auth_type", "wanted"),
    TLS % "client_auth_type: RequireAndVerifyClientCert": (
        "tls_server_config.client_ca_file",
        "client_auth_type asks",
    ),
    TLS % "client_ca_file: c": (
        "tls_server_config.client_auth_type",
        "nobody is asked for a certificate",
    ),
    TLS % "client_allowed_sans: [x]": (
        "tls_server_config.client_allowed_sans",
        "RequireAndVerifyClientCert",
    ),
    "http_server_config: {http2: true}": ("http_server_config.http2", "HTTP/1.1"),
    "http_server_config: {headers: {X-Own: a}}": (
        "http_server_config.headers.X-Own",
        "cannot be set",
    ),
    "http_server_config: {headers: {X-Frame-Options: allow}}": (
        "http_server_config.headers.X-Frame-Options",
        "deny or sameorigin",
    ),
    'http_server_config: {headers: {X-XSS-Protection: "1\\r\\nSet-Cookie: a"}}': (
        "http_server_config.headers.X-XSS-Protection",
        "control characters",
    ),
    "basic_auth_users: {ann: canary-in-clear}": ("basic_auth_users.ann", "htpasswd"),
    "basic_auth_users: {ann: $apr1$x$abc}": ("basic_auth_users.ann", "bcrypt"),
    f"basic_auth_users: {{ann: {HASH.replace('$10$', '$31$')}}}": (
        "basic_auth_users.ann",
        "cost of 4 to 16",
    ),
    f"basic_auth_users: {{'a:b': {HASH}}}": ('basic_auth_users."a:b"', "colon"),
    "rate_limit: {interval: 1s}": ("rate_limit.burst", "at least 1"),
    "rate_limit: {interval: fast, burst: 1}": ("rate_limit.interval", "a duration"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_honoured_is_refused_by_its_key(tmp_path, text):
    key, said = REFUSED[text]
    found = mistakes(tmp_path, text)
    assert key in found
    assert said in found[key]
    assert "canary" not in str(found)


def test_all_mistakes_are_told_at_once(tmp_path):
    text = "http_server_config: {http2: true}\nbasic_auth_users: {a: b, c: d}"
    assert len(mistakes(tmp_path, text)) == 3


def test_a_file_that_is_not_there_or_no_text_or_too_long_is_said_so(tmp_path):
    path = tmp_path / "web.yml"
    for content, said in (
        (None, "no such file"),
        (b"a: 2001-99-99", "wanted YAML"),
        (b"[" * 1200, "wanted YAML"),
        (b"\xff", "UTF-8"),
        (b"#" * (LARGEST + 1), "at most"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match=said):
            read_web_file(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"]
)


@given(table=st.dictionaries(KEYS, JSON, min_size=1))
def test_whatever_stands_there_is_understood_or_refused(tmp_path_factory, table):
    path = tmp_path_factory.getbasetemp() / "any.yml"
    path.write_text(yaml.safe_dump(table))
    with suppress(ConfigError):  # and no other
        assert isinstance(read_web_file(path), WebFile)


@given(data=st.binary(max_size=60))
def test_any_bytes_are_understood_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "bytes.yml"
    path.write_bytes(data)
    with suppress(ConfigError):  # and no other
        assert isinstance(read_web_file(path), WebFile)
