"""Webhooks that came in, by what became of them.

The outcomes are part of the interface: within version 1 only additions.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

INBOUND = (
    "accepted",
    "duplicate",
    "ignored",
    "refused",
    "unreadable",
    "unavailable",
    "other",
)
"""A look was asked for; the same came before; it is about nothing watched; nothing
proves who sent it; signed, and no event; nobody could look yet; none of these."""


class InboundFamilies:
    """Providers' webhooks."""

    def __init__(self, to: CollectorRegistry) -> None:
        self.total = Counter(
            "tunewatch_inbound_webhooks",
            "Webhooks of the provider that came in, by what became of them.",
            ("source", "outcome"),
            registry=to,
        )

    def born(self, source: str) -> None:
        """Let the totals of a source that takes webhooks begin at 0."""
        for outcome in INBOUND:
            self.total.labels(source, outcome)
