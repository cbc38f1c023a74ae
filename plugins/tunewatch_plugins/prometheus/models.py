"""Names of base models as labels: the root of each, and not too many of them.

Knows names only.
"""

from __future__ import annotations

from tunewatch.plugin import root_model

MOST = 50
"""Different base models shown; a bound on series whatever users fine-tune."""

OTHER = "other"
UNKNOWN = "unknown"


class ShownModels:
    """The first so many root models that came along; later ones are `other`.

    A name keeps its place as long as the process lives, so that no series changes its
    meaning between two scrapes.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._shown: set[str] = {OTHER, UNKNOWN}

    def label(self, model: str | None) -> str:
        """Return the label's value for a model's name."""
        root = root_model(model) or UNKNOWN
        if root in self._shown:
            return root
        if len(self._shown) - 2 >= self._most:
            return OTHER
        self._shown.add(root)
        return root
