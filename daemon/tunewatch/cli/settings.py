"""Load the configuration for a command: all of it, or only where the store is."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel

from tunewatch import config
from tunewatch.cli.options import chosen_config
from tunewatch.settings import NoSuchKind


def load_settings(given: Path | None) -> config.Settings:
    """Return all settings, each kind's own too. Raises ConfigError."""
    return load_chosen(chosen_config(given))


def load_chosen(path: Path | None) -> config.Settings:
    """Return the same where the command line is known no more, in any thread."""
    return config.load(
        path,
        os.environ,
        source_model=source_model,
        plugin_model=plugin_model,
    )


def load_daemon(given: Path | None) -> config.DaemonSettings:
    """Return the settings of the store and the process only. Raises ConfigError."""
    return config.load_daemon(chosen_config(given), os.environ)


def source_model(kind: str) -> type[BaseModel]:
    """Return the settings model of a kind of source. Raises NoSuchKind."""
    from tunewatch import sources

    try:
        loaded = sources.load(kind)
    except sources.KindFault as fault:
        raise NoSuchKind(fault.reason) from fault
    model: type[BaseModel] = loaded.settings
    return model


def plugin_model(kind: str) -> type[BaseModel]:
    """Return the settings model of a kind of plugin. Raises NoSuchKind."""
    from tunewatch import host

    model: type[BaseModel] = host.load(kind).settings
    return model
