"""What a daemon has from its first moment on: all that needs no store.

Probes are answered from it while the store is opened, upgraded or waited for. Starts
nothing and ends nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import structlog

from tunewatch import __version__, host, pace
from tunewatch.app.announcements import Announcements
from tunewatch.app.health import DaemonHealth
from tunewatch.app.lives import Lives
from tunewatch.app.notifying import Notifier
from tunewatch.app.overseeing import Overseeing
from tunewatch.app.service import Service
from tunewatch.clock import Clock
from tunewatch.config import Settings, redacted
from tunewatch.dispatch import Gate
from tunewatch.host import Instance
from tunewatch.plugin import Route
from tunewatch.telemetry import Redactor, Telemetry
from tunewatch.web import Api, TermsFile

_log = structlog.get_logger(__name__)


class Foundation:
    """See the module. `settings` are those in force now.

    Raises ConfigError for plugins and for a web configuration that cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        jitter: pace.Jitter,
        notifier: Notifier,
    ) -> None:
        self.settings = settings
        self.instances = host.instances(settings)
        self.clock = clock
        self.jitter = jitter
        self.telemetry = Telemetry(version=__version__)
        self.gates = {one.name: self.gate_of(one) for one in self.instances}
        self.redact = Redactor(settings.secrets(), later=settings.learned)
        self.routes: list[Route] = []
        self.api = Api()
        self.terms = TermsFile(
            settings.daemon.web_config_file, told=self.telemetry.web_config_read
        )
        self.lives = Lives(
            clock=clock,
            jitter=jitter,
            loop_died=partial(self.telemetry.loop_died, "source"),
        )
        self.lives.expect(settings.sources)
        self.announcements = Announcements(
            find=self.lives.sources.get, clock=clock, telemetry=self.telemetry
        )
        self.overseeing = Overseeing(
            settings=settings,
            lives=self.lives,
            telemetry=self.telemetry,
            announcements=self.announcements,
            clock=clock,
            jitter=jitter,
        )
        self.health = DaemonHealth(
            gates=self.gates,
            lag=self.telemetry.lag,
            clock=clock,
            lives=self.lives,
            organizations=self.overseeing.organizations,
            web_config=self.terms.state,
        )
        self.service = Service(notifier=notifier, health=self.health, clock=clock)

    def gate_of(self, instance: Instance) -> Gate:
        """Return the gate of a plugin, which is not open yet."""
        return Gate(instance, clock=self.clock, jitter=self.jitter)

    def born(self) -> None:
        """Let every total begin at 0, and say what is known already.

        Raises ConfigError for a secret of webhooks that cannot be used, and for an
        organisation of a kind that has none.
        """
        self.plugins_born(self.gates)
        self.sources_born(self.settings.sources)
        self.overseeing.born()
        self.announcements.listen(self.settings.sources.values())
        self.telemetry.state_asked(self.health.is_store_up)
        if self.settings.daemon.web_config_file is not None:
            self.telemetry.handshakes_born()
        self.terms.born()
        self.tell()

    def plugins_born(self, names: Iterable[str]) -> None:
        """Let the totals of plugins begin, and ask their gates how they are."""
        for name in names:
            gate = self.gates[name]
            self.telemetry.born(plugins=[name])
            self.telemetry.plugin_asked(name, gate.is_taking, partial(_state, gate))

    def sources_born(self, names: Iterable[str]) -> None:
        """Let the totals of sources begin, and say what they are."""
        for name in names:
            self.telemetry.born(sources=[name])
            self.telemetry.source_named(name, kind=self.settings.sources[name].kind)

    def tell(self) -> None:
        """Say which configuration is in force, and what is doubtful about it."""
        for doubt in self.settings.doubts:
            _log.warning("config.doubt", key=doubt.key, reason=doubt.text)
        self.telemetry.reloaded(ok=True)
        self.telemetry.configured(host.digest(redacted(self.settings)))

    def token(self) -> str | None:
        """Return the operator's token as it is now."""
        token = self.settings.daemon.api_token
        return None if token is None else token.get()

    def password(self) -> str | None:
        """Return the database's password as it is now."""
        password = self.settings.daemon.password
        return None if password is None else password.get()


def _state(gate: Gate) -> str:
    return gate.state().state
