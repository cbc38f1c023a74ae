"""The texts of event lists, word for word as providers write them.

Knows no time and no JSON. Texts of failures, cancellations and pauses were never
published; those here are made up and marked so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Dialect = Literal["openai", "azure"]

_MADE_UP = {
    "cancelled": "The fine-tuning job was cancelled",
    "paused": "The fine-tuning job was paused",
    "resumed": "The fine-tuning job was resumed",
}
_OPENAI = {
    **_MADE_UP,
    "created": "Created fine-tuning job: {id}",
    "validating": "Validating training file: {training_file}{and_validation_file}",
    "validated": "Files validated, moving job to queued state",
    "started": "Fine-tuning job started",
    "checkpoint": "Checkpoint created at step {step} with Snapshot ID: {model}",
    "model": "New fine-tuned model created: {model}",
    "moderation": "Moderation checks for snapshot {model} {verdict}.",
    "completed": "The job has successfully completed",
    "failed": "{error}",
}
_AZURE = {
    **_MADE_UP,
    "created": "Job enqueued. Waiting for jobs ahead to complete.",
    "validating": "Preprocessing running for file training file.",
    "validated": "Preprocessing completed for file training file.",
    "validated_too": "Preprocessing completed for file validation file.",
    "started": "Job started.",
    "importing": "Data Import started.",
    "finetuning": "Finetuning started.",
    "waiting": "Job queued, waiting for GPUs.",
    "training": "Training started.",
    "results": "Created results file: {result_file}",
    "succeeded": "Job succeeded.",
    "evaluated": "Model Evaluation Passed.",
    "completed": "Completed results file: {result_file}",
    "postprocessing": "Postprocessing started.",
    "billed": "Training tokens billed: {trained_tokens}",
    "billed_hours": "Training hours billed: {hours:.3f}",
    "failed": "{error}",
}
ERRORS = {
    "invalid_training_file": (
        "The job failed due to an invalid training file. Invalid file format. "
        "Line 14, key `messages`: expected a list of messages."
    ),
    "invalid_n_examples": (
        "Training file has 7 example(s), but must have at least 10 examples"
    ),
    "failed": "The job failed due to an internal error. Please try again.",
    "moderation": (
        "The fine-tuned model was blocked because it did not pass our safety checks."
    ),
}
"""What a failed job says of itself, by outcome."""


def message(dialect: Dialect, kind: str, facts: Mapping[str, Any]) -> str:
    """Return the text of an entry of that kind; facts fill its places."""
    texts = _OPENAI if dialect == "openai" else _AZURE
    return texts[kind].format_map(facts)


def step_message(
    dialect: Dialect, data: Mapping[str, Any], step: int, steps: int
) -> str:
    """Return the text that goes with the metrics of a step."""
    if "train_mean_reward" in data:
        return _reward_message(data, step, steps)
    if dialect == "azure":
        return f"Step {step}: training loss={_exact(data['train_loss'])}"
    said = [f"training loss={data['train_loss']:.2f}"]
    if "valid_loss" in data:
        said.append(f"validation loss={data['valid_loss']:.2f}")
    if "full_valid_loss" in data:
        said.append(f"full validation loss={data['full_valid_loss']:.2f}")
    return f"Step {step}/{steps}: {', '.join(said)}"


def _reward_message(data: Mapping[str, Any], step: int, steps: int) -> str:
    said = [f"train mean reward={data['train_mean_reward']:.2f}"]
    if "full_valid_mean_reward" in data:
        errors = data["full_valid_mean_parse_error"]
        said += [
            f"full validation mean reward={data['full_valid_mean_reward']:.2f}",
            f"full validation mean parse error={errors:.2f}",
        ]
    # The space before the comma is the provider's.
    return f"Step {step}/{steps} , {', '.join(said)}"


def _exact(loss: float) -> str:
    """Return all digits, the exponent as C# prints it (`3.8E-06`)."""
    return repr(loss).upper()
