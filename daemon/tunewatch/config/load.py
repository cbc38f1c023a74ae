"""Configuration files and environment to `Settings`, or every mistake at once.

Knows how tables fit together; the models of kinds are handed in, because sources and
plugins are found elsewhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunewatch.config.doubts import doubts
from tunewatch.config.files import SYSTEM_FILE, Draft, read_draft
from tunewatch.config.former_names import former_names, renamed_badly
from tunewatch.config.models import DaemonSettings, Settings
from tunewatch.config.organizations import read_organizations
from tunewatch.config.overlaps import overlaps
from tunewatch.config.tables import ModelOf, read_plugins, read_sources
from tunewatch.settings import ConfigError, Mistake, Place, checked, hint

__all__ = ["ModelOf", "load", "load_daemon"]

TABLES = ("daemon", "source_defaults", "sources", "organizations", "plugins")

_SERVICE_SIGNS = ("INVOCATION_ID", "NOTIFY_SOCKET", "KUBERNETES_SERVICE_HOST")
"""Set by systemd and Kubernetes: who runs as a service says what it watches."""


def load(
    path: Path | None,
    environ: Mapping[str, str] | None = None,
    *,
    source_model: ModelOf,
    plugin_model: ModelOf,
    interactive: bool | None = None,
    directory: Path | None = None,
    system_file: Path = SYSTEM_FILE,
) -> Settings:
    """Return the settings of the daemon.

    Files are sought as the command line documents it: `path` or `$TUNEWATCH_CONFIG`
    must exist; else `tunewatch.toml` in `directory` on a terminal; else `system_file`.
    `source_model` and `plugin_model` return the settings model of a kind, or raise
    `NoSuchKind`.

    Raises ConfigError with every mistake of every file; no value is repeated in it.
    """
    environ = os.environ if environ is None else environ
    draft = _draft(path, environ, interactive, directory, system_file)
    _add_zero_config(draft, environ)
    daemon, mistakes = _daemon(draft, environ, system_file)
    sources, more = read_sources(draft, environ, source_model)
    organizations, and_more = read_organizations(draft, environ, source_model)
    plugins, still_more = read_plugins(draft, environ, plugin_model)
    # Those that are left out count, too: who leaves one out means to have it back.
    names = list(_table(draft, "sources"))
    everywhere = Place(origins=draft.origins)
    former = former_names(sources, organizations)
    mistakes += [*more, *and_more, *still_more]
    mistakes += renamed_badly(former, names, everywhere)
    mistakes += overlaps(plugins, names, everywhere)
    mistakes = [*draft.mistakes, *mistakes]
    if not mistakes and not (sources or organizations):
        mistakes = [_nothing_to_watch(draft, system_file)]
    if mistakes or daemon is None:
        raise ConfigError(list(dict.fromkeys(mistakes)))
    odd = doubts(
        daemon,
        sources,
        plugins,
        everywhere,
        # Which projects there will be, nobody knows yet.
        names=None if organizations else names,
    )
    return Settings(
        daemon=daemon,
        sources=sources,
        plugins=plugins,
        organizations=organizations,
        files=tuple(str(file) for file in draft.files),
        former={name: old for name, (old, _) in former.items()},
        doubts=(*draft.doubts, *odd),
    )


def load_daemon(
    path: Path | None,
    environ: Mapping[str, str] | None = None,
    *,
    interactive: bool | None = None,
    directory: Path | None = None,
    system_file: Path = SYSTEM_FILE,
) -> DaemonSettings:
    """Return only `[daemon]`: enough to find the store, and quick.

    Who only reads the store needs no key of a source. Raises ConfigError.
    """
    environ = os.environ if environ is None else environ
    draft = _draft(path, environ, interactive, directory, system_file)
    # Only the store is needed, and its reader may not be let into the daemon's files.
    draft.tree["daemon"] = {
        key: value
        for key, value in _table(draft, "daemon").items()
        if not key.startswith("api_token")
    }
    daemon, mistakes = _daemon(draft, environ, system_file)
    mistakes = [*draft.mistakes, *mistakes]
    if mistakes or daemon is None:
        raise ConfigError(mistakes)
    return daemon


def _draft(
    path: Path | None,
    environ: Mapping[str, str],
    interactive: bool | None,
    directory: Path | None,
    system_file: Path,
) -> Draft:
    draft = read_draft(
        path,
        environ,
        interactive=sys.stderr.isatty() if interactive is None else interactive,
        directory=Path.cwd() if directory is None else directory,
        system_file=system_file,
    )
    for key in draft.tree:
        if key not in TABLES:
            draft.mistakes.append(_no_such_table(draft, key))
    return draft


def _no_such_table(draft: Draft, key: str) -> Mistake:
    text = f"there is no such key; {hint(key, TABLES)}"
    return Place(origins=draft.origins).mistake((key,), text)


def _daemon(
    draft: Draft, environ: Mapping[str, str], system_file: Path
) -> tuple[DaemonSettings | None, list[Mistake]]:
    table = dict(_table(draft, "daemon"))
    table.setdefault("state", _default_state(draft, environ, system_file))
    place = Place(prefix=("daemon",), environ=environ, origins=draft.origins)
    found = draft.tree.get("daemon", {})
    if not isinstance(found, dict):
        return None, [Place(origins=draft.origins).mistake(("daemon",), _NOT_A_TABLE)]
    daemon, mistakes = checked(DaemonSettings, table, place)
    if daemon is None or daemon.web_config_file is None:
        return daemon, mistakes
    file = _located(daemon.web_config_file, place)
    return daemon.model_copy(update={"web_config_file": file}), mistakes


def _located(path: Path, place: Place) -> Path:
    """Return where a file is; a relative path starts at the file that says it."""
    said_in = Path(place.origin_of((*place.prefix, "web_config_file")))
    path = path.expanduser()
    return said_in.parent / path if said_in.is_file() else path


_NOT_A_TABLE = "wanted a table; found something else"


def _table(draft: Draft, name: str) -> dict[str, Any]:
    found = draft.tree.get(name, {})
    return found if isinstance(found, dict) else {}


def _default_state(draft: Draft, environ: Mapping[str, str], system_file: Path) -> str:
    """Return where the state is kept if nobody says it.

    systemd names its state directory; a system-wide configuration means the system's;
    everything else is a person's own.
    """
    if environ.get("STATE_DIRECTORY"):
        directory = Path(environ["STATE_DIRECTORY"].split(":")[0])
    elif system_file in draft.files:
        directory = Path("/var/lib/tunewatch")
    else:
        home = Path(environ.get("HOME") or "~").expanduser()
        # The specification says that a relative path is to be ignored.
        given = Path(environ.get("XDG_STATE_HOME") or "")
        base = given if given.is_absolute() else home / ".local" / "state"
        directory = base / "tunewatch"
    return f"sqlite:///{directory}/state.db"


def _add_zero_config(draft: Draft, environ: Mapping[str, str]) -> None:
    """Watch one source with the key of the environment, if nobody configured any."""
    is_service = any(environ.get(sign) for sign in _SERVICE_SIGNS)
    says = draft.tree.get("sources") or draft.tree.get("organizations")
    if draft.files or draft.mistakes or is_service or says:
        return
    if environ.get("OPENAI_API_KEY"):
        key = {"kind": "openai", "api_key_env": "OPENAI_API_KEY"}
        if environ.get("OPENAI_BASE_URL"):
            key["base_url"] = environ["OPENAI_BASE_URL"]
        draft.tree["sources"] = {"openai": key}


def _nothing_to_watch(draft: Draft, system_file: Path) -> Mistake:
    if draft.files:
        text = (
            "wanted at least one source that is on, as in [sources.research] "
            'kind = "openai"; found none'
        )
        return Mistake(where=str(draft.files[0]), key="sources", text=text)
    text = (
        f"wanted --config, $TUNEWATCH_CONFIG, ./tunewatch.toml (in a terminal) or "
        f"{system_file}; found none of them. Write one with `tunewatch config "
        "--example`, or set OPENAI_API_KEY and run in a terminal"
    )
    return Mistake(where="", key="", text=text)
