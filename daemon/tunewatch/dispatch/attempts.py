"""What the delivery log is told of one call: made when it has ended, written later.

It goes into the same transaction as the acknowledgement. Of a reactor only what failed
or was asked for is told: what it concludes are events of their own. Knows no table.
"""

from __future__ import annotations

from tunewatch.clock import Clock
from tunewatch.dispatch.calls import Outcome, Verdict
from tunewatch.dispatch.feed import Flight
from tunewatch.store.lane_records import Attempt


def note(flight: Flight, outcome: Outcome, clock: Clock) -> float:
    """Put down what a call came to; return how many seconds it took."""
    parcel, receipt = flight.parcel, outcome.receipt
    assert parcel is not None  # noqa: S101 - it went out
    seconds = max(0.0, clock.monotonic() - flight.began)
    is_accepted = outcome.verdict is Verdict.ACCEPTED
    if is_accepted and flight.feed.gate.is_reactor and not flight.is_asked:
        return seconds
    flight.feed.attempts.append(
        Attempt(
            parcel.ref.job_key,
            parcel.ref.position,
            parcel.ref.id,
            flight.lane.attempts,
            flight.feed.redeliveries.asked_by(flight.lane.key),
            clock.now() - seconds,
            seconds,
            outcome.verdict.value,
            None if receipt is None else receipt.status,
            None if is_accepted else outcome.reason,
            None if receipt is None else receipt.answer or None,
        )
    )
    return seconds
