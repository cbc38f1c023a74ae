"""What providers of OpenAI's shapes say each in their own way, as one value.

How items are read, what to look at when something is refused, and whether result files
grow. Knows no request; the words are a kind's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tunewatch.model import Entry, Job
from tunewatch.sources.openai.decode import entry_of, job_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One provider's ways; the defaults are OpenAI's."""

    provider: str = "openai"  #: the first part of a realm
    job_of: Callable[[bytes], Job] = job_of
    entry_of: Callable[[bytes], Entry] = entry_of
    address: str = "base_url"  #: the setting that says where the API is
    advice: Mapping[int, str] = field(default_factory=dict)
    """By status what to do, where it is not what OpenAI's users have to do."""
    files_grow: bool = False  #: see `contract.files_grow`


OPENAI = Dialect()
"""OpenAI's own."""
