"""The result file of a scripted job: CSV with the columns of its provider.

OpenAI's have five decimals, blank fields where a step was not validated, and name the
training accuracy otherwise than the events do. Knows nothing of how it is served.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunewatch.testing.scripted import ScriptedJob

_OPENAI = {
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}
_AZURE = {
    name: name
    for name in (
        "train_loss",
        "train_mean_token_accuracy",
        "valid_loss",
        "valid_mean_token_accuracy",
        "full_valid_loss",
        "full_valid_mean_token_accuracy",
    )
}
_REWARDS = {
    name: name
    for name in (
        "train_mean_reward",
        "full_valid_mean_reward",
        "completion_tokens_mean",
        "reasoning_tokens_mean",
        "mean_unresponsive_rewards",
    )
}


def result_csv(job: ScriptedJob) -> bytes:
    """Return the whole file: one row for every step."""
    azure = job.dialect == "azure"
    columns = _AZURE if azure else _OPENAI
    if job.script.method == "reinforcement":
        columns = _REWARDS
    return "\n".join(_rows(job, columns, exact=azure)).encode() + b"\n"


def _rows(job: ScriptedJob, columns: dict[str, str], *, exact: bool) -> Iterator[str]:
    yield ",".join(("step", *columns))
    for step in range(1, job.script.steps + 1):
        values = job.curve.values(step)
        row = [values.get(name) for name in columns.values()]
        yield ",".join((str(step), *(_field(value, exact=exact) for value in row)))


def _field(value: float | None, *, exact: bool) -> str:
    if value is None:
        return ""
    return repr(value) if exact else repr(round(value, 5))
