"""Where `tunewatch check` puts what it finds."""

from __future__ import annotations

from typing import Protocol


class Told(Protocol):
    """Where findings go: `check_command.Report`."""

    def well(self, what: str, found: str) -> None:
        """Note that something is as it should be."""
        ...

    def note(self, what: str, found: str) -> None:
        """Note what is no fault."""
        ...

    def wrong(self, what: str, found: str, code: int) -> None:
        """Note that something is not as it should be."""
        ...
