"""The HTTP server: probes and what views answer. Reads only, and only what it is given.

Knows no store, no source and no plugin by name; state comes through `Health`.
"""

from tunewatch.web.health import Health, PartState, Readiness
from tunewatch.web.problems import problem
from tunewatch.web.server import CannotListen, serving

__all__ = ["CannotListen", "Health", "PartState", "Readiness", "problem", "serving"]
