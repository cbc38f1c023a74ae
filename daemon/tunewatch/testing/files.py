"""The files of the simulated organisation: result files and those put by tests.

Knows which project a result file belongs to. How a content is wrapped on the wire is
told beside it, not done here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunewatch.testing.answers import Problem
from tunewatch.testing.messages import Dialect
from tunewatch.testing.projects import Project


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    plain: bool
    created_at: int


class Files:
    """All files, by id."""

    def __init__(self, dialect: Dialect) -> None:
        self._plain = dialect == "azure"
        self._put: dict[str, _File] = {}
        self._withheld: set[str] = set()

    def put(
        self, file_id: str, content: bytes, *, plain: bool, created_at: int
    ) -> None:
        """Serve a content, to every project, before any other of that id."""
        self._put[file_id] = _File(content, plain, created_at)
        self._withheld.discard(file_id)

    def withhold(self, file_id: str) -> None:
        """Answer 404 for a file, until it is put again."""
        self._withheld.add(file_id)

    def content(self, project: Project, file_id: str, now: float) -> tuple[bytes, bool]:
        """Return the decoded content, and whether it is served plain.

        Raises Problem (404).
        """
        file = self._find(project, file_id, now)
        return file.content, file.plain

    def about(self, project: Project, file_id: str, now: float) -> dict[str, Any]:
        """Return the file object. Raises Problem (404)."""
        file = self._find(project, file_id, now)
        return {
            "object": "file",
            "id": file_id,
            "purpose": "fine-tune-results",
            "filename": "step_metrics.csv",
            "bytes": len(file.content),  # of the decoded text, as the real API counts
            "created_at": file.created_at,
            "expires_at": None,
            "status": "processed",
            "status_details": None,
        }

    def _find(self, project: Project, file_id: str, now: float) -> _File:
        if file_id in self._withheld:
            raise _missing(file_id)
        if file_id in self._put:
            return self._put[file_id]
        jobs, count = project.jobs(now)
        for job in reversed(jobs[:count]):
            found = job.result_file(file_id, now)
            if found is not None:
                return _File(found[0], self._plain, found[1])
        raise _missing(file_id)


def _missing(file_id: str) -> Problem:
    return Problem(404, f"No such File object: {file_id}", param="id")
