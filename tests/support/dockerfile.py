"""A Dockerfile as stages of steps, as far as ours goes.

Reads text and runs nothing. What it does not know is an error, never passed over.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

KNOWN = frozenset(
    {
        *("ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "LABEL", "USER", "EXPOSE"),
        *("STOPSIGNAL", "ENTRYPOINT", "CMD"),
    }
)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: its word, and the rest as written."""

    word: str
    text: str

    @property
    def exec_form(self) -> list[str] | None:
        """The arguments, if it is written as a JSON list; else a shell's text."""
        if not self.text.startswith("["):
            return None
        arguments: list[str] = json.loads(self.text)
        return arguments

    def pairs(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the keys and values of an ENV, ARG or LABEL."""
        words = shlex.split(self.text)
        split = (word.partition("=") for word in words)
        return {key: expanded(value, variables) for key, _, value in split}


@dataclass(slots=True)
class Stage:
    """What is built on one base."""

    base: str
    name: str | None
    steps: list[Step] = field(default_factory=list)

    def last(self, word: str) -> Step:
        """Return the last instruction of that word."""
        return [step for step in self.steps if step.word == word][-1]


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Put in the values of variables. Raises KeyError for one that nobody set."""
    return _VARIABLE.sub(lambda found: variables[found[1] or found[2]], text)


def stages(path: Path) -> list[Stage]:
    """Return the stages of a Dockerfile."""
    found: list[Stage] = []
    outside: dict[str, str] = {}
    for step in _steps(path.read_text()):
        assert step.word in KNOWN, f"{step.word}: nothing here knows how to do that"
        if step.word == "FROM":
            base, *named = expanded(step.text, outside).split()
            assert not named or named[0] == "AS", step
            found.append(Stage(base, named[1] if named else None))
        elif found:
            found[-1].steps.append(step)
        else:
            outside.update(step.pairs(outside))
    return found


def _steps(text: str) -> Iterator[Step]:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    for line in filter(None, (line.strip() for line in whole.splitlines())):
        word, _, rest = line.partition(" ")
        yield Step(word, rest.strip())
