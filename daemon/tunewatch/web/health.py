"""What the probes ask: whether the loops make progress, and how each part is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import UNSET, Struct, UnsetType, field

from tunewatch.api.answers import PartState


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether this replica does its work, and how each part of it is."""

    ready: bool
    reasons: Sequence[str] = ()  #: why it is not
    store: PartState | None = None
    sources: Mapping[str, PartState] = field(default_factory=dict)
    plugins: Mapping[str, PartState] = field(default_factory=dict)
    organizations: Mapping[str, PartState] = field(default_factory=dict)
    web_config: PartState | UnsetType = UNSET  #: only where there is such a file


class Health(Protocol):
    """What the daemon knows about itself. Answers at once, from memory."""

    def live(self) -> Sequence[str]:
        """Return which loops make no progress; empty if all do.

        Never depends on a provider or the database: a restart would not help them.
        """
        ...

    def ready(self) -> Readiness:
        """Return how each part is. A provider that is away is no reason not to be."""
        ...
