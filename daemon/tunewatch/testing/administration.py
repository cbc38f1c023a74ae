"""What an admin key may ask: the projects of the organisation, and nothing of jobs.

Knows paths, pages and error words; which projects there are is `projects`' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from tunewatch.testing.answers import Answer, Problem
from tunewatch.testing.pages import Cut, cut, named_envelope
from tunewatch.testing.projects import Project
from tunewatch.testing.served import given

if TYPE_CHECKING:
    # The simulated API owns the server; the server looks back at its state.
    from tunewatch.testing.api import SimulatedApi

ROOT = "organization"
"""The first part of every path in here."""
_MOST = 100


class Administration:
    """Answers for one simulated API."""

    def __init__(self, api: SimulatedApi) -> None:
        self._api = api

    def answer(
        self, method: str, path: tuple[str, ...], query: Mapping[str, str], key: str
    ) -> Answer:
        """Return the true answer. Raises Problem."""
        if key not in self._api.admin_keys:
            raise Problem(
                401,
                "You have insufficient permissions for this operation. Missing scopes: "
                "api.management.read.",
                code="invalid_api_key",
            )
        match method, path:
            case "GET", ("organization", "projects"):
                return Answer(body=self._projects(query))
            case "GET", ("organization", "projects", project_id):
                return Answer(body=msgspec.json.encode(self._object(project_id)))
        raise Problem(404, f"Invalid URL ({method} /{'/'.join(path)})")

    def _projects(self, query: Mapping[str, str]) -> bytes:
        with_archived = query.get("include_archived", "false").lower() == "true"
        listed = [one for one in self._api.projects if one.is_listed]
        shown = [one for one in listed if with_archived or one.archived_at is None]
        items = [given(_object(one)) for one in shown]
        positions = {item.id: place for place, item in enumerate(items)}
        page = cut(len(items), _wanted(query, self._api.largest_page), positions.get)
        return named_envelope(page.of(items), has_more=page.has_more)

    def _object(self, project_id: str) -> dict[str, Any]:
        for one in self._api.projects:
            if one.is_listed and one.id == project_id:
                return _object(one)
        raise Problem(404, f"Project {project_id} not found.", code="not_found")


def _wanted(query: Mapping[str, str], largest: int | None) -> Cut:
    asked = query.get("limit", "20")
    if not asked.isdecimal() or not 1 <= int(asked) <= _MOST:
        wanted = f"wanted a whole number from 1 to {_MOST}, found '{asked}'"
        raise Problem(400, f"Invalid 'limit': {wanted}.", param="limit")
    limit = min(int(asked), largest or _MOST)
    return Cut(limit=limit, after=query.get("after"))


def _object(project: Project) -> dict[str, Any]:
    archived_at = project.archived_at
    return {
        "id": project.id,
        "object": "organization.project",
        "name": project.title or project.name,
        "created_at": project.created_at,
        "archived_at": archived_at,
        "status": "active" if archived_at is None else "archived",
    }
