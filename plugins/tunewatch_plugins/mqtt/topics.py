"""Topics: where an event, a job's state and a replica's availability are published.

Whatever goes into a topic is checked here: what a person configured is refused if it
could be read as a wildcard or as more levels than meant, and what a provider says is
spelled so that it cannot. Knows no broker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from tunewatch.events import Event

LONGEST = 65_535
"""Bytes of UTF-8 that a topic may have."""
_ODD = re.compile(r"[/+#%\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""What a level may not hold: separator, wildcards, our own mark, what is no text."""


def checked_prefix(text: str) -> str:
    """Return the levels that all topics begin with. Raises ValueError."""
    for level in text.split("/"):
        if not level:
            raise ValueError(
                "wanted levels with a / between them, such as ml/tunewatch; found an"
                " empty one"
            )
        if _ODD.search(level):
            raise ValueError(
                "wanted levels without wildcards (+ and #), % and control characters;"
                " found one with"
            )
    if text.startswith("$"):
        raise ValueError("wanted a prefix of one's own; $ begins those of brokers")
    return text


@lru_cache(maxsize=4096)
def level(name: str) -> str:
    """Return a name as one level of a topic, different names as different ones.

    Characters that could mean something else are written as % and their bytes: a job
    called `a/b` is `a%2Fb`.
    """
    return _ODD.sub(_spelled, name) if name else "%"


def _spelled(found: re.Match[str]) -> str:
    raw = found.group().encode("utf-8", "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in raw)


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics below one prefix."""

    prefix: str

    def status(self, replica: str) -> str:
        """Return where it stands whether a replica is there: retained."""
        return f"{self.prefix}/v1/status/{level(replica)}"

    def event(self, event: Event) -> str:
        """Return where an event is published; those of a source have no job."""
        where = f"{self.prefix}/v1/{level(event.common.source)}"
        if event.job_id is not None:
            where += f"/jobs/{level(event.job_id)}"
        return f"{where}/events/{level(event.type)}"

    def state(self, source: str, job_id: str) -> str:
        """Return where a job's state stands: retained."""
        return f"{self.prefix}/v1/{level(source)}/jobs/{level(job_id)}/state"

    def states(self, source: str) -> str:
        """Return the filter for the states of a source's jobs."""
        return f"{self.prefix}/v1/{level(source)}/jobs/+/state"

    def job_of(self, topic: str) -> str | None:
        """Return the job whose state stands on a topic, None for any other topic."""
        match topic.removeprefix(f"{self.prefix}/v1/").split("/"):
            case [_, "jobs", job, "state"]:
                return unquote(job.removesuffix("%"))
            case _:
                return None
