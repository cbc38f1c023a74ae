"""A believable organisation: projects, teams, and jobs that keep coming.

Deterministic by seed. Jobs are added as simulated time reaches them, on the request
that could first see them: no task runs, and a clock that stands still adds none.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args

from tunewatch.testing.api import SimulatedApi
from tunewatch.testing.script import Outcome, Script, Shape
from tunewatch.testing.served import ServedJob

_MINUTE = 60.0
_HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What a team trains again and again: one suffix, one base model."""

    pattern: Script
    owner: str
    team: str

    def script(self, *, ticket: int) -> Script:
        """Return the script of the family's next job."""
        about: Mapping[str, str] = {
            "team": self.team,
            "owner": self.owner,
            "ticket": f"ML-{ticket}",
        }
        return replace(self.pattern, metadata=about)


FAMILIES: tuple[Family, ...] = (
    Family(
        team="support",
        owner="amara.okafor",
        pattern=Script(project="support-assistant", suffix="support-router", steps=90),
    ),
    Family(
        team="support",
        owner="jonas.lindqvist",
        pattern=Script(
            project="support-assistant",
            suffix="support-tone",
            method="dpo",
            model="gpt-4.1-mini-2025-04-14",
            steps=60,
        ),
    ),
    Family(
        team="legal",
        owner="mei.tanaka",
        pattern=Script(
            project="contract-review",
            suffix="clause-extractor",
            model="gpt-4.1-2025-04-14",
            epochs=4,
            steps=120,
        ),
    ),
    Family(
        team="legal",
        owner="rafael.costa",
        pattern=Script(
            project="contract-review",
            suffix="risk-grader",
            method="reinforcement",
            steps=20,
        ),
    ),
    Family(
        team="search",
        owner="ines.moreau",
        pattern=Script(
            project="search-quality",
            suffix="query-rewriter",
            model="gpt-4.1-nano-2025-04-14",
            epochs=3,
            steps=60,
        ),
    ),
)
PROJECT_KEYS: dict[str, str] = {
    project: f"sk-simulated-{project}"
    for project in sorted({family.pattern.project for family in FAMILIES})
}
"""The key of each project."""


ADMIN_KEY = "sk-admin-simulated"
"""The key that lists the projects and sees no job."""


class Organisation:
    """Fills a simulated API with the jobs of a small company.

    Each project has its own key (`PROJECT_KEYS`); with `keys` given, every one of
    them sees one project that holds everything. With `projects`, the company has so
    many of them, which train in turn; `project_keys` has each one's key by its id.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        jobs_per_hour: float = 6.0,
        keys: tuple[str, ...] = (),
        projects: int = 0,
    ) -> None:
        self._chance = random.Random(f"organisation:{seed}")
        self._every = _HOUR / jobs_per_hour if jobs_per_hour > 0 else float("inf")
        self._keys = keys
        self._next = float("inf")
        self._ticket = 1200
        self._added = 0
        self._many = tuple(
            f"{FAMILIES[number % len(FAMILIES)].pattern.project}-{number + 1:03}"
            for number in range(projects)
        )
        self.project_keys: dict[str, str] = {}
        self.opening: dict[str, ServedJob] = {}  #: the first act, by what happens

    def move_into(self, api: SimulatedApi, *, past: int = 12) -> None:
        """Add the past, the opening act, and from then on whatever comes.

        `past` is how many jobs ended in the days before.
        """
        self._api = api
        self._open_projects()
        now = api.clock.now()
        for number in range(past, 0, -1):
            self._add(self._usual(), start=now - number * 5 * _HOUR)
        self._act(now)
        # Nothing else while the opening act shows what there is to see.
        self._next = now + max(20 * _MINUTE, self._every)
        api.before_each.append(self._arrive)

    def _open_projects(self) -> None:
        self._api.add_admin_key(ADMIN_KEY)
        if self._keys:
            self._api.project("everything", self._keys)
            return
        for name in self._many or PROJECT_KEYS:
            key = PROJECT_KEYS.get(name, f"sk-simulated-{name}")
            title = name.replace("-", " ").capitalize()
            project = self._api.found_project(name, (key,), title=title)
            self.project_keys[project.id] = key

    def _add(self, script: Script, *, start: float) -> ServedJob:
        if self._keys:
            script = replace(script, project="everything")
        elif self._many:
            project = self._many[self._added % len(self._many)]
            script = replace(script, project=project)
        self._added += 1
        return self._api.add_job(script, start=start)

    def _act(self, now: float) -> None:
        """Add the opening act: each kind of life once, over within 100 minutes."""
        support, tone, clauses, grader, search = (
            self._of(family) for family in FAMILIES
        )
        acts = {
            "converges": replace(support, curve="converge", steps=60),
            "over-fits": replace(clauses, curve="overfit", steps=80),
            "fails validation": replace(search, outcome="invalid_n_examples"),
            "prefers": replace(tone, steps=60),
            "fails mid-run": replace(clauses, outcome="failed", curve="diverge"),
            "is rewarded": replace(grader, seconds_per_step=120.0),
            "is cancelled": replace(search, outcome="cancelled", curve="flat", at=0.4),
            "is paused": replace(
                support, curve="noisy", pause_at=0.5, pause_for=6 * _MINUTE
            ),
        }
        for number, (name, script) in enumerate(acts.items()):
            self.opening[name] = self._add(script, start=now + number * _MINUTE)

    def _of(self, family: Family) -> Script:
        self._ticket += 1
        return family.script(ticket=self._ticket)

    def _usual(self) -> Script:
        """Return the script of an ordinary day's job: most go well."""
        shapes, outcomes = get_args(Shape), get_args(Outcome)
        weights = {"succeeded": 80, "failed": 6, "cancelled": 6, "paused": 0}
        return replace(
            self._of(self._chance.choice(FAMILIES)),
            curve=self._chance.choices(shapes, weights=(55, 20, 5, 8, 12))[0],
            outcome=self._chance.choices(
                outcomes, weights=[weights.get(outcome, 3) for outcome in outcomes]
            )[0],
            at=self._chance.uniform(0.2, 0.8),
            validation=self._chance.random() < 0.85,
        )

    def _arrive(self, now: float) -> None:
        """Add the jobs whose time has come."""
        while self._next <= now:
            self._add(self._usual(), start=self._next)
            self._next += self._every * self._chance.uniform(0.5, 1.5)
