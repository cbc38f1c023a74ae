"""What OpenSSL says by a name or a number, in words for people.

Knows neither which side we are on nor what is to be done.
"""

from __future__ import annotations

import ssl


def in_words(error: ssl.SSLError) -> str:
    """Return what is wrong; nothing of it is a peer's own text."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or "damaged").lower().replace("_", " ")
