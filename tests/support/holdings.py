"""Who tells of which source, by `/metrics` of all replicas, asked all the time.

A term is told of surely from the end of the first answer that has it to the beginning
of the last one that has it: two terms of one source must not be told of at once. Who
tells of a source in an answer that says it is not there, as when it came or went
meanwhile, must not do so in the middle of somebody else's term.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import aiohttp

EVERY = 0.15
"""s between two questions to one replica."""
_SERIES = re.compile(
    r'^(tunewatch_\w+)\{[^}]*source="([^"]+)"[^}]*\} (\S+)$', re.MULTILINE
)
_OF_ITS_OWNER = (
    "tunewatch_job",
    "tunewatch_up",
    "tunewatch_poll_interval_seconds",
    "tunewatch_poll_last_",
    "tunewatch_api_ratelimit_",
)
"""What begins so is told by the owner of a source and by nobody else."""


@dataclass(slots=True)
class Term:
    """One source on one replica, as it was told."""

    replica: str
    taken: int | None  #: how often that process had taken it by then; None: it had not
    since: float
    until: float


@dataclass(slots=True)
class Holdings:
    """What was told so far. Give it to `watch` for each replica."""

    terms: dict[str, list[Term]] = field(default_factory=dict)
    answers: int = 0
    told_last: dict[str, bool] = field(default_factory=dict)

    async def watch(self, replica: str, port: int, life: Callable[[], int]) -> None:
        """Ask a replica for ever, whether it is there or not."""
        url = f"http://127.0.0.1:{port}/metrics"
        limit = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(timeout=limit) as session:
            while True:
                began, number = time.monotonic(), life()
                try:
                    async with session.get(url) as answer:
                        text = await answer.text()
                except (aiohttp.ClientError, TimeoutError):
                    text = ""
                self.answers += bool(text)
                self.told_last[replica] = bool(told_of(text))
                for source, taken in told_of(text).items():
                    self._note(source, f"{replica}.{number}", taken, began)
                await asyncio.sleep(EVERY)

    def _note(self, source: str, replica: str, taken: int | None, began: float) -> None:
        terms = self.terms.setdefault(source, [])
        for term in terms:
            if taken is not None and (term.replica, term.taken) == (replica, taken):
                term.until = max(term.until, began)
                return
        terms.append(Term(replica, taken, time.monotonic(), began))

    def now(self, replica: str) -> bool:
        """Whether a replica told of any source when it was asked last."""
        return self.told_last.get(replica, False)

    def told_twice(self) -> list[str]:
        """Return where two terms of one source were told of at once."""
        return [
            f"{source}: {one}, {two}"
            for source, terms in self.terms.items()
            for one, two in combinations(terms, 2)
            if _contradict(one, two)
        ]


def _contradict(one: Term, two: Term) -> bool:
    if one.taken is None and two.taken is None:
        return False
    if one.taken is None or two.taken is None:
        term, answer = (two, one) if one.taken is None else (one, two)
        # Of an answer, `until` is its beginning and `since` its end.
        is_within = term.since < answer.until and answer.since < term.until
        return is_within and term.replica != answer.replica
    return max(one.since, two.since) < min(one.until, two.until)


def told_of(text: str) -> Mapping[str, int | None]:
    """Return the sources that an answer tells of, and how often each was taken.

    None if it tells of one that it says is not there.
    """
    taken: dict[str, int] = {}
    held: set[str] = set()
    told: set[str] = set()
    for name, source, value in _series(text):
        if name == "tunewatch_lease_transitions_total":
            taken[source] = int(float(value))
        elif name == "tunewatch_lease_held":
            held.update([source] if float(value) else [])
        elif name.startswith(_OF_ITS_OWNER):
            told.add(source)
    return {one: taken[one] if one in held else None for one in held | told}


def _series(text: str) -> Iterator[tuple[str, str, str]]:
    for found in _SERIES.finditer(text):
        yield found[1], found[2], found[3]
