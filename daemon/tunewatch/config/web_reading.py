"""Read a web configuration file: YAML to settings, or every mistake at once.

What stands in the files it names is understood where TLS is.
"""

from __future__ import annotations

import errno
import stat
from pathlib import Path
from typing import Any, BinaryIO

from tunewatch.config.web_file import WebFile
from tunewatch.config.web_mistakes import contradictions
from tunewatch.settings import ConfigError, Mistake, Place, Wanted, checked

LARGEST = 256 * 1024
"""Bytes that are read: the file is short, more is another one."""


def read_web_file(path: Path) -> WebFile:
    """Return what the file says, with the paths in it made whole.

    Raises ConfigError with every mistake; no value is repeated in it.
    """
    table = _table(path)
    found, mistakes = checked(WebFile, table, Place(origin=str(path)))
    if found is not None:
        mistakes += contradictions(found, Place(origin=str(path)))
    if found is None or mistakes:
        raise ConfigError(mistakes)
    tls = found.tls_server_config
    if tls is None:
        return found
    whole = tls.model_copy(
        update={
            name: path.parent / given
            for name in ("cert_file", "key_file", "client_ca_file")
            if (given := getattr(tls, name)) is not None
        }
    )
    return found.model_copy(update={"tls_server_config": whole})


def opened(path: Path) -> BinaryIO:
    """Open a file to read it. Raises OSError, also for one that others write into.

    To open a pipe waits for them, for as long as it takes.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "a pipe or a device")
    return path.open("rb")


def _table(path: Path) -> dict[str, Any]:
    """Return the file as it is written. Raises ConfigError."""
    try:
        with opened(path) as file:
            text = file.read(LARGEST + 1).decode()
        if len(text) > LARGEST:
            raise _mistaken(path, f"wanted at most {LARGEST} bytes; found more")
        table = _parsed(text)
    except OSError as error:
        trouble = (error.strerror or type(error).__name__).lower()
        text = f"wanted a web configuration file that can be read; found: {trouble}"
        raise _mistaken(path, text) from None
    except UnicodeDecodeError:
        text = "wanted YAML in UTF-8; found other bytes"
        raise _mistaken(path, text) from None
    except Wanted as wanted:
        raise _mistaken(path, f"wanted {wanted}") from None
    if not isinstance(table, dict) or not table:
        # Half written, perhaps: to serve without TLS and passwords would be worse.
        known = ", ".join(WebFile.model_fields)
        raise _mistaken(path, f"wanted at least one of {known}; found none of them")
    return table


def _parsed(text: str) -> object:
    # Only here: whoever has no such file does not wait for the parser.
    from tunewatch.config.strict_yaml import parsed

    return parsed(text)


def _mistaken(path: Path, text: str) -> ConfigError:
    return ConfigError([Mistake(where=str(path), key="", text=text)])
