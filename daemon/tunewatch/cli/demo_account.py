"""What a demonstration's receiver hears, told to a person in lines of 100 columns.

One line for an event on stdout, its reason below on stderr, and a table at the end. It
knows events as they come over the wire, and nothing of the daemon that sent them.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from tunewatch.cli.output import print_table, text_of

if TYPE_CHECKING:
    from tunewatch.testing import Received  # only --help should not pay for it

WIDTH = 100  #: columns, if the terminal has as many
INDENT = " " * 9
QUARTERS = 4  #: lines about the training of a job, at the most
COLOURS = {
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
    "paused": "yellow",
    "final": "green",
    "none": "yellow",
}


@dataclass(slots=True)
class Story:
    """What is known of one job."""

    name: str
    status: str = "-"
    settled: bool = False
    selected: dict[str, Any] | None = None
    unselected: dict[str, Any] | None = None
    quarter: int = -1  #: of its steps, that was told last

    def row(self, short: str) -> tuple[str, str, str, int | None, float | None, str]:
        """Return it as a line of the table at the end."""
        about = self.selected or {}
        step = (about.get("checkpoint") or {}).get("step_number")
        # One word of "validating_files" says it, and leaves room for the reason.
        status = self.status.partition("_")[0]
        return self.name, short, status, step, about.get("value"), self._why()

    def _why(self) -> str:
        if self.selected is not None:
            return _in_short(self.selected)
        if self.unselected is not None:
            return str(self.unselected.get("reason"))
        return "settling" if self.status in ("succeeded", "failed") else "still going"


@dataclass(slots=True)
class Account:
    """Tells as it hears; `hear` is the receiver's."""

    stories: dict[str, Story] = field(default_factory=dict)
    verified: int = 0
    refused: int = 0
    began: float = field(default_factory=time.monotonic)

    def hear(self, received: Received) -> None:
        """Tell of one request: what it said, or why it was not believed."""
        if received.problem is not None:
            self.refused += 1
            _echo(f"refused: {received.problem}", err=True, fg="red")
            return
        self.verified += 1
        if self.verified == 1:
            self._first(received)
        event = received.json()
        data = event["data"]
        story = self._story(data)
        for detail, reason in _told(event["type"], data, story):
            self._line(event["type"], data, story, detail)
            _say(reason)

    def close(self) -> None:
        """Print the table and what was verified."""
        heading = f"{self.verified} events came, and the receiver verified each one's"
        _echo(f"\n{heading} signature; {self.refused} were refused.\n", err=True)
        rows = [story.row(_short(job)) for job, story in self.stories.items()]
        if rows:
            columns = ("job", "id", "outcome", "best step", "value", "reason")
            print_table(columns, rows)

    def _story(self, data: dict[str, Any]) -> Story:
        job = data.get("job") or {}
        story = self.stories.setdefault(data["id"], Story(job.get("suffix") or "-"))
        if job.get("suffix"):
            story.name = job["suffix"]
        return story

    def _line(self, kind: str, data: dict[str, Any], story: Story, detail: str) -> None:
        seconds = int(time.monotonic() - self.began)
        word = detail.split(maxsplit=1)[0] if detail else kind.rpartition(".")[2]
        where = f"{text_of(story.name)} {_short(data['id'])}"
        line = f"{seconds // 60:>2}:{seconds % 60:02}  {text_of(kind):30} {where:23} "
        colour = COLOURS.get(kind.rpartition(".")[2]) or COLOURS.get(word.strip(":"))
        _echo(line + text_of(detail), fg=colour)

    def _first(self, received: Received) -> None:
        signed = received.headers.get("webhook-signature", "")
        _say(
            "The first webhook arrived, and its signature is good: HMAC-SHA256 "
            f"{signed[:11]}… over id, time and body, made with the secret that only "
            "the daemon and the receiver have. So is every line below."
        )


def _told(
    kind: str, data: dict[str, Any], story: Story
) -> Iterator[tuple[str, str | None]]:
    """Yield what there is to tell of an event: the detail and its reason."""
    match kind.rpartition(".")[2]:
        case "selected":
            story.selected, story.unselected = data, None
            step = data["checkpoint"].get("step_number")
            yield (
                f"{data['decision']}: step {step}, {data['value']:.4g}",
                data["reason"],
            )
        case "unselected":
            story.selected, story.unselected = None, data
            yield f"none: {data['reason']}", data["detail"]
        case "created":
            yield f"step {data['checkpoint'].get('step_number')}", None
        case "metrics":
            yield from _training(data["points"], story)
        case "settled":
            story.settled = True
        case _:
            story.status = data.get("status") or story.status
            yield _status(data)


def _status(data: dict[str, Any]) -> tuple[str, str | None]:
    error = (data.get("job") or {}).get("error") or {}
    if error.get("message"):
        return str(error.get("code") or ""), error["message"]
    before = data.get("previous_status")
    return (f"was {before}" if before else ""), None


def _training(points: list[Any], story: Story) -> Iterator[tuple[str, str | None]]:
    """Yield a line for each quarter of the steps, so that many jobs can be followed."""
    last = points[-1]
    step, total = last["step"], last["total_steps"]
    if not total or (quarter := step * QUARTERS // total) <= story.quarter:
        return
    story.quarter = quarter
    shown = {
        "train_loss": "loss",
        "valid_loss": "valid",
        "train_mean_reward": "reward",
        "valid_mean_reward": "valid",
    }
    # Validation is not done at every step: the newest value there is.
    newest = {
        name: value for point in points for name, value in point["values"].items()
    }
    values = [f"{shown[n]} {newest[n]:.3g}" for n in shown if n in newest]
    yield f"step {step}/{total}  {', '.join(values)}", None


def _in_short(selected: dict[str, Any]) -> str:
    having = [c for c in selected["candidates"] if c["value"] is not None]
    word = "lowest" if selected["goal"] == "minimize" else "highest"
    told = f"{word} of {len(having)}" if len(having) > 1 else "the only one"
    if selected["decision"] != "final":
        return f"so far {told}"
    last = max(having, key=lambda c: c["step"] or 0)
    if last["checkpoint_id"] != selected["checkpoint"]["id"]:
        worse = abs(last["value"] - selected["value"])
        told += f"; the last is worse by {worse:.3g}"
    return told


def _short(job: str) -> str:
    return text_of(job.removeprefix("ftjob-")[:6])


def _say(reason: str | None) -> None:
    if not reason:
        return
    columns = min(shutil.get_terminal_size((WIDTH, 40)).columns, WIDTH)
    told = textwrap.wrap(text_of(reason), columns - len(INDENT))
    _echo(textwrap.indent("\n".join(told), INDENT), err=True, dim=True)


def _echo(text: str, *, err: bool = False, **style: Any) -> None:
    stream = sys.stderr if err else sys.stdout
    if stream.isatty() and not os.environ.get("NO_COLOR"):
        text = click.style(text, **style)
    click.echo(text, err=err)
