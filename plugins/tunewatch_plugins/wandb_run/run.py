"""One open run: takes news of its job, each once, and ends as the job did.

W&B's own step is the ordinal of the point, which rises whatever the training step does:
so the server itself says how far a run got, and no row is ever too late. Blocking, and
for one thread at a time; knows nothing of other runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tunewatch.model import JobStatus
from tunewatch_plugins.wandb_run import artifacts, facts
from tunewatch_plugins.wandb_run.ending import finish
from tunewatch_plugins.wandb_run.news import Line, News
from tunewatch_plugins.wandb_run.transaction_log import HEARD

if TYPE_CHECKING:
    import wandb  # heavy: only when a run is opened
    from structlog.typing import FilteringBoundLogger


@dataclass(slots=True, kw_only=True)
class OpenRun:
    """A run of W&B's that is open."""

    run: wandb.Run
    source: str
    log: FilteringBoundLogger
    alerts: tuple[str, ...] = ()
    is_ours: bool = True  #: else it is the provider's: no rows, no config
    helper: int = 0  #: which of the client's helpers holds it
    may_log_artifacts: bool = True
    has_artifacts: bool = False  #: and they are with the helper
    taken: int = 0  #: the highest ordinal it has
    heard: int = 0  #: the sequence of the last message in its log
    job: dict[str, Any] = field(default_factory=dict)
    status: str | None = None
    settled: bool = False
    _best: Mapping[str, Any] | None = None  #: the checkpoint that is an artifact
    _newest: dict[str, tuple[int, float]] = field(default_factory=dict)
    _config: dict[str, Any] = field(default_factory=dict)

    def describe(self, name: str, tags: Iterable[str], notes: str) -> None:
        """Name a run that is new. What people changed since is theirs."""
        # The training step is the x-axis; the ordinal tells repeats and is no chart.
        for hidden in (facts.STEP, facts.POINT):
            self.run.define_metric(hidden, hidden=True)
        self.run.define_metric("*", step_metric=facts.STEP)
        if not self.is_ours or self.run.tags:
            return
        self.run.name = name
        self.run.notes = notes
        self.run.tags = tuple(tags)

    def take(self, news: News) -> None:
        """Let the run be as the news say."""
        if self.is_ours:
            self._append(news)
            if news.line is not None:
                self.tell([news.line])
        if not self._is_outdated(news):
            self._follow(news)
        if news.ended is not None:
            self._alert(news.ended)

    def leave(self, now: News) -> None:
        """Let the summary be as the store knows it, of a run that another writes now.

        Its end sends the whole summary, which would take back what came since. Rows,
        lines and artifacts are the other's.
        """
        self.may_log_artifacts = False
        for row in now.rows:
            self._outdated(row)
        newest = {key: value for key, (_, value) in self._newest.items()}
        if now.rows and self.is_ours:
            last = now.rows[-1]
            self._summarise({**newest, facts.STEP: last.step, facts.POINT: last.n})
        self._follow(now)

    def _follow(self, news: News) -> None:
        if news.settled is not None:
            self.settled = news.settled
        if news.status is not None:
            self.status = news.status
            self._summarise({"status": news.status})
        if news.job is not None:
            self._learn(news.job, news.realm)
        if news.best is not None:
            self._summarise(news.best)
        if self.may_log_artifacts and (news.checkpoint is not None or news.settled):
            self._log_artifacts(news.checkpoint)

    def _log_artifacts(self, checkpoint: Mapping[str, Any] | None) -> None:
        if self.has_artifacts and checkpoint == self._best:
            return  # as the store told when the run was opened
        self.has_artifacts, self._best = True, checkpoint
        if checkpoint is not None:
            artifacts.best(self.run, self.job, checkpoint, self.log)
        else:
            artifacts.all_of(self.run, self.job, self.log, is_ours=self.is_ours)

    def _is_outdated(self, news: News) -> bool:
        """Whether the store was ahead of these news when the run was opened.

        Then they say how things stood before: rows and messages count, the rest is
        older than what the run tells already.
        """
        if self.settled:
            return not (news.concludes or news.reopens)
        ended = JobStatus(self.status or "").is_terminal
        is_older = not JobStatus(news.status or "").is_terminal
        return ended and is_older and not news.reopens

    def tell(self, lines: Iterable[Line]) -> None:
        """Write messages into the log, but those that it has."""
        for line in lines:
            if line.sequence > self.heard:
                self.run.write_logs(line.text)
                self.heard = line.sequence
                self._summarise({HEARD: line.sequence})

    def finish(self, *, within: float) -> None:
        """Close it; return when W&B has all of it. Raises TimeoutError.

        A job that goes on leaves a run that is to be resumed, not one that ended well.
        """
        code = facts.exit_code(self.status)
        if code is None:
            if self.is_ours:
                self.run.mark_preempting()
            code = 1
        finish(self.run, code, within=within)

    def _learn(self, job: Mapping[str, Any], realm: str) -> None:
        self.job = dict(job)
        if self.is_ours:
            config = facts.config(job, self.source, realm)
            changed = {
                key: value
                for key, value in config.items()
                if self._config.get(key) != value
            }
            if changed:
                self.run.config.update(changed, allow_val_change=True)  # type: ignore[no-untyped-call]
                self._config.update(changed)
        # `status` is the event's: the object may be the younger of the two.
        told = facts.outcome(job)
        told.pop("status", None)
        self._summarise(told)

    def _append(self, news: News) -> None:
        overtaken: dict[str, float] = {}
        total = next((row.total_steps for row in reversed(news.rows)), None)
        if total is not None:
            self._summarise({"total_steps": total})
        for row in news.rows:
            overtaken |= self._outdated(row)
            if row.n > self.taken:
                line = {facts.STEP: row.step, facts.POINT: row.n, **row.values}
                self.run.log(line, step=row.n, commit=True)
                self.taken = row.n
        # The summary shows the value of the highest step, not the one logged last.
        if overtaken:
            self._summarise(overtaken)

    def _outdated(self, row: facts.Row) -> dict[str, float]:
        """Note a row; return the newer values that it hides in the summary."""
        newer: dict[str, float] = {}
        for key, value in row.values.items():
            step, kept = self._newest.get(key, (row.step, value))
            if step > row.step:
                newer[key] = kept
            else:
                self._newest[key] = (row.step, value)
        return newer

    def _summarise(self, told: Mapping[str, Any]) -> None:
        if told:
            self.run.summary.update(dict(told))

    def _alert(self, ended: JobStatus) -> None:
        if ended.value not in self.alerts:
            return
        error = self.job.get("error") or {}
        why = error.get("message") or error.get("code") or "the provider says no more"
        called = facts.name(self.job)[:40]
        identifier = self.job.get("id")
        self.run.alert(
            title=f"Fine-tuning {ended.value}: {called}"[:63],
            text=f"{identifier} of source {self.source}: {why}",
            level="ERROR" if ended is JobStatus.FAILED else "WARN",
        )
