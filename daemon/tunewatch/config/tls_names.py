"""Suites, curves and versions: in the web configuration file, and in OpenSSL.

The file has Go's names, since Prometheus reads it by Go. Only what Python's ssl module
can be told stands here: whoever names anything else is refused, not served otherwise.
"""

from __future__ import annotations

_KEYS = {"ECDSA": "ECDHE-ECDSA", "RSA": "ECDHE-RSA"}
_CIPHERS = {
    "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
    "AES_128_CBC_SHA": "AES128-SHA",
    "AES_256_CBC_SHA": "AES256-SHA",
}

SUITES = {
    f"TLS_ECDHE_{key}_WITH_{cipher}": f"{theirs_key}-{theirs}"
    for key, theirs_key in _KEYS.items()
    for cipher, theirs in _CIPHERS.items()
}
"""Of TLS 1.2: those that Go does not call insecure."""

SUITES_OF_13 = frozenset(
    {
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    }
)
"""Always offered: neither Go nor Python lets anyone choose among them."""

CURVES = {
    "X25519": "X25519",
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
}

VERSIONS = {"TLS12": "TLSv1_2", "TLS13": "TLSv1_3"}
"""By age. TLS 1.0 and 1.1 are not secure, and OpenSSL's defaults do not speak them."""
