"""Which sources and organisations there are, and what people call them.

Titles change; a series of an older title goes when a newer one comes.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

PROJECTS = ("watched", "no_key", "archived", "left_out", "unlisted")
"""What is done about a project: it is a source; it would be, but for a key; it is over;
the filters leave it out; there is a key, but no such project on the list."""


class KnownFamilies:
    """Sources and organisations by name."""

    def __init__(self, to: CollectorRegistry) -> None:
        self.source = Gauge(
            "tunewatch_source_info",
            "Names of a source, always 1; the title is what its provider calls it.",
            ("source", "kind", "title", "organization"),
            registry=to,
        )
        self.up = Gauge(
            "tunewatch_organization_up",
            "Whether the projects of the organisation could be listed last.",
            ("organization",),
            registry=to,
        )
        self.projects = Gauge(
            "tunewatch_organization_projects",
            "Projects of the organisation, by what is done about them.",
            ("organization", "state"),
            registry=to,
        )
        self._named: dict[str, dict[str, str]] = {}

    def name(self, source: str, kind: str, title: str, organization: str) -> None:
        """Say what a source is called."""
        labels = {"source": source, "kind": kind, "title": title}
        labels["organization"] = organization
        if self._named.get(source) != labels:
            self.forget(source)
            self._named[source] = labels
            self.source.labels(**labels).set(1)

    def organization_gone(self, name: str) -> None:
        """Say that an organisation is there no more."""
        for metric in (self.up, self.projects):
            metric.remove_by_labels({"organization": name})

    def forget(self, source: str) -> None:
        """Say that a source is there no more."""
        labels = self._named.pop(source, None)
        if labels is not None:
            self.source.remove_by_labels(labels)
