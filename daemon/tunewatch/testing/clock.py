"""The simulated time, which runs faster than ours, or only when told.

Knows nothing of jobs. Two scales exist side by side: *simulated seconds*, in which
lives are written (a job takes 1,800 of them), and *stamps*, the unix seconds that go
into answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class SimulatedClock:
    """Simulated unix time: `start`, plus what passed, times `scale`.

    With `scale=0` the clock stands still until `advance` is called, and stamps are
    simulated time itself.

    With a scale above 1 stamps after the start are compressed back to our time, so
    that no answer lies in the future and an answer's stamps agree with its Date
    header: a job of 1,800 simulated seconds at scale 60 says that it took 30. With
    `compress=False` stamps are simulated time and run ahead of ours.
    """

    def __init__(
        self,
        *,
        start: float | None = None,
        scale: float = 1.0,
        compress: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if scale < 0:
            raise ValueError(f"scale: wanted 0 or more, found {scale}")
        self.start = time.time() if start is None else float(start)
        self.scale = scale
        self._shrink = scale if compress and scale > 1 else 1.0
        self._monotonic = monotonic
        self._began = monotonic()
        self._advanced = 0.0

    def now(self) -> float:
        """Return the simulated time in unix seconds."""
        passed = (self._monotonic() - self._began) * self.scale
        return self.start + passed + self._advanced

    def advance(self, seconds: float) -> float:
        """Move on by simulated seconds and return the new time. Never backwards."""
        if seconds < 0:
            raise ValueError(f"advance: wanted 0 or more seconds, found {seconds}")
        self._advanced += seconds
        return self.now()

    def advance_to(self, moment: float) -> float:
        """Move on to a simulated time, if it is still ahead; return the new time."""
        return self.advance(max(0.0, moment - self.now()))

    def stamp(self, moment: float) -> int:
        """Return the whole unix second that an answer gives for a simulated time."""
        passed = moment - self.start
        if passed > 0:
            passed /= self._shrink
        return int(self.start + passed)
