"""Files and environment to typed settings; every mistake at once.

Knows the keys of `[daemon]`, `[sources.*]`, `[organizations.*]` and `[plugins.*]`; what
a kind of source or plugin adds to its table is asked for by the models handed in.
"""

from tunewatch.config.address import Address
from tunewatch.config.example import annotated_example
from tunewatch.config.load import ModelOf, load, load_daemon
from tunewatch.config.models import (
    DaemonSettings,
    DeliverySettings,
    OrganizationSettings,
    PluginSettings,
    Settings,
    SourceSettings,
)
from tunewatch.config.redacted import redacted
from tunewatch.config.same import is_same
from tunewatch.config.schema import json_schema
from tunewatch.config.tokens import Scope, Token, Tokens, read_tokens
from tunewatch.config.toml_text import toml_text
from tunewatch.settings import ConfigError, Duration, Mistake, Secret

__all__ = [
    "Address",
    "ConfigError",
    "DaemonSettings",
    "DeliverySettings",
    "Duration",
    "Mistake",
    "ModelOf",
    "OrganizationSettings",
    "PluginSettings",
    "Scope",
    "Secret",
    "Settings",
    "SourceSettings",
    "Token",
    "Tokens",
    "annotated_example",
    "is_same",
    "json_schema",
    "load",
    "load_daemon",
    "read_tokens",
    "redacted",
    "toml_text",
]
