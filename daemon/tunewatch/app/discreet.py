"""What plugins say of their trouble, without secrets: reasons are kept and shown.

A plugin's words end in /readyz, in tables and in the store. The log has a redactor at
its end; everything else is cleared here, where the words come in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from tunewatch.events import MetricsRecorded
from tunewatch.plugin import (
    Delivery,
    Derived,
    Pause,
    Reactor,
    Receipt,
    Refusal,
    Reject,
    Retry,
    Sink,
    View,
)
from tunewatch.telemetry import Redactor

Clear = Callable[[str], str]
"""Returns a text without the secrets that are known."""


def clearing(redact: Redactor) -> Clear:
    """Return what takes the secrets out of a text."""
    return lambda text: redact(text.encode(errors="replace")).decode(errors="replace")


def discreet(opened: Sink | Reactor | View, clear: Clear) -> Sink | Reactor | View:
    """Return the plugin as it is, but with reasons that can be shown."""
    if _reacts(opened):
        return _Reactor(opened, clear)
    if _delivers(opened):
        return _Sink(opened, clear)
    return opened


def _reacts(opened: object) -> TypeGuard[Reactor]:
    return hasattr(opened, "react")


def _delivers(opened: object) -> TypeGuard[Sink]:
    return hasattr(opened, "deliver")


@dataclass(frozen=True, slots=True)
class _Sink:
    inner: Sink
    clear: Clear

    async def deliver(self, delivery: Delivery) -> Receipt | None:
        try:
            return _cleared(await self.inner.deliver(delivery), self.clear)
        except (Retry, Reject, Pause) as answer:
            _clear(answer, self.clear)
            raise


@dataclass(frozen=True, slots=True)
class _Reactor:
    inner: Reactor
    clear: Clear

    def heeds(self, metrics: MetricsRecorded) -> bool:
        asked = getattr(self.inner, "heeds", None)
        return asked is None or bool(asked(metrics))

    async def react(self, delivery: Delivery) -> Sequence[Derived]:
        try:
            return await self.inner.react(delivery)
        except (Retry, Reject, Pause) as answer:
            _clear(answer, self.clear)
            raise


def _clear(answer: Refusal, clear: Clear) -> None:
    answer.reason = clear(str(answer.reason))
    # A plugin's own subclass need not have it.
    answer.receipt = _cleared(getattr(answer, "receipt", None), clear)


def _cleared(receipt: object, clear: Clear) -> Receipt | None:
    """Return a receipt whose answer can be shown, None for whatever else it is."""
    if not isinstance(receipt, Receipt):
        return None
    answer: object = receipt.answer
    if not isinstance(answer, str) or not answer:
        return Receipt(receipt.status)
    return Receipt(receipt.status, clear(answer))
