"""What is said of an organisation's projects: in /readyz, in metrics, in the log.

Each news once. Decides nothing about what is watched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog

from tunewatch.app.judging import Verdict
from tunewatch.app.lives import Lives
from tunewatch.telemetry import Telemetry
from tunewatch.web import PartState

_WORDS = {
    Verdict.NO_KEY: "have no key yet",
    Verdict.ARCHIVED: "are archived",
    Verdict.LEFT_OUT: "are left out",
    Verdict.UNLISTED: "have a key and are not on the list",
}
_WAITING = (Verdict.NO_KEY, Verdict.UNLISTED)
"""What a person may do something about."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectsShown:
    """Says how the projects of one organisation are."""

    organization: str
    kind: str
    lives: Lives
    telemetry: Telemetry

    def show(
        self, project: str, verdict: Verdict, *, title: str, why: str | None, news: bool
    ) -> None:
        """Show a project as it is now; if it is news, log why it is not watched."""
        if title:
            self.lives.titles[project] = title
        if self.lives.has(project):
            self.telemetry.source_named(
                project, kind=self.kind, title=title, organization=self.organization
            )
        elif verdict not in _WAITING:
            self.hide(project)
        else:
            self.lives.absent[project] = PartState(state=verdict.value, reason=why)
            if news:
                _log.warning(
                    f"organization.{verdict.value}",
                    organization=self.organization,
                    project=project,
                    title=title,
                    reason=why,
                )

    def hide(self, project: str) -> None:
        """Show a project no more."""
        self.lives.absent.pop(project, None)
        self.lives.titles.pop(project, None)

    def count(self, verdicts: Mapping[str, Verdict], *, up: bool, news: bool) -> None:
        """Say how many projects there are of each sort."""
        counts = Counter(verdict.value for verdict in verdicts.values())
        self.telemetry.organization(self.organization, up=up, projects=counts)
        if news:
            _log.info("organization.projects", organization=self.organization, **counts)


def summary(verdicts: Iterable[Verdict]) -> str:
    """Return in a sentence what is done about an organisation's projects."""
    counts = Counter(verdicts)
    others = [
        f"{counts[verdict]} {words}"
        for verdict, words in _WORDS.items()
        if counts[verdict]
    ]
    watched = f"{counts[Verdict.WATCHED]} of {counts.total()} projects are watched"
    return "; ".join([watched, ", ".join(others)] if others else [watched])
