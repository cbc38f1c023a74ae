"""The metrics' names, labels, buckets and help; nothing about when they move.

Names, labels and reasons are part of the interface: within version 1 only additions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

FAULTS = ("refused", "unavailable", "unreadable", "missing", "store", "lease", "other")
"""Why a request or a poll failed."""

FAILURES = ("receiver", "timeout", "exception", "event", "rejected", "paused", "other")
"""Why a delivery failed: trouble of the receiver, too slow, a defect of the plugin,
trouble of the event, refused for good, or the receiver wants nothing more."""

DROPS = ("rejected", "tries", "age", "crash", "other")
"""Why an event became a dead letter."""

STATES = ("up", "probing", "paused")
"""How a plugin can be: not open counts as probing."""

Handshake: TypeAlias = Literal[
    "certificate_missing",
    "certificate_expired",
    "certificate_refused",
    "refused_by_client",
    "plain_http",
    "no_tls",
    "nothing_in_common",
    "hung_up",
    "timed_out",
    "other",
]
"""Why TLS was not agreed upon with a client: see `web.handshakes`."""
HANDSHAKES: tuple[Handshake, ...] = get_args(Handshake)

Loss: TypeAlias = Literal["ended", "fenced"]
"""How a lease was lost: it was renewed no more, or a write under it was refused."""
LOSSES: tuple[Loss, ...] = get_args(Loss)

LOOPS = ("source", "organization")
"""What a loop that is started again is of."""

ENDPOINTS = ("jobs", "job", "events", "checkpoints", "file")
PHASES = ("discovery", "look")

_POLL = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_DELIVERY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)
_DWELL = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800, 7200, 86400)


class PollFamilies:
    """How the sources are polled."""

    def __init__(self, to: CollectorRegistry) -> None:
        by_source = ("source",)
        self.up = Gauge(
            "tunewatch_up",
            "Whether the last poll of the source worked; only where the source is.",
            by_source,
            registry=to,
        )
        self.total = Counter(
            "tunewatch_polls", "Polls of the source.", by_source, registry=to
        )
        self.failed = Counter(
            "tunewatch_polls_failed",
            "Polls of the source that failed.",
            ("source", "reason"),
            registry=to,
        )
        self.duration = Histogram(
            "tunewatch_poll_duration_seconds",
            "How long a poll took, in seconds.",
            ("source", "phase"),
            buckets=_POLL,
            registry=to,
        )
        self.success = Gauge(
            "tunewatch_poll_last_success_timestamp_seconds",
            "When a poll last worked, in unix seconds. The daemon polls on its own "
            "timer, not at the scrape.",
            by_source,
            registry=to,
        )
        self.attempt = Gauge(
            "tunewatch_poll_last_attempt_timestamp_seconds",
            "When a poll last ended, in unix seconds.",
            by_source,
            registry=to,
        )
        self.interval = Gauge(
            "tunewatch_poll_interval_seconds",
            "How often the source is polled now, in seconds.",
            by_source,
            registry=to,
        )
        self.lease = Gauge(
            "tunewatch_lease_held",
            "Whether this replica has the source.",
            by_source,
            registry=to,
        )
        self.taken = Counter(
            "tunewatch_lease_transitions",
            "How often this replica took the source.",
            by_source,
            registry=to,
        )
        self.lost = Counter(
            "tunewatch_lease_lost",
            "How often this replica lost the source without giving it up: its time "
            "ran out (how=ended), or a write was refused, since another replica had "
            "the source (how=fenced). One loss may show as both.",
            ("source", "how"),
            registry=to,
        )

    def born(self, source: str) -> None:
        """Let the totals of a source begin at 0."""
        self.total.labels(source)
        self.lease.labels(source)
        self.taken.labels(source)
        for how in LOSSES:
            self.lost.labels(source, how)
        for reason in FAULTS:
            self.failed.labels(source, reason)
        for phase in PHASES:
            self.duration.labels(source, phase)

    def gone(self, source: str) -> None:
        """Say nothing of how a source is: it lives elsewhere now."""
        for metric in (self.up, self.success, self.attempt, self.interval):
            metric.remove(source)


class CallFamilies:
    """What APIs answer."""

    def __init__(self, to: CollectorRegistry) -> None:
        self.total = Counter(
            "tunewatch_api_requests", "Requests to APIs.", ("endpoint",), registry=to
        )
        self.failed = Counter(
            "tunewatch_api_requests_failed",
            "Requests to APIs without a usable answer.",
            ("endpoint", "reason"),
            registry=to,
        )
        self.limit = Gauge(
            "tunewatch_api_ratelimit_limit_requests",
            "Requests allowed in the window, from x-ratelimit-limit-requests.",
            ("source",),
            registry=to,
        )
        self.remaining = Gauge(
            "tunewatch_api_ratelimit_remaining_requests",
            "Requests left in the window, from x-ratelimit-remaining-requests.",
            ("source",),
            registry=to,
        )
        self.reset = Gauge(
            "tunewatch_api_ratelimit_reset_timestamp_seconds",
            "When the window is full again, in unix seconds, from "
            "x-ratelimit-reset-requests.",
            ("source",),
            registry=to,
        )
        self.malformed = Counter(
            "tunewatch_api_malformed_items",
            "Items and rows of answers that could not be read and were left out, as "
            "often as they came.",
            ("endpoint",),
            registry=to,
        )
        for endpoint in ENDPOINTS:
            self.total.labels(endpoint)
            self.malformed.labels(endpoint)
            for reason in FAULTS[:4]:
                self.failed.labels(endpoint, reason)

    def gone(self, source: str) -> None:
        """Say nothing of the limits of a source that lives elsewhere now."""
        for metric in (self.limit, self.remaining, self.reset):
            metric.remove(source)


class PluginFamilies:
    """How deliveries go."""

    def __init__(self, to: CollectorRegistry) -> None:
        def counter(name: str, told: str, *labels: str) -> Counter:
            return Counter(name, told, ("plugin", *labels), registry=to)

        def gauge(name: str, told: str) -> Gauge:
            return Gauge(name, told, ("plugin",), registry=to)

        prefix = "tunewatch_plugin_"
        self.deliveries = counter(prefix + "deliveries", "Events handed over for good.")
        self.failed = counter(prefix + "failed", "Deliveries that failed.", "reason")
        self.attempts = counter(prefix + "attempts", "Deliveries tried.")
        self.retries = counter(prefix + "retries", "Deliveries tried again.")
        self.dropped = counter(
            prefix + "dropped", "Events that became dead letters.", "reason"
        )
        self.dead = gauge(prefix + "dead_letters", "Dead letters that are open.")
        self.queue = gauge(prefix + "queue_length", "Events that wait.")
        self.oldest = gauge(
            prefix + "oldest_pending_timestamp_seconds",
            "When the oldest waiting event was committed, in unix seconds; absent if "
            "none waits.",
        )
        self.circuit = gauge(
            prefix + "circuit_open",
            "Whether deliveries are held back: probing, paused, or not open.",
        )
        self.state = Gauge(
            prefix + "state",
            "1 for the state that the plugin is in, 0 for the others; not open counts "
            "as probing.",
            ("plugin", "state"),
            registry=to,
        )
        self.dwell = Histogram(
            prefix + "dwell_seconds",
            "From an event's commit to its delivery, in seconds.",
            ("plugin",),
            buckets=_DWELL,
            registry=to,
        )
        self.duration = Histogram(
            prefix + "delivery_seconds",
            "How long a delivery took, in seconds, whatever came of it.",
            ("plugin",),
            buckets=_DELIVERY,
            registry=to,
        )

    def born(self, plugin: str) -> None:
        """Let the totals of a plugin begin at 0."""
        for metric in (
            self.deliveries,
            self.attempts,
            self.retries,
            self.dead,
            self.queue,
            self.circuit,
            self.dwell,
            self.duration,
        ):
            metric.labels(plugin)
        for reason in FAILURES:
            self.failed.labels(plugin, reason)
        for reason in DROPS:
            self.dropped.labels(plugin, reason)
        for state in STATES:
            self.state.labels(plugin, state)

    def gone(self, plugin: str) -> None:
        """Say nothing of how a plugin is that is there no more."""
        for metric in (self.dead, self.queue, self.oldest, self.circuit, self.state):
            metric.remove_by_labels({"plugin": plugin})


class _Late:
    """A gauge that is not there before it has a value: a 0 would be invented."""

    def __init__(self, gauge: Gauge, to: CollectorRegistry) -> None:
        self._gauge = gauge
        self._to = to
        self._is_there = False

    def set(self, value: float) -> None:
        """Show a value."""
        self._gauge.set(value)
        if not self._is_there:
            self._to.register(self._gauge)
            self._is_there = True


class ProcessFamilies:
    """The process, its store and its configuration."""

    def __init__(self, to: CollectorRegistry) -> None:
        def gauge(name: str, told: str, *labels: str) -> Gauge:
            return Gauge(f"tunewatch_{name}", told, labels, registry=to)

        def late(name: str, told: str) -> Callable[[float], None]:
            return _Late(Gauge(f"tunewatch_{name}", told, registry=None), to).set

        self.build = gauge(
            "build_info",
            "What runs; the revision is that of the build, empty if it did not know.",
            "version",
            "revision",
            "python_version",
        )
        self.tracked = gauge("jobs_tracked", "Jobs that are not settled.")
        self.store_up = gauge("state_up", "Whether the store answers and takes writes.")
        self.size = late("state_size_bytes", "Bytes that the store takes.")
        self.free = late(
            "state_free_bytes",
            "Bytes that are free for the store on its disk; of SQLite only.",
        )
        self.written = late(
            "state_last_write_timestamp_seconds",
            "When something was last committed, in unix seconds.",
        )
        self.hash = late(
            "config_hash",
            "A number that changes with the configuration, secrets aside; replicas "
            "that differ are set differently.",
        )
        self.reload_ok = gauge(
            "config_last_reload_successful",
            "Whether the configuration could be used when it was last read.",
        )
        self.reload_at = late(
            "config_last_reload_success_timestamp_seconds",
            "When the configuration was last read and could be used, in unix seconds.",
        )
        self.web_ok = late(
            "web_config_last_reload_successful",
            "Whether the web configuration and its certificates could be used when "
            "they were last read; only where there is such a file.",
        )
        self.web_at = late(
            "web_config_last_reload_success_timestamp_seconds",
            "When the web configuration was last read and could be used, in unix "
            "seconds.",
        )
        self.web_ends = late(
            "web_certificate_expires_timestamp_seconds",
            "When the certificate that is served expires, in unix seconds.",
        )
        self.handshakes = Counter(
            "tunewatch_tls_handshakes_failed",
            "Clients that connected and with whom TLS was not agreed upon; only where "
            "there is a web configuration.",
            ("reason",),
            registry=to,
        )
        self.died = Counter(
            "tunewatch_loop_restarts",
            "Loops that died and were started again.",
            ("loop",),
            registry=to,
        )
        for loop in LOOPS:
            self.died.labels(loop)
        self.lag = gauge(
            "event_loop_lag_seconds",
            "The worst delay of the event loop in the last minute, in seconds.",
        )
