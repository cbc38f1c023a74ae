"""The real program, with one function that is the last thing it does.

Run as `python -m support.doomed run …`: what `$DOOMED_AT` names is wrapped from
outside, and its n-th call kills the process, or fails. What is tried knows nothing of
it. Decides nothing about what must be true afterwards.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from support.fatal_points import LOOPS, POINTS, Point
from support.program import Program

AT = "DOOMED_AT"
"""Environment variable: a `Doom` as JSON."""
HASTE = "DOOMED_HASTE"
"""The same: what the daemon does every few seconds or minutes comes at once."""

Act = Literal["kill", "raise", "cancel", "return", "block"]
"""What a call comes to: SIGKILL, a defect, a cancellation that nobody asked for, for a
loop its end, or seconds in which nothing else can run."""
BLOCKED = 4.0
"""s for which everything is blocked."""
AFTER = 1.0
"""s before a loop that is replaced comes to its end."""


def doom(program: Program) -> None:
    """Let a program be started by this module, which does what it is told."""
    program.launch_by("support.doomed")


class Doom(msgspec.Struct, frozen=True):
    """At which call of which point it is, and what that comes to."""

    name: str
    call: int
    act: Act = "kill"

    @property
    def environment(self) -> Mapping[str, str]:
        """What dooms a process."""
        return {AT: msgspec.json.encode(self).decode()}


def wrapped(original: Any, strike: Callable[..., None], when: str) -> Any:
    """Return a function that calls `strike` before or after the original."""
    is_before = when == "before"
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def waits(*given: Any, **named: Any) -> Any:
            if is_before:
                strike(*given, **named)
            result = await original(*given, **named)
            if not is_before:
                strike(*given, **named)
            return result

        return waits

    @functools.wraps(original)
    def acts(*given: Any, **named: Any) -> Any:
        if is_before:
            strike(*given, **named)
        result = original(*given, **named)
        if not is_before:
            strike(*given, **named)
        return result

    return acts


def replaced(original: Any, strike: Callable[[], None], call: int) -> Any:
    """Return a loop whose n-th run does nothing and soon comes to its end."""
    calls = itertools.count(1)

    @functools.wraps(original)
    async def ends(*given: Any, **named: Any) -> Any:
        if next(calls) != call:
            return await original(*given, **named)
        await asyncio.sleep(AFTER)
        return strike()

    return ends


def arm(point: Point, call: int, act: Act) -> None:
    """Let the n-th call of a point be the last thing that is done there."""
    owner, name = point.owner()
    calls = itertools.count(1)

    def strike(*given: Any, **named: Any) -> None:
        counts = point.only is None or point.only(*given, **named)
        if counts and next(calls) == call:
            do(act)

    original = getattr(owner, name)
    if point.when == "instead":
        setattr(owner, name, replaced(original, lambda: do(act), call))
    else:
        setattr(owner, name, wrapped(original, strike, point.when))


def do(act: Act) -> None:
    """Let happen what a call comes to."""
    match act:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise RuntimeError("the test let this fail")
        case "cancel":
            raise asyncio.CancelledError
        case "return":
            return
        case "block":
            time.sleep(BLOCKED)


def hurry() -> None:
    """Let what comes every few seconds or minutes come at once."""
    from tunewatch.app import leasing, upkeep

    leasing.RENEW_EVERY = 0.2
    upkeep.FORGET_EVERY = 0.3


def main() -> None:
    """Be the program, with what the environment asks for."""
    if HASTE in os.environ:
        hurry()
    if AT in os.environ:
        doom = msgspec.json.decode(os.environ[AT], type=Doom)
        arm((POINTS | LOOPS)[doom.name], doom.call, doom.act)
    from tunewatch.cli.main import main as tunewatch

    tunewatch()


if __name__ == "__main__":
    main()
