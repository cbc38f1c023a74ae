"""The HTTP server: probes, what views answer, and the operator API.

Knows no source and no plugin by name; how the process is comes through `Health`.
"""

from tunewatch.api.answers import PartState
from tunewatch.web.health import Health, Readiness
from tunewatch.web.problems import problem
from tunewatch.web.server import CannotListen, serving
from tunewatch.web.v1 import Api, Backing

__all__ = [
    "Api",
    "Backing",
    "CannotListen",
    "Health",
    "PartState",
    "Readiness",
    "problem",
    "serving",
]
