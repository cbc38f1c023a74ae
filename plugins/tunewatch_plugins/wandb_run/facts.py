"""What is said of a job in W&B: name, tags, config, summary and rows.

Pure: no client, no I/O. Takes jobs as the provider's own objects, of which any field
may be absent or of a shape nobody expected.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from tunewatch.events import iso
from tunewatch.model import JobStatus, is_said
from tunewatch_plugins.wandb_run.settings import LONGEST_NAME, LONGEST_TAG

STEP = "train_step"
"""The x-axis of every chart: the step of the training."""
POINT = "point"
"""The ordinal of a point within its job; it is W&B's own step as well."""
CANCELLED_CODE = 255  #: the exit code that W&B shows as killed
FAILED_CODE = 1

_ODD_IN_ARTIFACTS = re.compile(r"[^A-Za-z0-9_.-]+")
_ODD_IN_IDS = re.compile(r"[^A-Za-z0-9_.-]")
_OPENAI = "openai:https://api.openai.com"
_CONFIG = (
    "model",
    "training_file",
    "validation_file",
    "method",
    "seed",
    "suffix",
    "metadata",
    "organization_id",
)


class Row(Struct, frozen=True):
    """The values of one metric point, as a line of a run's history."""

    n: int
    step: int
    total_steps: int | None
    values: dict[str, float]


class Server(Struct, frozen=True, kw_only=True):
    """The run of the provider's own W&B integration."""

    run_id: str | None  #: not every answer says it
    tag: str  #: which it has for sure
    project: str
    entity: str | None


def run_id(job_id: str) -> str:
    """Return the id of a job's run: the job's own, if W&B can take it."""
    plain = _ODD_IN_IDS.sub("-", job_id)
    if plain == job_id and len(plain) <= LONGEST_NAME:
        return plain
    mark = hashlib.blake2b(job_id.encode(), digest_size=6).hexdigest()
    return f"{plain[: LONGEST_NAME - len(mark) - 1]}-{mark}"


def name(job: Mapping[str, Any]) -> str:
    """Return what a run is called: the suffix, which people choose, else the id."""
    suffix = job.get("suffix")
    return _text(suffix) or _text(job.get("id")) or "fine-tuning job"


def tags(job: Mapping[str, Any], more: Iterable[str]) -> tuple[str, ...]:
    """Return the tags of a run: those of OpenAI's own integration, and the operator's.

    None is longer than W&B takes.
    """
    model = _text(job.get("model"))
    own = ["openai/fine-tuning", f"openai/{job.get('id')}"]
    own += [f"openai/{model}"] if model else []
    return tuple(dict.fromkeys(tag[:LONGEST_TAG] for tag in (*own, *more)))


def notes(job: Mapping[str, Any], source: str, realm: str) -> str:
    """Return what stands at the top of a run: which job it is, and where it lives."""
    where = link(job, realm)
    told = f"Fine-tuning job {job.get('id')} of source {source} ({realm})."
    return f"{told} {where}" if where else told


def link(job: Mapping[str, Any], realm: str) -> str | None:
    """Return the page of a job at its provider, None where we know of none."""
    if realm != _OPENAI:
        return None
    identifier = quote(str(job.get("id")), safe="")
    return f"https://platform.openai.com/finetune/{identifier}"


def config(job: Mapping[str, Any], source: str, realm: str) -> dict[str, Any]:
    """Return the config of a run, in values that can be filtered by."""
    told = {key: job[key] for key in _CONFIG if is_said(job.get(key))}
    told["hyperparameters"] = hyperparameters(job)
    told["created_at"] = _moment(job.get("created_at"))
    told["job_url"] = link(job, realm)
    told |= {"job_id": job.get("id"), "source": source, "realm": realm}
    return {key: value for key, value in told.items() if is_said(value)}


def hyperparameters(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the training is done with, where a job says it by its method, too.

    What was resolved later wins over `auto`.
    """
    method = job.get("method")
    kind = method.get("type") if isinstance(method, Mapping) else None
    inner = method.get(kind) if isinstance(method, Mapping) and kind else None
    nested = inner.get("hyperparameters") if isinstance(inner, Mapping) else None
    told: dict[str, Any] = {}
    for given in (nested, job.get("hyperparameters")):
        for key, value in given.items() if isinstance(given, Mapping) else ():
            if is_said(value) and not (value == "auto" and key in told):
                told[str(key)] = value
    return told


def outcome(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the summary says of how a job stands."""
    error = job.get("error")
    error = error if isinstance(error, Mapping) else {}
    told = {
        "status": job.get("status"),
        "fine_tuned_model": job.get("fine_tuned_model"),
        "trained_tokens": job.get("trained_tokens"),
        "finished_at": _moment(job.get("finished_at")),
        "error/code": error.get("code"),
        "error/message": error.get("message"),
        "error/param": error.get("param"),
    }
    return {key: value for key, value in told.items() if is_said(value)}


def chosen(selection: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the summary says of the best checkpoint."""
    checkpoint = selection.get("checkpoint") or {}
    return {
        "best/model": checkpoint.get("fine_tuned_model_checkpoint"),
        "best/step": checkpoint.get("step_number"),
        "best/value": selection.get("value"),
        "best/metric": selection.get("metric"),
        "best/decision": selection.get("decision"),
        "best/reason": selection.get("reason"),
    }


def unchosen(selection: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the summary says where none is chosen: nothing is left of before."""
    keys = ("model", "step", "value", "metric")
    told: dict[str, Any] = dict.fromkeys([f"best/{key}" for key in keys])
    why = selection.get("detail") or selection.get("reason")
    return told | {"best/decision": "none", "best/reason": why}


def exit_code(status: str | None) -> int | None:
    """Return the exit code of a job that ended, None if it has not."""
    match JobStatus(status or ""):
        case JobStatus.SUCCEEDED:
            return 0
        case JobStatus.CANCELLED:
            return CANCELLED_CODE
        case JobStatus.FAILED:
            return FAILED_CODE
        case _:
            return None


def columns(values: Mapping[str, float]) -> dict[str, float]:
    """Return values under names that W&B groups by: a grader is a section of charts."""
    return {key.replace(".", "/"): value for key, value in values.items()}


def family(job: Mapping[str, Any]) -> str:
    """Return the name of the model artifacts of a job's kin: suffix and base model."""
    model = _text(job.get("model")) or "model"
    if model.startswith("ft:"):
        model = model.split(":")[1] or "model"
    words = [_text(job.get("suffix")), model]
    return artifact_name("-".join(word for word in words if word))


def artifact_name(text: str) -> str:
    """Return a text as W&B takes it for the name of an artifact."""
    return _ODD_IN_ARTIFACTS.sub("-", text).strip("-")[:LONGEST_NAME] or "unnamed"


def server_side(job: Mapping[str, Any]) -> Server | None:
    """Return the run that the provider itself keeps of a job, if it was asked to."""
    given = job.get("integrations")
    for one in given if isinstance(given, list) else ():
        if not isinstance(one, Mapping) or one.get("type") != "wandb":
            continue
        about = one.get("wandb")
        about = about if isinstance(about, Mapping) else {}
        return Server(
            run_id=_text(about.get("run_id")),
            tag=f"openai/{job.get('id')}",
            project=_text(about.get("project")) or "",
            entity=_text(about.get("entity")),
        )
    return None


def _moment(seconds: object) -> str | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return iso(seconds)
    except (OverflowError, ValueError, OSError):
        return None


def _text(value: object) -> str | None:
    if not isinstance(value, str) or not value.strip():
        return None
    return value.strip()[:LONGEST_NAME]
