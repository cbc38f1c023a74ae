"""The two text formats of Prometheus: families, labels, numbers, negotiation.

The library's renderer takes ten times as long for thousands of series, and on the event
loop. Knows nothing of jobs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"

LARGEST = sys.float_info.max
"""Beyond it is nothing that Prometheus could read."""
_NOT_A_NAME = re.compile(r"[^a-zA-Z0-9_]")
_TYPE_LINE = re.compile(rb"^# TYPE (\S+) ", re.MULTILINE)


class Family(NamedTuple):
    """A metric's name, kind and help, and its samples as text."""

    name: str  #: without `_total`
    kind: Literal["gauge", "counter"]
    help: str
    samples: list[bytes]

    def head(self, *, openmetrics: bool) -> bytes:
        """Return the lines before the samples."""
        name = self.name
        # OpenMetrics names a counter without its suffix, the older format with it.
        if self.kind == "counter" and not openmetrics:
            name += "_total"
        return f"# HELP {name} {self.help}\n# TYPE {name} {self.kind}\n".encode()


def gauge(name: str, help_text: str, value: float) -> Family:
    """Return a family of one number without labels."""
    return Family(name, "gauge", help_text, [f"{name} {value}\n".encode()])


def is_number(value: float | None) -> bool:
    """Whether a value can be shown: NaN, infinite and missing ones are left out."""
    return value is not None and -LARGEST <= value <= LARGEST


def label_name(text: str) -> str:
    """Return text as a label's or metric's name: other characters become `_`."""
    return _NOT_A_NAME.sub("_", text)


def label_value(text: str) -> str:
    """Return text escaped for use between double quotes."""
    # Nearly always nothing is odd, and a search takes three times as long.
    if "\\" not in text and '"' not in text and "\n" not in text:
        return text
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def labels(pairs: Iterable[tuple[str, str]]) -> str:
    """Return labels with names that are sound already, without the closing brace."""
    return "{" + ",".join(f'{name}="{label_value(value)}"' for name, value in pairs)


def encoded(text: str) -> bytes:
    """Return text as UTF-8; what UTF-8 cannot say becomes a question mark."""
    return text.encode("utf-8", "replace")


def is_openmetrics_wanted(accept: str) -> bool:
    """Whether an `Accept` header prefers OpenMetrics 1 over the older text format."""
    openmetrics = plain = 0.0
    for name, parameters in _accepted(accept):
        weight = _weight(parameters.get("q"))
        version = parameters.get("version", "1.0.0")
        if name == "application/openmetrics-text" and version == "1.0.0":
            openmetrics = max(openmetrics, weight)
        elif name == "text/plain":
            plain = max(plain, weight)
    return openmetrics > 0 and openmetrics >= plain


def names_in(exposition: bytes) -> frozenset[str]:
    """Return the names of the families of a text, without `_total`."""
    found = _TYPE_LINE.findall(exposition)
    return frozenset(name.decode().removesuffix("_total") for name in found)


def _accepted(accept: str) -> Iterator[tuple[str, dict[str, str]]]:
    for offer in accept.lower().split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        yield name, {key.strip(): value.strip(' "') for key, _, value in pairs}


def _weight(said: str | None) -> float:
    if said is None:
        return 1.0
    try:
        return float(said)
    except ValueError:
        return 0.0
