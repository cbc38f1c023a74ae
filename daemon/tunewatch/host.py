"""Find, check and open plugins: built-in and third-party by the same entry points.

Imports only what the configuration names. Knows nothing of events or deliveries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, Protocol

import msgspec
from pydantic import BaseModel, SecretStr

from tunewatch.events import matcher
from tunewatch.plugin import Plugin
from tunewatch.settings import ConfigError, Mistake, NoSuchKind, Secret, kinds_there_are

GROUP = "tunewatch.plugins"
"""The entry point group that packages with plugins use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A plugin as the configuration asks for it: a name, a kind and settings."""

    name: str
    kind: str
    plugin: Plugin[Any]
    settings: BaseModel
    events: tuple[str, ...]  #: subscription: types, globs, @groups
    sources: tuple[str, ...] = ("*",)  #: globs of source names
    metadata: dict[str, str] = field(default_factory=dict)  #: only jobs with these
    timeout: float = 15.0  #: s, one delivery
    concurrency: int = 8  #: deliveries at once, over all sources
    max_age: float = 7 * 86400.0  #: s, what waited longer becomes a dead letter
    rate: float | None = None  #: deliveries a second
    digest: str = ""  #: of the settings: a change resumes a paused plugin

    def hears(self, source: str) -> bool:
        """Whether it is subscribed to a source at all."""
        return any(fnmatchcase(source, pattern) for pattern in self.sources)


def wanted_by(instances: Iterable[Instance]) -> Callable[[str, str, str], bool]:
    """Return the question whether a plugin wants events of a source and type.

    A plugin that is not among them wants nothing.
    """
    by_name = {one.name: (one, matcher(one.events)) for one in instances}

    def is_wanted(plugin: str, source: str, event_type: str) -> bool:
        if plugin not in by_name:
            return False
        instance, wants = by_name[plugin]
        return instance.hears(source) and wants(event_type)

    return is_wanted


class DeliveryTable(Protocol):
    """How a plugin's events are handed over, as configured."""

    @property
    def timeout(self) -> float: ...  # noqa: D102 - see `Instance`
    @property
    def concurrency(self) -> int: ...  # noqa: D102 - see `Instance`
    @property
    def max_age(self) -> float: ...  # noqa: D102 - see `Instance`
    @property
    def rate(self) -> float | None: ...  # noqa: D102 - see `Instance`


class PluginTable(Protocol):
    """What the configuration says about one plugin, already checked."""

    @property
    def kind(self) -> str: ...  # noqa: D102 - see `Instance`
    @property
    def enabled(self) -> bool: ...  # noqa: D102 - see `Instance`
    @property
    def events(self) -> tuple[str, ...] | None: ...  # noqa: D102 - see `Instance`
    @property
    def sources(self) -> tuple[str, ...]: ...  # noqa: D102 - see `Instance`
    @property
    def metadata(self) -> dict[str, str]: ...  # noqa: D102 - see `Instance`
    @property
    def delivery(self) -> DeliveryTable: ...  # noqa: D102 - see `Instance`
    @property
    def settings(self) -> BaseModel | None: ...  # noqa: D102 - see `Instance`


class Configured(Protocol):
    """Whatever has plugin tables: `config.Settings`."""

    @property
    def plugins(self) -> Mapping[str, PluginTable]:
        """The tables by name."""
        ...


def kinds(*, among: EntryPoints | None = None) -> list[str]:
    """Return the names of the installed plugins, without importing any."""
    return sorted({entry.name for entry in _installed(among)})


def load(kind: str, *, among: EntryPoints | None = None) -> Plugin[Any]:
    """Return the plugin that goes by this name.

    `among` are the entry points to look among, by default those of every installed
    package. Raises NoSuchKind if there is none of that name, if more than one package
    provides it, or if it cannot be imported.
    """
    entry = _only(kind, _installed(among))
    try:
        loaded = entry.load()
    except ModuleNotFoundError as error:
        raise NoSuchKind(_needs(kind, error)) from error
    except AttributeError as error:
        raise NoSuchKind(
            f"plugin '{kind}' points at {entry.value}, which does not exist"
        ) from error
    except ImportError as error:
        raise NoSuchKind(f"plugin '{kind}' cannot be imported: {error}") from error
    if not isinstance(loaded, Plugin):
        raise NoSuchKind(
            f"plugin '{kind}' points at {entry.value}, which is a "
            f"{type(loaded).__name__} and not a tunewatch.plugin.Plugin"
        )
    return loaded


def instances(
    settings: Configured, *, among: EntryPoints | None = None
) -> list[Instance]:
    """Return the plugins that the configuration turns on, in its order.

    Raises ConfigError with every plugin that cannot be used.
    """
    made: list[Instance] = []
    mistakes: list[Mistake] = []
    for name, table in settings.plugins.items():
        if not table.enabled:
            continue
        try:
            made.append(_instance(name, table, load(table.kind, among=among)))
        except NoSuchKind as error:
            mistakes.append(Mistake(where="", key=f"plugins.{name}", text=str(error)))
    if mistakes:
        raise ConfigError(mistakes)
    return made


def digest(value: Any) -> str:
    """Return a hash of settings, secrets included, that tells nothing about them."""
    plain = msgspec.json.encode(_plain(value), order="deterministic")
    return hashlib.sha256(plain).hexdigest()[:32]


def _instance(name: str, table: PluginTable, plugin: Plugin[Any]) -> Instance:
    if not isinstance(table.settings, plugin.settings):
        text = "wanted settings that were checked against the plugin's model"
        raise NoSuchKind(f"{text}; found {type(table.settings).__name__}")
    return Instance(
        name=name,
        kind=table.kind,
        plugin=plugin,
        settings=table.settings,
        events=plugin.events if table.events is None else table.events,
        sources=table.sources,
        metadata=table.metadata,
        timeout=table.delivery.timeout,
        concurrency=table.delivery.concurrency,
        max_age=table.delivery.max_age,
        rate=table.delivery.rate,
        digest=digest([table.kind, table.settings]),
    )


def _installed(among: EntryPoints | None) -> Iterable[EntryPoint]:
    found = entry_points(group=GROUP) if among is None else among
    return found.select(group=GROUP)


def _only(kind: str, installed: Iterable[EntryPoint]) -> EntryPoint:
    """Return the one entry point of that name."""
    every = list(installed)
    named = [entry for entry in every if entry.name == kind]
    if not named:
        there_are = kinds_there_are(kind, (entry.name for entry in every))
        raise NoSuchKind(f"there is no plugin called '{kind}'; {there_are}")
    # One package may be seen twice, as source tree and as wheel: that is no conflict.
    packages = sorted({entry.dist.name if entry.dist else "?" for entry in named})
    if len(packages) > 1:
        raise NoSuchKind(
            f"plugin '{kind}' is provided by more than one package: "
            f"{', '.join(packages)}; uninstall all but one"
        )
    return named[0]


def _needs(kind: str, error: ModuleNotFoundError) -> str:
    return (
        f"plugin '{kind}' needs a package that is not installed: {error.name}; "
        f"`pip install 'tunewatch[{kind}]'` if it is one of tunewatch's own"
    )


def _plain(value: Any) -> Any:
    """Return settings as plain values, each secret as the hash of what it is."""
    match value:
        case Secret():
            return _hashed(value.get() or "")
        case SecretStr():
            return _hashed(value.get_secret_value())
        case BaseModel():
            fields = type(value).model_fields
            return {name: _plain(getattr(value, name)) for name in fields}
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case set() | frozenset():
            return sorted(str(_plain(inner)) for inner in value)
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
