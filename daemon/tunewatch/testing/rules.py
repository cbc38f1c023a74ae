"""When something goes wrong: at the n-th request that matches, or by chance.

Knows which fault strikes which request, and nothing of what a fault does.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fnmatch import fnmatchcase

from tunewatch.testing.faults import Fault


class Rule:
    """When a fault strikes. Made by `SimulatedApi.fault` and `chaos`."""

    def __init__(
        self,
        faults: Sequence[Fault],
        *,
        match: str = "*",
        times: int | None = None,
        skip: int = 0,
        key: str | None = None,
        rate: float = 1.0,
        chance: random.Random | None = None,
    ) -> None:
        if not faults:
            raise ValueError("faults: wanted at least one, found none")
        self._faults = tuple(faults)
        self._match = match
        self._times = times
        self._skip = skip
        self._key = key
        self._rate = rate
        self._chance = chance or random.Random(0)
        self._lifted = False
        self.hits: list[str] = []  #: the names of the faults that struck, in order

    def lift(self) -> None:
        """Let nothing go wrong by this rule any more."""
        self._lifted = True

    def strike(self, line: str, key: str) -> Fault | None:
        """Return what goes wrong with a request, None if nothing does."""
        if self._lifted or len(self.hits) == self._times:
            return None
        if not fnmatchcase(line, self._match) or self._key not in (None, key):
            return None
        if self._rate < 1 and self._chance.random() >= self._rate:
            return None
        if self._skip > 0:
            self._skip -= 1
            return None
        fault = self._chance.choice(self._faults)
        self.hits.append(fault.name)
        return fault
