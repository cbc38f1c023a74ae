"""Answers and the error bodies of the API.

Knows the shapes only; who is refused and why is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

JSON = "application/json"

_WORDS = {
    400: ("invalid_request_error", None, "The request was malformed."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: (
        "invalid_request_error",
        "missing_scope",
        "This key lacks permissions. Missing scopes: api.fine_tuning.jobs.read.",
    ),
    404: ("invalid_request_error", "not_found", "Not found."),
    408: ("server_error", None, "The request timed out."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    503: ("server_error", None, "The engine is currently overloaded."),
}
_OTHER = ("server_error", None, "The server had an error processing your request.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer, before it goes out."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class Problem(Exception):
    """A request that gets an error answer."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.answer = error(
            status, message, param=param, code=code, headers=headers or {}
        )


def error(
    status: int,
    message: str | None = None,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return an error answer; what is not said takes the status' usual words."""
    kind, usual_code, usual = _WORDS.get(status, _OTHER)
    body = {
        "message": message or usual,
        "type": kind,
        "param": param,
        "code": code or usual_code,
    }
    return Answer(
        status=status,
        body=msgspec.json.encode({"error": body}),
        headers=headers or {},
    )
