"""What the headers of a request ask of an answer: a form, or only what is new.

Knows RFC 9110's If-None-Match and Accept; knows no path.
"""

from __future__ import annotations

import hashlib
import re

from aiohttp import web

from tunewatch import __version__

_TAG = re.compile(r'(?:W/)?("[^"]*")')


def tag_of(what: bytes) -> str:
    """Return a strong tag of an answer, from its bytes or from its version.

    Another version of the program may answer otherwise: it is part of the tag.
    """
    digest = hashlib.blake2b(what, digest_size=12, key=__version__.encode()[:64])
    return f'"{digest.hexdigest()}"'


def has_already(request: web.Request, tag: str) -> bool:
    """Whether the asker says that it has the answer with this tag."""
    given = request.headers.get("If-None-Match", "")
    return given.strip() == "*" or tag in _TAG.findall(given)


def takes(request: web.Request, content_type: str) -> bool:
    """Whether the asker takes an answer of this type; without a word, it does."""
    accept = ",".join(request.headers.getall("Accept", []))
    if not accept.strip():
        return True
    family = content_type.partition("/")[0]
    best: dict[str, float] = {}
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        best[name] = max(best.get(name, 0.0), _weight(parameters))
    for name in (content_type, f"{family}/*", "*/*"):
        if name in best:
            return best[name] > 0
    return False


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
