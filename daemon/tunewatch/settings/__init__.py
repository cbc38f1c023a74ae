"""What settings are made of: durations, secrets, and mistakes told all at once.

Shared by the daemon's settings, the sources' and the plugins'. Knows no key by name and
no file format; plugin authors find the same names in `tunewatch.plugin`.
"""

from tunewatch.settings.check import checked, known_keys
from tunewatch.settings.duration import (
    DURATION,
    Duration,
    duration_text,
    is_duration,
    parse_duration,
)
from tunewatch.settings.fold import WAYS, Place, secret_fields
from tunewatch.settings.mistake import (
    ConfigError,
    Mistake,
    NoSuchKind,
    Wanted,
    closest,
    hint,
    key_path,
    kind_of_value,
    kinds_there_are,
)
from tunewatch.settings.secret import MARK, Secret, secrets_of

__all__ = [
    "DURATION",
    "MARK",
    "WAYS",
    "ConfigError",
    "Duration",
    "Mistake",
    "NoSuchKind",
    "Place",
    "Secret",
    "Wanted",
    "checked",
    "closest",
    "duration_text",
    "hint",
    "is_duration",
    "key_path",
    "kind_of_value",
    "kinds_there_are",
    "known_keys",
    "parse_duration",
    "secret_fields",
    "secrets_of",
]
