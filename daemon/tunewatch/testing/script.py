"""What a simulated job is going to do: the whole of it, decided beforehand.

A script holds wishes, not times: `lives` turns them into moments. It refuses what
cannot be acted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Method = Literal["supervised", "dpo", "reinforcement"]
Shape = Literal["converge", "overfit", "diverge", "flat", "noisy"]
Outcome = Literal[
    "succeeded",
    "failed",  # in mid-run
    "cancelled",  # in mid-run
    "paused",  # in mid-run, for ever, unless resumed by a request
    "invalid_training_file",  # while validating: no finished_at
    "invalid_n_examples",  # the same
    "moderation",  # after the last step: the result is blocked
]

BASE_MODELS: dict[str, str] = {
    "supervised": "gpt-4.1-mini-2025-04-14",
    "dpo": "gpt-4.1-nano-2025-04-14",
    "reinforcement": "o4-mini-2025-04-16",
}
_SECONDS_PER_STEP = {"supervised": 15.0, "dpo": 18.0, "reinforcement": 150.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One job's life and looks. Times are simulated seconds.

    What is None is drawn from the simulation's seed and the job's number.
    """

    project: str = "default"
    method: Method = "supervised"
    curve: Shape = "converge"
    outcome: Outcome = "succeeded"
    model: str | None = None  #: the base model; None: the usual one of the method
    suffix: str | None = None
    metadata: Mapping[str, str] | None = None
    epochs: int = 3
    steps: int = 90
    validation: bool = True
    validate_every: int = 10  #: steps between valid_* values; epoch ends always have
    start: float | None = None  #: unix seconds, simulated; None: now
    validating: float | None = None
    queueing: float | None = None
    seconds_per_step: float | None = None
    at: float = 0.5  #: the part of the steps done when a mid-run outcome strikes
    pause_at: float | None = None  #: the part of the steps done at a pause
    pause_for: float | None = None  #: None: until a request resumes it
    full_valid_in_checkpoints: bool = False  #: as at Azure; OpenAI's have none
    checkpoints_while_running: bool = True  #: else they are listed at the end
    moderation_checks: bool = False  #: an event of that type before the end
    seed: int | None = None  #: the job's own `seed` field
    job_id: str | None = None
    training_file: str | None = None
    validation_file: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    integrations: tuple[Mapping[str, Any], ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)  #: laid over the job
    metrics: Mapping[str, Any] = field(default_factory=dict)  #: into every step's data
    metrics_as_text: bool = False  #: steps have no data, as in older versions of Azure

    @classmethod
    def wished(cls, project: str, wishes: Mapping[str, Any]) -> Script:
        """Return the script of a job that a request describes.

        Raises ValueError for a method that cannot be acted.
        """
        method = wishes.get("method") or {"type": "supervised"}
        about = method.get(method["type"]) or {}
        hyper = (wishes.get("hyperparameters") or {}) | (
            about.get("hyperparameters") or {}
        )
        numbers = {name: value for name, value in hyper.items() if value != "auto"}
        epochs = int(numbers.get("n_epochs", 3))
        return cls(
            project=project,
            method=method["type"],
            model=wishes["model"],
            training_file=wishes["training_file"],
            validation_file=wishes.get("validation_file"),
            validation=bool(wishes.get("validation_file")),
            suffix=wishes.get("suffix"),
            seed=wishes.get("seed"),
            metadata=wishes.get("metadata"),
            integrations=tuple(wishes.get("integrations") or ()),
            hyperparameters=numbers,
            epochs=epochs,
            steps=30 * epochs,
        )

    def __post_init__(self) -> None:
        _one_of("method", self.method, get_args(Method))
        _one_of("curve", self.curve, get_args(Shape))
        _one_of("outcome", self.outcome, get_args(Outcome))
        if not 1 <= self.epochs <= self.steps:
            raise ValueError(
                f"epochs, steps: wanted 1 <= epochs <= steps, "
                f"found {self.epochs} and {self.steps}"
            )
        for name, part in (("at", self.at), ("pause_at", self.pause_at)):
            if part is not None and not 0 <= part <= 1:
                raise ValueError(f"{name}: wanted a part in [0, 1], found {part}")

    @property
    def base_model(self) -> str:
        """The base model's name."""
        return self.model or BASE_MODELS[self.method]

    @property
    def per_step(self) -> float:
        """Simulated seconds one step takes."""
        if self.seconds_per_step is not None:
            return self.seconds_per_step
        return _SECONDS_PER_STEP[self.method]

    @property
    def epoch_ends(self) -> tuple[int, ...]:
        """The last step of each epoch, rising."""
        return tuple(
            round(self.steps * epoch / self.epochs)
            for epoch in range(1, self.epochs + 1)
        )

    @property
    def fails_validation(self) -> bool:
        """Whether the job ends before it is queued."""
        return self.outcome in {"invalid_training_file", "invalid_n_examples"}


def _one_of(name: str, found: str, wanted: tuple[str, ...]) -> None:
    if found not in wanted:
        raise ValueError(f"{name}: wanted one of {', '.join(wanted)}, found {found!r}")
