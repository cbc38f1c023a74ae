"""Calls that may never return, such as of a file on a mount that is away.

Each has a thread of its own, for which nobody waits when the process ends: a pool's
threads are waited for, and a few that hang would take the pool from all others.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def begun(name: str, work: Callable[[], T]) -> Future[T]:
    """Begin a call; `name` is what its thread is called."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # who gives it up does not cancel it

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            future.set_exception(error)

    Thread(target=run, name=name, daemon=True).start()
    return future
