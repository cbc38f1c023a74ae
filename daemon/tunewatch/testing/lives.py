"""When what happens in a job's life: a script and requests turned into moments.

Pure: no clock. A moment is simulated unix time; *work* is simulated seconds of actual
training, which stand still while a job is paused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tunewatch.testing.ids import draws
from tunewatch.testing.script import Script

PAUSING = 5.0  # seconds from the request until a job is paused
CLOSING = 16.0  # seconds from the last step to the end
RESULTS = 3.0  # seconds from the end until the result file is named
_TINY = 1e-4  # what a unix time in a double cannot tell apart, and a bit


@dataclass(frozen=True, slots=True)
class Act:
    """A request that steers a job, and when it came."""

    at: float
    kind: Literal["cancel", "pause", "resume"]


@dataclass(frozen=True, slots=True)
class Phase:
    """A status, from a moment on."""

    at: float
    status: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time of uninterrupted training; `done` is the work done before it."""

    start: float
    end: float
    done: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long the parts of a life take, in simulated seconds."""

    validating: float
    queueing: float
    setup: float
    per_step: float

    def work_of(self, step: float) -> float:
        """Return the work done when a step ends."""
        return self.setup + step * self.per_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """The moments of one life as it is known by now."""

    phases: tuple[Phase, ...]
    stretches: tuple[Stretch, ...]
    pace: Pace
    ended: float | None  #: when a terminal status is reached; None: never, as it looks

    def status(self, now: float) -> str:
        """Return the status at a moment."""
        found = self.phases[0].status
        for phase in self.phases:
            if phase.at > now:
                break
            found = phase.status
        return found

    @property
    def hours(self) -> float:
        """Return how many hours of training there are in all."""
        return sum(stretch.end - stretch.start for stretch in self.stretches) / 3600

    def moment(self, work: float) -> float:
        """Return when that much work was done, infinity if it never is."""
        for stretch in self.stretches:
            if work <= stretch.done + stretch.end - stretch.start + _TINY:
                return stretch.start + max(0.0, work - stretch.done)
        return math.inf

    def moment_of(self, step: float) -> float:
        """Return when a step ends, infinity if it never does."""
        return self.moment(self.pace.work_of(step))


def pace_of(script: Script, seed: str) -> Pace:
    """Return the script's pace; what it leaves open is drawn from the seed."""
    draw = draws(seed, "pace")
    given = script.validating, script.queueing
    return Pace(
        validating=20 + 40 * draw[0] if given[0] is None else given[0],
        queueing=3 + 40 * draw[1] if given[1] is None else given[1],
        setup=10 + 20 * draw[2],
        per_step=script.per_step,
    )


def live(script: Script, start: float, pace: Pace, acts: Sequence[Act]) -> Life:
    """Return the life that the script and the requests so far lead to.

    A later request never changes what was before it.
    """
    phases = [Phase(start, "validating_files")]
    stretches: list[Stretch] = []
    validated = start + pace.validating
    if script.fails_validation:
        phases.append(Phase(validated, "failed"))
    else:
        phases.append(Phase(validated, "queued"))
        _train(script, pace, acts, phases, stretches)
    last = phases[-1]
    ended = last.at if last.status in {"succeeded", "failed", "cancelled"} else None
    life = Life(
        phases=tuple(phases), stretches=tuple(stretches), pace=pace, ended=ended
    )
    return _cut(life, acts)


def _train(
    script: Script,
    pace: Pace,
    acts: Sequence[Act],
    phases: list[Phase],
    stretches: list[Stretch],
) -> None:
    goal, final = _goal(script, pace)
    pauses = _Pauses(script, pace, acts)
    begin, done = phases[-1].at + pace.queueing, 0.0
    while True:
        phases.append(Phase(begin, "running"))
        end = begin + goal - done
        pause = pauses.at(begin, done)
        stop = min(pause, end)
        stretches.append(Stretch(begin, stop, done))
        if pause >= end and final is not None:
            phases.append(Phase(end, final))
            return
        if pause >= end:
            pauses.is_scripted = False
        done += stop - begin
        phases += [Phase(stop, "pausing"), Phase(stop + PAUSING, "paused")]
        resumed = pauses.over(stop + PAUSING)
        if resumed == math.inf:
            return
        phases.append(Phase(resumed, "queued"))
        begin = resumed + pace.queueing
        if final is None:  # asked to go on after all: then it goes to the end
            goal, final = pace.work_of(script.steps) + CLOSING, "succeeded"


def _goal(script: Script, pace: Pace) -> tuple[float, str | None]:
    """Return the work until the run ends or stands still, and how it ends."""
    part = pace.work_of(script.at * script.steps)
    whole = pace.work_of(script.steps) + CLOSING
    match script.outcome:
        case "failed" | "cancelled":
            return part, script.outcome
        case "paused":
            return part, None
        case "moderation":
            return whole, "failed"
        case _:
            return whole, "succeeded"


class _Pauses:
    """The pauses of a life: the script's one, and those asked for."""

    def __init__(self, script: Script, pace: Pace, acts: Sequence[Act]) -> None:
        self._length = math.inf if script.pause_for is None else script.pause_for
        self._work = math.inf
        if script.pause_at is not None:
            self._work = pace.work_of(script.pause_at * script.steps)
        self._asked = tuple(_moments(acts, "pause"))
        self._resumes = tuple(_moments(acts, "resume"))
        self.is_scripted = False  #: whether the pause last given was the script's

    def at(self, begin: float, done: float) -> float:
        """Return the next pause of a stretch, infinity if none is known."""
        scripted = begin + self._work - done if self._work > done + _TINY else math.inf
        asked = min((at for at in self._asked if at >= begin), default=math.inf)
        self.is_scripted = scripted <= asked and scripted < math.inf
        return min(scripted, asked)

    def over(self, paused: float) -> float:
        """Return when a job paused at a moment is queued again."""
        asked = min((at for at in self._resumes if at >= paused), default=math.inf)
        return min(asked, paused + self._length) if self.is_scripted else asked


def _moments(acts: Sequence[Act], kind: str) -> Iterator[float]:
    return (act.at for act in acts if act.kind == kind)


def _cut(life: Life, acts: Sequence[Act]) -> Life:
    """End the life at the first cancel request, if that comes before its end."""
    cancelled = min(_moments(acts, "cancel"), default=math.inf)
    if cancelled >= (math.inf if life.ended is None else life.ended):
        return life
    return Life(
        phases=(
            *(phase for phase in life.phases if phase.at < cancelled),
            Phase(cancelled, "cancelled"),
        ),
        stretches=tuple(
            Stretch(stretch.start, min(stretch.end, cancelled), stretch.done)
            for stretch in life.stretches
            if stretch.start < cancelled
        ),
        pace=life.pace,
        ended=cancelled,
    )
