"""What is valid and yet probably a slip: told by `tunewatch check` and at the start.

A mistake stops the daemon; a doubt does not: a source that left the configuration may
still have events that wait for a plugin which names it. Reads nothing but what was
configured; what surrounds it (files, ports, clocks) is not known here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from tunewatch.config.address import Address
from tunewatch.config.models import DaemonSettings, PluginSettings, SourceSettings
from tunewatch.config.tokens import read_tokens
from tunewatch.events import JOB_STATUS_PREFIX
from tunewatch.model import JobStatus
from tunewatch.settings import Mistake, Place, Secret, duration_text, hint

Doubt = tuple[tuple[str | int, ...], str]
"""A key's path, and what is odd about it."""


def doubts(
    daemon: DaemonSettings,
    sources: Mapping[str, SourceSettings],
    plugins: Mapping[str, PluginSettings],
    place: Place,
    *,
    names: Collection[str] | None,
) -> Iterator[Mistake]:
    """Yield what is probably a slip.

    `names` are the sources that filters may name, None if nobody knows which there will
    be.
    """
    for key, text in (
        *_of_daemon(daemon),
        *_of_sources(sources),
        *_of_plugins(plugins),
        *([] if names is None else _of_filters(plugins, names)),
    ):
        yield place.mistake(key, text)


def _of_daemon(daemon: DaemonSettings) -> Iterator[Doubt]:
    is_open = daemon.api_token is None and daemon.web_config_file is None
    if not daemon.listen.is_loopback and is_open:
        yield (
            ("daemon", "listen"),
            (
                "others can reach this address, and without daemon.api_token_file it "
                "answers nothing there but probes, /metrics and webhooks"
            ),
        )
    yield from _of_tokens(daemon.api_token)
    path = daemon.state.removeprefix("sqlite:///")
    if path != daemon.state and not path.startswith("/"):
        text = f"{path} lies wherever the daemon happens to be started: write "
        yield ("daemon", "state"), text + "sqlite:////path/of/state.db, with four /"


def _of_sources(sources: Mapping[str, SourceSettings]) -> Iterator[Doubt]:
    for name, one in sources.items():
        path = ("sources", name)
        url = urlsplit(getattr(one.settings, "origin", ""))
        if url.scheme == "http" and not Address(url.hostname or "", 0).is_loopback:
            text = f"{url.hostname} is asked by http without TLS, which shows the key "
            yield path, text + "to everybody on the way: use https"
        if _is_quoted(one.api_key):
            yield (*path, "api_key"), "the key stands in quotes, which are sent with it"
        least = 2 * 60 / one.poll_interval
        if one.requests_per_minute < least:
            every = duration_text(one.poll_interval)
            text = f"{one.requests_per_minute} a minute are too few to look at the list"
            text += f" and one job every {every}: wanted at least {least:.0f}; looks "
            yield (*path, "requests_per_minute"), text + "will come later"
        for key, text in _own(one.settings):
            yield (*path, key), text
    yield from _twice(sources)


def _twice(sources: Mapping[str, SourceSettings]) -> Iterator[Doubt]:
    """Yield the sources that see what another one sees."""
    first: dict[object, str] = {}
    for name, one in sources.items():
        key = None if one.api_key is None else one.api_key.get()
        sees = (one.kind, key, _dumped(one.settings))
        if key is not None and (other := first.setdefault(sees, name)) != name:
            text = f"has the key of {other} and asks the same API: each job is told by "
            yield ("sources", name), text + "one of them, at twice the requests"


def _of_plugins(plugins: Mapping[str, PluginSettings]) -> Iterator[Doubt]:
    first: dict[object, str] = {}
    for name, one in plugins.items():
        for number, pattern in enumerate(one.events or ()):
            if (odd := _odd_status(pattern)) is not None:
                yield ("plugins", name, "events", number), odd
        for key, text in _own(one.settings):
            yield ("plugins", name, key), text
        url = _told(getattr(one.settings, "url", None))
        what = (one.kind, url, one.events, one.sources, tuple(one.metadata.items()))
        if url and (other := first.setdefault(what, name)) != name:
            text = f"sends the same events to where {other} sends them: they come twice"
            yield ("plugins", name), text


def _of_filters(
    plugins: Mapping[str, PluginSettings], names: Collection[str]
) -> Iterator[Doubt]:
    """Yield the filters of plugins that let no configured source through."""
    for name, plugin in plugins.items():
        for number, pattern in enumerate(plugin.sources):
            if any(fnmatchcase(source, pattern) for source in names):
                continue
            text = f"no source is or matches {pattern!r}; {hint(pattern, names)}"
            yield ("plugins", name, "sources", number), text


def _own(settings: object) -> Iterator[tuple[str, str]]:
    """Yield what a kind itself finds odd, key and text: its settings' `doubts()`."""
    find: Any = getattr(settings, "doubts", None)
    return iter(()) if find is None else iter(find())


def _odd_status(pattern: str) -> str | None:
    """Return what to say of a status that no provider is known to have."""
    word = pattern.removeprefix(JOB_STATUS_PREFIX)
    known = [status.value for status in JobStatus if status is not JobStatus.UNKNOWN]
    if word == pattern or word in known or set("*?[") & set(word):
        return None
    return f"no status is called {word!r} as far as is known; {hint(word, known)}"


def _of_tokens(given: Secret | None) -> Iterator[Doubt]:
    if given is None:
        return
    key = ("daemon", "api_token" if given.file is None else "api_token_file")
    said = given.get()
    tokens = read_tokens(said or "")
    for line in tokens.bad:
        yield key, f"line {line.number} opens nothing: wanted {line.wanted}"
    if said is not None and not tokens.accepted and not tokens.bad:
        yield key, "no line of it is a token: whatever needs one is closed"


def _is_quoted(key: Secret | None) -> bool:
    value = (key.get() if key is not None else None) or ""
    return len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"


def _told(url: object) -> str | None:
    found = url.get() if isinstance(url, Secret) else url
    return found if isinstance(found, str) else None


def _dumped(settings: Any) -> str:
    return "" if settings is None else str(settings.model_dump_json())
