"""The daemon's metrics about itself: told what happened, kept in a registry of its own.

Everything per job is the Prometheus plugin's. A reason that is not in its closed list
counts as `other`. Totals are born at 0 for everything that is configured.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    ProcessCollector,
    disable_created_metrics,
)

from tunewatch.telemetry.families import (
    DROPS,
    FAILURES,
    FAULTS,
    HANDSHAKES,
    STATES,
    CallFamilies,
    Loss,
    PluginFamilies,
    PollFamilies,
    ProcessFamilies,
)
from tunewatch.telemetry.inbound import INBOUND, InboundFamilies
from tunewatch.telemetry.known import PROJECTS, KnownFamilies
from tunewatch.telemetry.lag import LoopLag
from tunewatch.telemetry.revision import revision as built_revision


class Request(Protocol):
    """What is known of a request to an API: `sources.contract.Call`."""

    @property
    def endpoint(self) -> str: ...  # noqa: D102 - see `sources.contract.Call`
    @property
    def outcome(self) -> str: ...  # noqa: D102 - see `sources.contract.Call`
    @property
    def remaining_requests(self) -> int | None: ...  # noqa: D102 - the same
    @property
    def limit_requests(self) -> int | None: ...  # noqa: D102 - the same
    @property
    def reset_after(self) -> float | None: ...  # noqa: D102 - the same
    @property
    def malformed(self) -> int: ...  # noqa: D102 - the same


class Telemetry:
    """Metrics of one running daemon, in `registry`."""

    def __init__(
        self,
        *,
        version: str,
        revision: str | None = None,
        now: Callable[[], float] = time.time,
        registry: CollectorRegistry | None = None,
    ) -> None:
        # `_created` doubles the series and nobody asks for it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry() if registry is None else registry
        self.lag = LoopLag()
        self._now = now
        self._tracked: dict[str, int] = {}
        self._elsewhere: set[str] = set()
        self._polls = PollFamilies(self.registry)
        self._calls = CallFamilies(self.registry)
        self._plugins = PluginFamilies(self.registry)
        self._process = ProcessFamilies(self.registry)
        self._inbound = InboundFamilies(self.registry)
        self._known = KnownFamilies(self.registry)
        self._process.lag.set_function(self.lag.worst)
        built_from = built_revision() if revision is None else revision
        python = platform.python_version()
        self._process.build.labels(version, built_from, python).set(1)
        _Process(registry=self.registry)

    def born(self, *, sources: Iterable[str] = (), plugins: Iterable[str] = ()) -> None:
        """Let every total of these sources and plugins begin at 0."""
        for source in sources:
            self._polls.born(source)
        for plugin in plugins:
            self._plugins.born(plugin)

    # --- sources -----------------------------------------------------------------

    def observe_call(self, source: str, call: Request) -> None:
        """Count a request to an API and keep what it said about its limits."""
        self._calls.total.labels(call.endpoint).inc()
        if call.outcome != "ok":
            reason = _closed(call.outcome, FAULTS)
            self._calls.failed.labels(call.endpoint, reason).inc()
        if call.malformed:
            self._calls.malformed.labels(call.endpoint).inc(call.malformed)
        if source in self._elsewhere:
            return  # the end of a call that outlived the lease
        if call.limit_requests is not None:
            self._calls.limit.labels(source).set(call.limit_requests)
        if call.remaining_requests is not None:
            self._calls.remaining.labels(source).set(call.remaining_requests)
        if call.reset_after is not None:
            self._calls.reset.labels(source).set(self._now() + call.reset_after)

    def poll_finished(
        self, source: str, phase: str, seconds: float, *, fault: str | None = None
    ) -> None:
        """Count a poll. `fault` is the class of what went wrong, in lower case."""
        polls = self._polls
        polls.total.labels(source).inc()
        polls.duration.labels(source, phase).observe(seconds)
        if fault:
            polls.failed.labels(source, _closed(fault, FAULTS)).inc()
        if source in self._elsewhere:
            return
        polls.attempt.labels(source).set(self._now())
        polls.up.labels(source).set(0 if fault else 1)
        if not fault:
            polls.success.labels(source).set(self._now())

    def poll_interval(self, source: str, seconds: float) -> None:
        """Say how often a source is polled now."""
        if source not in self._elsewhere:
            self._polls.interval.labels(source).set(seconds)

    def jobs_tracked(self, source: str, count: int) -> None:
        """Say how many jobs of a source are not settled."""
        self._tracked[source] = count
        self._process.tracked.set(sum(self._tracked.values()))

    def lease_held(self, source: str, *, held: bool) -> None:
        """Say whether this replica has the source; else nothing is told of how it is.

        Two replicas that both tell would contradict each other.
        """
        self._polls.lease.labels(source).set(int(held))
        if held:
            self._elsewhere.discard(source)
            self._polls.taken.labels(source).inc()
            self._polls.up.labels(source)
        else:
            self._elsewhere.add(source)
            self.jobs_tracked(source, 0)
            self._polls.gone(source)
            self._calls.gone(source)

    def lease_lost(self, source: str, how: Loss) -> None:
        """Count that a lease was lost, not given back."""
        self._polls.lost.labels(source, how).inc()

    def source_named(
        self, source: str, *, kind: str, title: str = "", organization: str = ""
    ) -> None:
        """Say what a source is called; a title may change."""
        self._known.name(source, kind, title, organization)

    def source_gone(self, source: str) -> None:
        """Say that a source is there no more; its totals stay."""
        self._known.forget(source)

    def organizations_born(self) -> None:
        """Let the totals of listing projects begin at 0."""
        self._calls.total.labels("projects")
        for reason in FAULTS[:4]:
            self._calls.failed.labels("projects", reason)

    def organization(self, name: str, *, up: bool, projects: Mapping[str, int]) -> None:
        """Say how an organisation is; `projects` counts them by `PROJECTS`."""
        self._known.up.labels(name).set(int(up))
        for state in PROJECTS:
            self._known.projects.labels(name, state).set(projects.get(state, 0))

    def organization_gone(self, name: str) -> None:
        """Say that an organisation is configured no more."""
        self._known.organization_gone(name)

    def webhooks_born(self, source: str) -> None:
        """Let the totals of a source that takes webhooks begin at 0."""
        self._inbound.born(source)

    def webhook_came(self, source: str, outcome: str) -> None:
        """Count a webhook of a provider; `outcome` is one of `INBOUND`."""
        self._inbound.total.labels(source, _closed(outcome, INBOUND)).inc()

    # --- plugins: what dispatch tells --------------------------------------------

    def attempted(
        self,
        plugin: str,
        *,
        source: str,  # noqa: ARG002 - told, but series of plugins have no such label
        attempt: int,
        outcome: str,
        seconds: float,
    ) -> None:
        """Count one call of a plugin; `outcome` is `accepted` or one of `FAILURES`."""
        plugins = self._plugins
        plugins.attempts.labels(plugin).inc()
        if attempt > 1:
            plugins.retries.labels(plugin).inc()
        plugins.duration.labels(plugin).observe(seconds)
        if outcome != "accepted":
            plugins.failed.labels(plugin, _closed(outcome, FAILURES)).inc()

    def delivered(
        self,
        plugin: str,
        *,
        source: str,  # noqa: ARG002 - the same
        dwell: float,
    ) -> None:
        """Count an event that was accepted, `dwell` seconds after its commit."""
        self._plugins.deliveries.labels(plugin).inc()
        # Clocks step: a negative wait would make the sum fall.
        self._plugins.dwell.labels(plugin).observe(max(0.0, dwell))

    def buried(
        self,
        plugin: str,
        *,
        source: str,  # noqa: ARG002 - the same
        reason: str,
        count: int = 1,
    ) -> None:
        """Count events that became dead letters; `reason` is one of `DROPS`."""
        self._plugins.dropped.labels(plugin, _closed(reason, DROPS)).inc(count)

    def dead_letters(self, plugin: str, count: int) -> None:
        """Say how many dead letters are open."""
        self._plugins.dead.labels(plugin).set(count)

    def backlog(self, plugin: str, count: int, *, oldest: float | None) -> None:
        """Say how many events wait, and since when (unix seconds) the oldest does."""
        self._plugins.queue.labels(plugin).set(count)
        if oldest is not None:
            self._plugins.oldest.labels(plugin).set(oldest)
        else:
            self._plugins.oldest.remove_by_labels({"plugin": plugin})

    def plugin_asked(
        self, plugin: str, is_up: Callable[[], bool], state: Callable[[], str]
    ) -> None:
        """Ask at each scrape whether a plugin takes events, and which state it is in.

        It turns at any moment. `state` returns one of `STATES`.
        """
        circuit = self._plugins.circuit.labels(plugin)
        circuit.set_function(lambda: 0.0 if is_up() else 1.0)
        for one in STATES:
            gauge = self._plugins.state.labels(plugin, one)
            gauge.set_function(partial(_is_in, state, one))

    def plugin_gone(self, plugin: str) -> None:
        """Say nothing of how a plugin is that left the configuration; totals stay."""
        self._plugins.gone(plugin)

    # --- the process -------------------------------------------------------------

    def reloaded(self, *, ok: bool) -> None:
        """Say how the last reading of the configuration went."""
        self._process.reload_ok.set(int(ok))
        if ok:
            self._process.reload_at(self._now())

    def configured(self, digest: str) -> None:
        """Say what the configuration is, by a hash in hexadecimal digits."""
        # More bits than that a float does not keep.
        self._process.hash(int(digest[:12], 16))

    def web_config_read(self, ok: bool, ends: float | None) -> None:
        """Say how the web configuration was last read, and when its certificate ends.

        `ends` is in unix seconds, None without a certificate.
        """
        self._process.web_ok(int(ok))
        if ok:
            self._process.web_at(self._now())
        if ends is not None:
            self._process.web_ends(ends)

    def handshakes_born(self) -> None:
        """Let the totals of failed handshakes begin at 0."""
        for reason in HANDSHAKES:
            self._process.handshakes.labels(reason)

    def handshake_failed(self, reason: str) -> None:
        """Count a client with whom TLS was not agreed upon; see `HANDSHAKES`."""
        self._process.handshakes.labels(_closed(reason, HANDSHAKES)).inc()

    def state_size(self, count: float) -> None:
        """Say how many bytes the store takes."""
        self._process.size(count)

    def state_free(self, count: float) -> None:
        """Say how many bytes are free where the store lies."""
        self._process.free(count)

    def state_asked(self, is_up: Callable[[], bool]) -> None:
        """Ask at each scrape whether the store answers and takes writes."""
        self._process.store_up.set_function(lambda: float(is_up()))

    def loop_died(self, loop: str) -> None:
        """Count a loop that died and is started again; `loop` is one of `LOOPS`."""
        self._process.died.labels(loop).inc()

    def state_written(self) -> None:
        """Say that something was committed."""
        self._process.written(self._now())


class _Process(ProcessCollector):
    """The process as the kernel counts it, where /proc shows nothing but processes."""

    def _boot_time(self) -> float:
        """Return when the machine was started, in unix seconds."""
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _is_in(state: Callable[[], str], one: str) -> float:
    return float(state() == one)


def _closed(word: str, known: tuple[str, ...]) -> str:
    return word if word in known else "other"
