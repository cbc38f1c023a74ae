"""The daemon's own metrics and its log set-up.

Knows nothing of jobs, tables or plugins; it is told what happened. Nothing here is a
module-level singleton: each app has its own `Telemetry`.
"""

from tunewatch.telemetry.families import DROPS, FAILURES, FAULTS, Loss
from tunewatch.telemetry.lag import LoopLag
from tunewatch.telemetry.logs import configure_logs
from tunewatch.telemetry.metrics import Telemetry
from tunewatch.telemetry.outage import Outage
from tunewatch.telemetry.redaction import Redactor

__all__ = [
    "DROPS",
    "FAILURES",
    "FAULTS",
    "LoopLag",
    "Loss",
    "Outage",
    "Redactor",
    "Telemetry",
    "configure_logs",
]
