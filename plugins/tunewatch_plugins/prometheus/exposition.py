"""The two text formats of Prometheus: families, labels, numbers, exemplars.

The library's renderer takes ten times as long for thousands of series, and on the event
loop. Knows nothing of jobs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

LARGEST = sys.float_info.max
"""Beyond it is nothing that Prometheus could read."""
LONGEST_EXEMPLAR = 128
"""Characters of an exemplar's label names and values together, by OpenMetrics."""

_NOT_A_NAME = re.compile(r"[^a-zA-Z0-9_]")
_TYPE_LINE = re.compile(rb"^# TYPE (\S+) ", re.MULTILINE)


class Family(NamedTuple):
    """A metric's name, kind and help."""

    name: str  #: without `_total`
    kind: Literal["gauge", "counter", "histogram"]
    help: str

    def head(self, *, openmetrics: bool) -> bytes:
        """Return the lines before the samples."""
        name = self.name
        # OpenMetrics names a counter without its suffix, the older format with it.
        if self.kind == "counter" and not openmetrics:
            name += "_total"
        return f"# HELP {name} {self.help}\n# TYPE {name} {self.kind}\n".encode()


class Exemplar(NamedTuple):
    """One job that a total counted."""

    at: int  #: unix seconds
    job_id: str
    value: float = 1


def gauge(name: str, help_text: str, value: float) -> tuple[Family, str]:
    """Return a family of one number without labels, and its line."""
    return Family(name, "gauge", help_text), f"{name} {value}\n"


def is_number(value: float | None) -> bool:
    """Whether a value can be shown: NaN, infinite and missing ones are left out."""
    return value is not None and -LARGEST <= value <= LARGEST


def label_name(text: str) -> str:
    """Return text as a label's or metric's name: other characters become `_`."""
    return _NOT_A_NAME.sub("_", text)


def label_value(text: str) -> str:
    """Return text escaped for use between double quotes."""
    # Nearly always nothing is odd, and a search takes three times as long.
    if not _is_odd(text):
        return text
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def label_values(texts: Sequence[str]) -> Sequence[str]:
    """Return texts escaped: nearly always nothing is odd in any of them."""
    return [label_value(text) for text in texts] if _is_odd("".join(texts)) else texts


def _is_odd(text: str) -> bool:
    return "\\" in text or '"' in text or "\n" in text


def labels(pairs: Iterable[tuple[str, str]]) -> str:
    """Return labels with names that are sound already, without the closing brace."""
    return "{" + ",".join([f'{name}="{label_value(value)}"' for name, value in pairs])


def exemplar_text(exemplar: Exemplar | None) -> str:
    """Return what follows a sample's value; nothing if the id is too long for it."""
    if exemplar is None or len("job_id" + exemplar.job_id) > LONGEST_EXEMPLAR:
        return ""
    who = labels([("job_id", exemplar.job_id)])
    return f" # {who}}} {exemplar.value} {exemplar.at}"


def encoded(text: str) -> bytes:
    """Return text as UTF-8; what UTF-8 cannot say becomes a question mark."""
    return text.encode("utf-8", "replace")


def names_in(exposition: bytes) -> frozenset[str]:
    """Return the names of the families of a text, without `_total`."""
    found = _TYPE_LINE.findall(exposition)
    return frozenset(name.decode().removesuffix("_total") for name in found)
