"""Public support for tests and demonstrations: a fine-tuning API without a provider.

`SimulatedApi` serves scripted or recorded jobs over real HTTP, `Organisation` fills it
with a small company's, `WebhookSender` tells of their ends as the provider does,
`Receiver` records webhooks. Nothing here is used by the
daemon while it works, and nothing listens beyond loopback.
"""

from tunewatch.testing.api import DEFAULT_KEY, SimulatedApi
from tunewatch.testing.clock import SimulatedClock
from tunewatch.testing.faults import ODDITIES, REFUSALS, TRANSIENT, Fault
from tunewatch.testing.organisation import ADMIN_KEY, PROJECT_KEYS, Organisation
from tunewatch.testing.receiver import Received, Receiver, Reply
from tunewatch.testing.requests import Request, RequestLog
from tunewatch.testing.rules import Rule
from tunewatch.testing.script import Script
from tunewatch.testing.served import ServedJob
from tunewatch.testing.webhooks import WebhookSender

__all__ = [
    "ADMIN_KEY",
    "DEFAULT_KEY",
    "ODDITIES",
    "PROJECT_KEYS",
    "REFUSALS",
    "TRANSIENT",
    "Fault",
    "Organisation",
    "Received",
    "Receiver",
    "Reply",
    "Request",
    "RequestLog",
    "Rule",
    "Script",
    "ServedJob",
    "SimulatedApi",
    "SimulatedClock",
    "WebhookSender",
]
