"""What can go wrong with an answer.

A fault replaces the answer, changes what was asked, spoils the answer, or spoils its
way over the wire. Knows no endpoint and no job; `delivery` carries it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import Enum

from tunewatch.testing import alterations
from tunewatch.testing.alterations import HTML, Alteration
from tunewatch.testing.answers import Answer, error

RetryAfter = int | float | str | timedelta | None
"""Seconds, any text, or a delay that is written as an HTTP date; None: no header."""


class Manner(Enum):
    """How the bytes of an answer go out."""

    WHOLE = "whole"
    DRIP = "drip"  #: a few bytes at a time
    CUT = "cut"  #: half the body, then the connection is closed
    RESET = "reset"  #: no byte, the connection is reset
    HANG = "hang"  #: no byte, the connection stays open


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong. Made by the class methods."""

    name: str
    answer: Answer | None = None  #: in place of the true one
    retry_after: RetryAfter = None
    alter: Alteration | None = None  #: spoils the answer
    first_page: bool = False  #: the cursor is not heeded
    ascending: bool = False  #: the list is served oldest first
    manner: Manner = Manner.WHOLE
    seconds: float = 0.0  #: real seconds before, or for dripping during, the answer

    @classmethod
    def status(
        cls,
        status: int,
        *,
        retry_after: RetryAfter = None,
        message: str | None = None,
        code: str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Fault:
        """Answer with that status and the API's error body, or the body given."""
        answer = error(status, message, code=code, headers=headers)
        if body is not None:
            answer = replace(answer, body=body)
        return cls(name=str(status), answer=answer, retry_after=retry_after)

    @classmethod
    def html(cls, status: int = 200) -> Fault:
        """Answer with a page for people: a captive portal (200), a proxy (502)."""
        answer = Answer(status=status, body=HTML, content_type="text/html")
        return cls(name=f"html {status}", answer=answer)

    @classmethod
    def altered(cls, name: str, alter: Alteration) -> Fault:
        """Spoil the true answer by a function of one's own."""
        return cls(name=name, alter=alter)

    @classmethod
    def truncated(cls) -> Fault:
        """End the JSON in the middle, though the answer is complete as HTTP."""
        return cls(name="truncated", alter=alterations.truncated)

    @classmethod
    def content_type(cls, content_type: str = "text/plain") -> Fault:
        """Claim another content type."""
        return cls(name="mistyped", alter=alterations.mistyped(content_type))

    @classmethod
    def nan(cls) -> Fault:
        """Write NaN for training losses and rewards."""
        return cls(name="nan", alter=alterations.bare_nan)

    @classmethod
    def malformed_item(cls) -> Fault:
        """Put one item into the page that cannot be read."""
        return cls(name="malformed item", alter=alterations.one_malformed)

    @classmethod
    def same_page(cls) -> Fault:
        """Serve the first page for every cursor and say that there is more."""
        return cls(name="same page", first_page=True, alter=alterations.always_more)

    @classmethod
    def no_has_more(cls) -> Fault:
        """Leave `has_more` out."""
        return cls(name="no has_more", alter=alterations.without_has_more)

    @classmethod
    def empty_page(cls) -> Fault:
        """Serve a page without items and say that there is more."""
        return cls(name="empty page", alter=alterations.emptied)

    @classmethod
    def empty_error(cls) -> Fault:
        """Show `error: {}` on jobs that did not fail."""
        return cls(name="empty error", alter=alterations.empty_error)

    @classmethod
    def null_hyperparameters(cls) -> Fault:
        """Show null hyperparameters on jobs."""
        return cls(name="null hyperparameters", alter=alterations.null_hyperparameters)

    @classmethod
    def oldest_first(cls) -> Fault:
        """Serve a list oldest first; its cursors then lead to newer items."""
        return cls(name="oldest first", ascending=True)

    @classmethod
    def slow(cls, seconds: float) -> Fault:
        """Wait before the true answer."""
        return cls(name="slow", seconds=seconds)

    @classmethod
    def drip(cls, seconds: float) -> Fault:
        """Let the body of the true answer trickle out over a time."""
        return cls(name="drip", manner=Manner.DRIP, seconds=seconds)

    @classmethod
    def cut(cls) -> Fault:
        """Close the connection in the middle of the body."""
        return cls(name="cut", manner=Manner.CUT)

    @classmethod
    def reset(cls) -> Fault:
        """Reset the connection in place of an answer."""
        return cls(name="reset", manner=Manner.RESET)

    @classmethod
    def hang(cls) -> Fault:
        """Never answer, until the client goes away or the server ends."""
        return cls(name="hang", manner=Manner.HANG)

    def headers(self) -> dict[str, str]:
        """Return the headers that the fault adds, the date counted from now."""
        match self.retry_after:
            case None:
                return {}
            case timedelta() as delay:
                until = datetime.now(UTC) + delay
                return {"Retry-After": format_datetime(until, usegmt=True)}
            case wanted:
                return {"Retry-After": str(wanted)}


TRANSIENT: tuple[Fault, ...] = (
    Fault.status(408),
    Fault.status(429),
    Fault.status(429, retry_after=1),
    Fault.status(429, retry_after=timedelta(seconds=2)),
    Fault.status(429, retry_after="soon"),
    Fault.status(500),
    Fault.status(502, body=b""),
    Fault.status(503, retry_after=1),
    Fault.html(200),
    Fault.html(502),
    Fault.truncated(),
    Fault.content_type(),
    Fault.cut(),
    Fault.reset(),
    Fault.slow(0.5),
    Fault.drip(0.5),
)
"""Faults that pass: the same request, asked again, gets a true answer."""

ODDITIES: tuple[Fault, ...] = (
    Fault.nan(),
    Fault.malformed_item(),
    Fault.same_page(),
    Fault.no_has_more(),
    Fault.empty_page(),
    Fault.empty_error(),
    Fault.null_hyperparameters(),
    Fault.oldest_first(),
)
"""Answers that look fine and are not."""

REFUSALS: tuple[Fault, ...] = (
    Fault.status(400),
    Fault.status(401),
    Fault.status(403),
    Fault.status(404),
    Fault.status(429, code="insufficient_quota"),
    Fault.status(429, retry_after=86_400),
)
"""Answers that say not to ask again soon."""
