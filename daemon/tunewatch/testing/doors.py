"""The doors of simulated APIs: where paths begin, which keys open, how errors look.

A door knows one provider's front and nothing of what is behind it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import msgspec

from tunewatch.testing import ids
from tunewatch.testing.answers import Answer, Problem
from tunewatch.testing.messages import Dialect
from tunewatch.testing.projects import Project, Projects

Scheme = Literal["", "bearer", "api-key"]

_DATED = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_UNDATED = {None, "v1", "preview", "latest"}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request shows at the door."""

    key: str  #: a key or a token, "" if none
    scheme: Scheme  #: the header it came in


class Door(Protocol):
    """One provider's front."""

    def shown(self, headers: Mapping[str, str]) -> Shown:
        """Return the key or token of a request."""
        ...

    def inner(self, path: str, query: Mapping[str, str]) -> tuple[str, ...]:
        """Return the path's parts below the provider's root. Raises Problem."""
        ...

    def opened(self, shown: Shown, path: str, projects: Projects) -> Project:
        """Return the project that is behind it for this key. Raises Problem (401)."""
        ...

    def worded(self, answer: Answer) -> Answer:
        """Return an answer with its error in the provider's shape."""
        ...

    def headers(self, number: str) -> dict[str, str]:
        """Return the headers that only this provider sends, for a request's number."""
        ...


def door_of(dialect: Dialect) -> Door:
    """Return the door of a dialect."""
    return AzureDoor() if dialect == "azure" else OpenAIDoor()


class OpenAIDoor:
    """`/v1`, a bearer key, and the errors as the endpoints word them."""

    def shown(self, headers: Mapping[str, str]) -> Shown:
        """See `Door`."""
        return _bearer(headers)

    def inner(self, path: str, query: Mapping[str, str]) -> tuple[str, ...]:
        """See `Door`."""
        del query
        parts = _parts(path)
        return parts[1:] if parts[:1] == ("v1",) else parts

    def opened(self, shown: Shown, path: str, projects: Projects) -> Project:
        """See `Door`."""
        del path
        if not shown.key:
            raise Problem(401, "You didn't provide an API key.", code="missing_key")
        project = projects.opened_by(shown.key)
        if project is None:
            said = "Revoked" if projects.is_revoked(shown.key) else "Incorrect"
            raise Problem(401, f"{said} API key provided: {_masked(shown.key)}.")
        return project

    def worded(self, answer: Answer) -> Answer:
        """See `Door`."""
        return answer

    def headers(self, number: str) -> dict[str, str]:
        """See `Door`."""
        return {"x-request-id": f"req_{number}", "openai-version": "2020-10-01"}


class AzureDoor:
    """`/openai` with a dated version or `/openai/v1`, also below a Foundry project.

    A key comes as `api-key`, a token of Entra ID as bearer; `/openai/v1` takes a key
    as bearer too, as OpenAI's own client sends it.
    """

    def shown(self, headers: Mapping[str, str]) -> Shown:
        """See `Door`."""
        key = headers.get("api-key", "")
        return Shown(key, "api-key") if key else _bearer(headers)

    def inner(self, path: str, query: Mapping[str, str]) -> tuple[str, ...]:
        """See `Door`."""
        parts, version = _below_project(path), query.get("api-version")
        if parts[:2] == ("openai", "v1") and version in _UNDATED:
            return parts[2:]
        if parts[:2] == ("openai", "v1"):
            raise Problem(400, "API version not supported", code="BadRequest")
        if parts[:1] == ("openai",) and _DATED.fullmatch(version or ""):
            return parts[1:]
        raise Problem(404, "Resource not found")

    def opened(self, shown: Shown, path: str, projects: Projects) -> Project:
        """See `Door`."""
        is_v1 = _below_project(path)[:2] == ("openai", "v1")
        is_token = projects.is_token(shown.key)
        takes = is_token or is_v1 if shown.scheme == "bearer" else not is_token
        project = projects.opened_by(shown.key) if takes else None
        if project is None and shown.scheme == "bearer":
            raise Problem(
                401,
                "Unauthorized. Access token is missing, invalid, audience is incorrect "
                "(https://cognitiveservices.azure.com), or have expired.",
            )
        if project is None:
            raise Problem(
                401,
                "Access denied due to invalid subscription key or wrong API endpoint. "
                "Make sure to provide a valid key for an active subscription and use a "
                "correct regional API endpoint for your resource.",
            )
        return project

    def worded(self, answer: Answer) -> Answer:
        """See `Door`: a code, which mostly is the status again, and a message."""
        if answer.status < 400:
            return answer
        said = msgspec.json.decode(answer.body)["error"]
        code = said["code"] if said["code"] == "BadRequest" else str(answer.status)
        body = {"error": {"code": code, "message": said["message"]}}
        return replace(answer, body=msgspec.json.encode(body))

    def headers(self, number: str) -> dict[str, str]:
        """See `Door`."""
        return {"apim-request-id": number, "x-ms-region": "Sweden Central"}


def request_number(seed: str, number: int) -> str:
    """Return what names the n-th request of a simulation."""
    return ids.hexadecimal(seed, "request", number)


def _bearer(headers: Mapping[str, str]) -> Shown:
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    return Shown(key, "bearer") if scheme == "Bearer" and key else Shown("", "")


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)


def _below_project(path: str) -> tuple[str, ...]:
    parts = _parts(path)
    return parts[3:] if parts[:2] == ("api", "projects") else parts


def _masked(key: str) -> str:
    """Return a key as the real API repeats it: its ends are readable."""
    return f"{key[:7]}{'*' * max(3, len(key) - 11)}{key[-4:]}"
