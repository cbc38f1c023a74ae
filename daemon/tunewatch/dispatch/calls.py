"""One call of a plugin, and what it comes to: the only place that trusts nobody.

`except Exception` exists here and nowhere else in dispatch. Knows no lane, and of the
store only how it says that it is away: plugins read jobs from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from tunewatch.deadline import Deadline
from tunewatch.events import DERIVED_TYPES, Event, MetricsRecorded
from tunewatch.events.wire import payload_of
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
)
from tunewatch.store.records import StoreUnavailable

LONGEST_REASON = 500
"""Characters of a reason that are kept."""
LONGEST_ANSWER = 1024
"""Bytes of a receiver's answer that are kept."""
_STATUSES = range(-(2**31), 2**31)


class Verdict(Enum):
    """What a call came to. The values are the reasons that metrics are told."""

    ACCEPTED = "accepted"
    RECEIVER = "receiver"  #: trouble of the receiver: it says so, or is away
    TIMEOUT = "timeout"  #: the same, by silence
    DEFECT = "exception"  #: the same, by an exception that nobody expected
    EVENT = "event"  #: trouble of this event
    REJECTED = "rejected"
    PAUSED = "paused"
    CANCELLED = "cancelled"  #: broken off by us, at an end


class Outcome(NamedTuple):
    """What a call came to, and why."""

    verdict: Verdict
    reason: str = ""
    after: float | None = None
    derived: tuple[Derived, ...] = ()
    error: BaseException | None = None  #: what nobody expected, for the log
    receipt: Receipt | None = None  #: what the receiver answered, fit to be kept


_ACCEPTED = Outcome(Verdict.ACCEPTED)
BROKEN_OFF = Outcome(Verdict.CANCELLED, "broken off: the time for a stop was over")


async def call(
    target: Sink | Reactor, delivery: Delivery, *, deadline: Deadline
) -> Outcome:
    """Hand a delivery to a plugin; return when the call has really ended.

    Raises nothing but CancelledError, and that only if this task was cancelled.
    """
    limit = deadline.begin()
    try:
        with limit:
            return await _answer(target, delivery)
    except Retry as retry:
        verdict = Verdict.RECEIVER if retry.scope == "plugin" else Verdict.EVENT
        return Outcome(verdict, _short(retry.reason), retry.after, receipt=_told(retry))
    except Reject as reject:
        reason, receipt = _short(reject.reason), _told(reject)
        return Outcome(Verdict.REJECTED, reason, receipt=receipt)
    except Pause as pause:
        reason, receipt = _short(pause.reason), _told(pause)
        return Outcome(Verdict.PAUSED, reason, receipt=receipt)
    except StoreUnavailable as away:
        return Outcome(Verdict.RECEIVER, _short(away.reason))
    except TimeoutError:
        within = f"no answer within {deadline.seconds:g} s"
        said = within if limit.expired else "timed out"
        return Outcome(Verdict.TIMEOUT, said)
    except asyncio.CancelledError:
        if _is_cancelled():
            raise
        return Outcome(Verdict.DEFECT, "the plugin cancelled its own call")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code may do anything
        # Its words may quote what is secret: they go to the log, not into the store.
        return Outcome(Verdict.DEFECT, f"raised {type(error).__name__}", error=error)


def heeds(target: Sink | Reactor | None, event: Callable[[], Event]) -> bool:
    """Whether a plugin may conclude something from an event: yes, if in doubt."""
    asked = getattr(target, "heeds", None)
    if asked is None:
        return True
    try:
        payload = event().payload
        return not isinstance(payload, MetricsRecorded) or bool(asked(payload))
    except Exception:  # noqa: BLE001 - foreign code may do anything: let it react
        return True


async def _answer(target: Any, delivery: Delivery) -> Outcome:
    if not hasattr(target, "react"):
        receipt = await target.deliver(delivery)
        if receipt is None:
            return _ACCEPTED
        return Outcome(Verdict.ACCEPTED, receipt=_fit(receipt))
    derived = tuple(await target.react(delivery))
    if not derived:
        return _ACCEPTED
    defect = _defect(derived, delivery)
    if defect is None:
        return Outcome(Verdict.ACCEPTED, derived=derived)
    return Outcome(Verdict.EVENT, _short(defect), error=ValueError(defect))


def _defect(derived: Sequence[Any], delivery: Delivery) -> str | None:
    """Return why a conclusion cannot be committed, None if it can."""
    if delivery.event.job_id is None:
        return "concluded something from an event that is about no job"
    for one in derived:
        if not isinstance(one, Derived):
            return f"concluded a {type(one).__name__}, wanted Derived"
        if one.type not in DERIVED_TYPES:
            wanted = ", ".join(sorted(DERIVED_TYPES))
            return f"concluded {one.type!r}, wanted one of {wanted}"
        try:
            # As it will be read again: through JSON, not by the objects' own types.
            payload_of(one.type, msgspec.json.decode(msgspec.json.encode(one.data)))
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            return f"concluded {one.type} with data that do not fit: {error}"
    return None


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _told(refusal: Refusal) -> Receipt | None:
    # A plugin's own subclass need not have one.
    return _fit(getattr(refusal, "receipt", None))


def _fit(receipt: object) -> Receipt | None:
    """Return a receipt as it can be kept and shown, None for anything else."""
    if not isinstance(receipt, Receipt):
        return None  # a plugin may return what it likes
    status: Any = receipt.status
    answer: Any = receipt.answer
    is_status = type(status) is int and status in _STATUSES
    if is_status and answer == "":
        return receipt  # as it is nearly always
    text = answer if isinstance(answer, str) else ""
    return Receipt(status if is_status else None, _harmless(text))


def _harmless(text: str) -> str:
    """Return the beginning of a text, as printable characters."""
    text = text[:LONGEST_ANSWER]
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else " " for sign in text).strip()
    if not text.isascii():
        # Cut between characters; a lone surrogate is not printable and is gone already.
        text = text.encode()[:LONGEST_ANSWER].decode(errors="ignore")
    return text


def _short(reason: str) -> str:
    return str(reason)[:LONGEST_REASON]
