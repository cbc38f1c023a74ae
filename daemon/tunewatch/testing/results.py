"""The result file of a scripted job: CSV with the columns of its provider.

OpenAI's have five decimals, blank fields where a step was not validated, and name the
training accuracy otherwise than the events do. Knows nothing of how it is served.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tunewatch.testing.azure_jobs import FILE_LAG, reported_steps
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


def result_csv(job: ScriptedJob, now: float) -> bytes:
    """Return the file of a moment.

    OpenAI's is whole and has a row for every step; Azure's grows, and has a row for
    every step that is told of.
    """
    azure = job.dialect == "azure"
    columns = _AZURE if azure else _OPENAI
    if job.script.method == "reinforcement":
        columns = _REWARDS
    steps: Iterable[int] = range(1, job.script.steps + 1)
    if azure:
        told, moment_of = reported_steps(job.script), job.life.moment_of
        steps = [step for step in told if moment_of(step) + FILE_LAG <= now]
    return "\n".join(_rows(job, columns, steps, exact=azure)).encode() + b"\n"


def _rows(
    job: ScriptedJob, columns: dict[str, str], steps: Iterable[int], *, exact: bool
) -> Iterator[str]:
    yield ",".join(("step", *columns))
    for step in steps:
        values = job.curve.values(step)
        row = [values.get(name) for name in columns.values()]
        yield ",".join((str(step), *(_field(value, exact=exact) for value in row)))


def _field(value: float | None, *, exact: bool) -> str:
    if value is None:
        return ""
    return repr(value) if exact else repr(round(value, 5))
