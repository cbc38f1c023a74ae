"""Why a question is not answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class NotAnswered(Exception):
    """The question cannot be answered. `reason` is fit for a person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotThere(NotAnswered):
    """What was asked about does not exist, or not any more.

    `parameter` is the one that names it, if it is not what the question is about.
    """

    def __init__(self, reason: str, *, parameter: str | None = None) -> None:
        self.parameter = parameter
        super().__init__(reason)


class Ambiguous(NotAnswered):
    """Several sources know a job of that id; `sources` names them."""

    def __init__(self, reason: str, sources: Sequence[str]) -> None:
        self.sources = sorted(sources)
        super().__init__(reason)


class Mistaken(NotAnswered):
    """Parameters are wrong; `mistakes` says of each what was wanted and found."""

    def __init__(self, mistakes: Mapping[str, str]) -> None:
        self.mistakes = dict(mistakes)
        told = (f"{name}: {text}" for name, text in self.mistakes.items())
        super().__init__("; ".join(told))


class Impossible(NotAnswered):
    """What was asked for cannot be done as things are."""
