"""Which files a model was made of and where it is: references, never contents.

Nothing is fetched or copied. The files are inputs of the run and the model is its
output, so that W&B draws the line from data to model. Logging the same again makes no
new version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tunewatch_plugins.wandb_run import facts

if TYPE_CHECKING:
    import wandb  # heavy: only when a run is opened
    from structlog.typing import FilteringBoundLogger

_INPUTS = (
    ("training_file", "train", "training_files"),
    ("validation_file", "valid", "validation_files"),
)


def all_of(
    run: wandb.Run,
    job: Mapping[str, Any],
    log: FilteringBoundLogger,
    *,
    is_ours: bool,
) -> None:
    """Log the files of a job that settled, and its final model if it has one."""
    if is_ours:
        for key, short, kind in _INPUTS:
            if isinstance(file := job.get(key), str) and file:
                name = facts.artifact_name(f"{short}-{file}")
                made = _reference(name, kind, f"openai://files/{file}", {"file": file})
                _log(run, made, (facts.artifact_name(file),), log, is_input=True)
    if isinstance(model := job.get("fine_tuned_model"), str) and model:
        made = _model(job, model, {"final": True})
        _log(run, made, ("latest", _own(run, job)), log)


def best(
    run: wandb.Run,
    job: Mapping[str, Any],
    checkpoint: Mapping[str, Any],
    log: FilteringBoundLogger,
) -> None:
    """Log the checkpoint that was finally chosen, as the best of its family."""
    model = checkpoint.get("fine_tuned_model_checkpoint")
    if isinstance(model, str) and model:
        about = {
            "step": checkpoint.get("step_number"),
            "metrics": checkpoint.get("metrics"),
        }
        made = _model(job, model, about)
        _log(run, made, ("best", "latest", _own(run, job)), log)


def _model(
    job: Mapping[str, Any], model: str, about: Mapping[str, Any]
) -> wandb.Artifact:
    metadata = {"model": model, "base_model": job.get("model"), "job": job.get("id")}
    metadata["hyperparameters"] = facts.hyperparameters(job)
    uri = f"openai://models/{model}"
    return _reference(facts.family(job), "model", uri, {**metadata, **about})


def _own(run: wandb.Run, job: Mapping[str, Any]) -> str:
    """Return the alias that says of which job a version is."""
    return facts.artifact_name(str(job.get("id") or run.id))


def _reference(
    name: str, kind: str, uri: str, metadata: Mapping[str, Any]
) -> wandb.Artifact:
    import wandb

    made = wandb.Artifact(name=name, type=kind, metadata=dict(metadata))
    made.add_reference(uri, name=uri.rpartition("/")[2].replace(":", "-"))
    return made


def _log(
    run: wandb.Run,
    artifact: wandb.Artifact,
    aliases: Iterable[str],
    log: FilteringBoundLogger,
    *,
    is_input: bool = False,
) -> None:
    """Hand an artifact to the helper, which sends it before the run is finished.

    The public ways ask the server first, and wait for it at length or without limit;
    offline, an input is refused. What they then hand over is this.
    """
    interface = run._interface  # noqa: SLF001 - see above
    if interface is None:
        return
    try:
        artifact.finalize()
        interface.publish_artifact(
            run,
            artifact,
            aliases=list(aliases),
            is_user_created=True,
            use_after_commit=is_input,
        )
    except (ValueError, TypeError) as error:  # a name or metadata that will not do
        log.warning(
            "wandb.artifact_refused", run=run.id, reason=str(error).split("\n")[0][:200]
        )
