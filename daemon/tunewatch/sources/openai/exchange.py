"""One request and what became of it: body, fault, and what telemetry is told.

Bounds every answer in time and in size. Knows no endpoint and no shape of an answer;
how to send a request is the client's, what a failure means is `faults`'.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TypeVar

import openai

from tunewatch.bulkheads import OURS, bulkhead
from tunewatch.deadline import Deadline
from tunewatch.sources.contract import (
    Call,
    Refused,
    SourceFault,
    Unavailable,
    Unreadable,
)
from tunewatch.sources.openai import headers as said
from tunewatch.sources.openai.answer import Answer
from tunewatch.sources.openai.faults import FOREIGN, Asked, fault_of, not_json

AnswerT = TypeVar("AnswerT")

Answering = AbstractAsyncContextManager[Answer]
"""An answer whose body has not been read."""

READ_IN_THREAD = 256 * 1024
"""Bytes from which on a body is read in a thread: the loop has others to serve."""


@dataclass(slots=True)
class Exchange:
    """One request under way."""

    asked: Asked  #: what of whom: what reasons begin with
    key: Callable[[], str | None]  #: the key it was sent with, to hide it
    deadline: Deadline  #: for everything together, dripping bodies included
    limit: int  #: bytes of the answer
    now: Callable[[], float]  #: unix seconds
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    malformed: int = 0
    _began: float = field(default_factory=time.monotonic)
    _seconds: float | None = None
    _answered: float | None = None

    async def answer(
        self, request: Answering, read: Callable[[bytes], AnswerT]
    ) -> AnswerT | SourceFault:
        """Send the request; return what `read` makes of its body, or the fault.

        The fault is returned, so that it is raised where no handler runs: the client's
        exceptions hold the request with its key, and nothing may chain to them.
        """
        try:
            body = await self._body(request)
            if len(body) < READ_IN_THREAD:
                return read(body)
            with bulkhead(OURS):  # a hundred sources share few threads for it
                return await asyncio.to_thread(read, body)
        except Unreadable as fault:
            return not_json(self.asked, self.headers, fault.reason)
        # By the look-up of the key or token: nothing was sent.
        except Refused as fault:
            return Refused(f"{self.asked}: {fault.reason}")
        except Unavailable as fault:
            return Unavailable(f"{self.asked}: {fault.reason}", after=fault.after)
        except FOREIGN as error:
            return self._fault(error)
        except TimeoutError:
            return Unavailable(
                f"{self.asked}: no full answer in {self.deadline.seconds:g} s"
            )
        except OSError as error:
            return self._fault(error)
        finally:
            self._ended()

    def call(self, outcome: str) -> Call:
        """Return what telemetry is told of the request."""
        self._ended()
        get = self.headers.get
        return Call(
            endpoint=self.asked.what,
            seconds=self._seconds or 0.0,
            outcome=outcome,
            status=self.status,
            remaining_requests=said.count(get("x-ratelimit-remaining-requests")),
            limit_requests=said.count(get("x-ratelimit-limit-requests")),
            reset_after=said.duration(get("x-ratelimit-reset-requests")),
            clock_offset=None
            if self._answered is None
            else said.clock_offset(self.headers, now=self._answered),
            malformed=self.malformed,
        )

    async def _body(self, request: Answering) -> bytes:
        with self.deadline.begin():
            async with request as answer:
                self._heard(answer.status, answer.headers)
                body = await self._whole(answer)
        self._ended()
        return body

    async def _whole(self, answer: Answer) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in answer.chunks:
            size += len(chunk)
            if size > self.limit:
                raise Unreadable(f"the answer is larger than {self.limit} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    def _fault(self, error: Exception) -> SourceFault:
        if isinstance(error, openai.APIStatusError):
            self._heard(error.status_code, error.response.headers)
        return fault_of(error, asked=self.asked, key=self.key(), now=self.now())

    def _heard(self, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers, self._answered = status, headers, self.now()

    def _ended(self) -> None:
        if self._seconds is None:
            self._seconds = time.monotonic() - self._began
