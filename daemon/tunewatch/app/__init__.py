"""Build the parts and own their lifetimes: one exit stack, one task group.

Decides nothing about jobs, events or requests; it only knows who needs whom, and what
ends with what.
"""

from tunewatch.app.daemon import Ready, run_daemon
from tunewatch.app.process import run

__all__ = ["Ready", "run", "run_daemon"]
