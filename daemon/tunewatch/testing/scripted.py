"""One job that follows its script: the object it shows at a moment.

Knows the shape of the provider's job object and when its fields change. Knows no
HTTP, no list and no cache; its events and checkpoints are made in `entries` and
`checkpoints`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tunewatch.testing import ids
from tunewatch.testing.azure_jobs import LONG_AFTER, as_azure, azure_status
from tunewatch.testing.curves import LossCurve
from tunewatch.testing.lives import RESULTS, Act, Life, live, pace_of
from tunewatch.testing.messages import ERRORS, Dialect
from tunewatch.testing.rewards import RewardCurve
from tunewatch.testing.script import Script

_EVERYTHING_DECIDED = 0.6  # the part of validation after which "auto" are numbers
_TOKENS_PER_STEP = 1264


@dataclass(kw_only=True)
class ScriptedJob:
    """A job whose every answer follows from script, seed, requests and moment."""

    script: Script
    start: float  #: simulated unix time of its creation
    seed: str  #: unlike that of any other job
    dialect: Dialect
    organization: str
    stamp: Callable[[float], int]  #: simulated time to the unix seconds of answers
    acts: list[Act] = field(default_factory=list)

    def __post_init__(self) -> None:
        script, seed = self.script, self.seed
        azure = self.dialect == "azure"
        dashes = ids.hexadecimal if azure else ids.token
        self.id = script.job_id or f"ftjob-{dashes(seed, 'job')}"
        self.training_file = script.training_file or f"file-{dashes(seed, 'train')}"
        self.validation_file = script.validation_file
        if self.validation_file is None and script.validation:
            self.validation_file = f"file-{dashes(seed, 'valid')}"
        self.result_file = f"file-{dashes(seed, 'results')}"
        self.trained_tokens = script.steps * _TOKENS_PER_STEP
        self.curve: LossCurve | RewardCurve
        reinforced = script.method == "reinforcement"
        self.curve = (RewardCurve if reinforced else LossCurve)(seed, script)
        self._pace = pace_of(script, seed)
        self.life: Life
        self._relive()

    def act(self, act: Act) -> None:
        """Take a request that steers the job; what was before it stays."""
        self.acts.append(act)
        self._relive()

    def _relive(self) -> None:
        self.life = live(self.script, self.start, self._pace, self.acts)
        life, settled = self.life, self._decided
        moments = {self.start, settled, *(phase.at for phase in life.phases)}
        if life.ended is not None:
            moments.add(life.ended + RESULTS)
        self.changes = sorted(moments)

    @property
    def _decided(self) -> float:
        return self.start + _EVERYTHING_DECIDED * self._pace.validating

    @property
    def settles_at(self) -> float | None:
        """When the last late event was told, None if the job never ends."""
        ended = self.life.ended
        return None if ended is None else ended + 40

    def has_succeeded(self, now: float) -> bool:
        """Whether the job is a success by now."""
        return self.life.status(now) == "succeeded"

    def model_name(self, step: int | None = None) -> str:
        """Return the name of the final model, or of the one saved at a step."""
        base, suffix = self.script.base_model, self.script.suffix or ""
        if self.dialect == "azure":
            name = f"{base}.ft-{self.id.removeprefix('ftjob-')}"
            name += f"-{suffix}" if suffix else ""
            return name if step is None else f"{name}:ckpt-step-{step}"
        snapshot = ids.token(self.seed, "model", step, length=8)
        root = base.split(":")[1] if base.startswith("ft:") else base
        name = f"ft:{root}:{self.organization}:{suffix}:{snapshot}"
        return name if step is None else f"{name}:ckpt-step-{step}"

    def result_files(self, now: float) -> list[str]:
        """Return the result file's id once there is one."""
        ended = self.life.ended
        if ended is not None and self.has_succeeded(now) and now >= ended + RESULTS:
            return [self.result_file]
        # Azure names the file when training begins and fills it as the run goes.
        has_begun = any(stretch.start <= now for stretch in self.life.stretches)
        return [self.result_file] if self.dialect == "azure" and has_begun else []

    def fields(self, now: float) -> dict[str, Any]:
        """Return the job object as it is at a moment."""
        status, ended, script = self.life.status(now), self.life.ended, self.script
        over = ended is not None and ended <= now and not script.fails_validation
        won = status == "succeeded"
        job: dict[str, Any] = {
            "object": "fine_tuning.job",
            "id": self.id,
            "model": script.base_model,
            "created_at": self.stamp(self.start),
            "finished_at": self.stamp(ended) if over and ended is not None else None,
            "fine_tuned_model": self.model_name() if won else None,
            "organization_id": f"org-{ids.token(self.organization)}",
            "result_files": self.result_files(now),
            "status": status,
            "validation_file": self.validation_file,
            "training_file": self.training_file,
            "hyperparameters": None,
            "trained_tokens": self.trained_tokens if won else None,
            "error": self._error() if status == "failed" else None,
            "user_provided_suffix": script.suffix,
            "seed": self._seed_field(),
            "estimated_finish": self._estimated_finish(now),
            "integrations": list(script.integrations),
            "metadata": None if script.metadata is None else dict(script.metadata),
            "usage_metrics": None,
            "shared_with_openai": False,
        }
        self._add_method(job, now)
        if self.dialect == "azure":
            shown = azure_status(self.life.phases, now)
            as_azure(job, status=shown, estimate=self._far_estimate(now))
        return job | dict(script.fields)

    def _seed_field(self) -> int:
        given = self.script.seed
        return ids.whole(self.seed, "seed", below=2**31) if given is None else given

    def _error(self) -> dict[str, str | None]:
        outcome = self.script.outcome
        code = {"failed": "server_error", "moderation": "failed_safety_checks"}
        param = "training_file" if self.script.fails_validation else None
        return {
            "code": code.get(outcome, outcome),
            "message": ERRORS[outcome],
            "param": param,
        }

    def _estimated_finish(self, now: float) -> int | None:
        if self.life.status(now) != "running":
            return None
        begun = [stretch for stretch in self.life.stretches if stretch.start <= now]
        left = self._pace.work_of(self.script.steps) - begun[-1].done
        return self.stamp(begun[-1].start + left)

    def _far_estimate(self, now: float) -> int | None:
        """Return Azure's estimate: given when training begins, and never renewed."""
        begun = [stretch for stretch in self.life.stretches if stretch.start <= now]
        return self.stamp(begun[0].start) + LONG_AFTER if begun else None

    def _add_method(self, job: dict[str, Any], now: float) -> None:
        method, decided = self.script.method, now >= self._decided
        given: dict[str, Any] = {
            "n_epochs": self.script.epochs,
            "batch_size": 1 + ids.whole(self.seed, "batch", below=4),
            "learning_rate_multiplier": 1.8,
        }
        if method == "dpo":
            given["beta"] = 0.1
        if method == "reinforcement":
            given |= {"compute_multiplier": 1.0, "eval_interval": 4, "eval_samples": 2}
            given["reasoning_effort"] = "medium"
        if not decided:
            given = dict.fromkeys(given, "auto")
        given |= self.script.hyperparameters
        # Preference and reinforcement jobs say them under their method only.
        if method == "supervised":
            job["hyperparameters"] = given
        about: dict[str, Any] = {"hyperparameters": given}
        if method == "reinforcement":
            about["grader"] = {
                "type": "string_check",
                "name": "format_check",
                "input": "{{sample.output_text}}",
                "reference": "{{item.label}}",
                "operation": "eq",
            }
        job["method"] = {"type": method, method: about}
