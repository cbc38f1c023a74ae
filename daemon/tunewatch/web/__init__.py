"""The HTTP server: probes, views, the operator API, and the way in for webhooks.

Knows no source and no plugin by name; how the process is comes through `Health`, and
what a webhook means is decided behind `Hooks`.
"""

from tunewatch.api.answers import PartState
from tunewatch.web.handshakes import Handshakes
from tunewatch.web.health import Health, Readiness
from tunewatch.web.hooks import Heard, Hooks
from tunewatch.web.problems import problem
from tunewatch.web.server import CannotListen, serving
from tunewatch.web.terms import Terms, TermsFile, read_terms
from tunewatch.web.v1 import Api, Backing

__all__ = [
    "Api",
    "Backing",
    "CannotListen",
    "Handshakes",
    "Health",
    "Heard",
    "Hooks",
    "PartState",
    "Readiness",
    "Terms",
    "TermsFile",
    "problem",
    "read_terms",
    "serving",
]
