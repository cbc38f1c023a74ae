"""Values that cannot be printed, read from where they are kept.

A secret is given as itself, as a file, as an environment variable or as one of
systemd's credentials. Knows nothing of what it opens. A file is read again when it
changes, so that a rotated key needs no restart.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SecretStr,
)
from pydantic_core import CoreSchema, core_schema

from tunewatch.settings.mistake import Wanted

MARK = "x-secret"
"""In the JSON Schema of a setting: it may also be given in the other ways."""

_REMEMBERED = 8  #: rotated values that logs are still searched for
_SECRETISH = re.compile(r"secret|password|token|key|url|credential")
_MAX_BYTES = 64 * 1024  #: a secret is short: more is the wrong file


class Secret:
    """A value that cannot be printed; ask with `get`, as late as possible.

    `origin` says where it comes from and is fit for a person.
    """

    __slots__ = ("_known", "_read", "file", "is_inline", "origin")

    def __init__(
        self,
        read: Callable[[], str | None],
        origin: str,
        *,
        file: Path | None = None,
        is_inline: bool = False,
    ) -> None:
        self._read = read
        self._known: tuple[str, ...] = ()
        self.origin = origin
        self.file = file  #: the one it is kept in
        self.is_inline = is_inline  #: it stands among the settings

    @classmethod
    def of(cls, value: str) -> Secret:
        """Return a secret that is given as itself."""
        origin = "given in the configuration"
        return _primed(cls(lambda: value, origin, is_inline=True))

    @classmethod
    def from_file(cls, path: Path) -> Secret:
        """Return a secret kept in a file, without the blanks around it."""
        return cls(_FileReader(path), f"file {path}", file=path)

    @classmethod
    def from_env(cls, name: str, environ: Mapping[str, str]) -> Secret:
        """Return a secret kept in an environment variable."""
        return cls(lambda: environ.get(name), f"environment variable {name}")

    def get(self) -> str | None:
        """Return the value as it is now, None if there is none.

        A file that cannot be read, or is empty, while it is being replaced leaves the
        last value that was read.
        """
        value = (self._read() or "").strip() or None
        if value is not None and value not in self._known:
            self._known = (*self._known, value)[-_REMEMBERED:]
        return value

    def known(self) -> tuple[str, ...]:
        """Return the values it has had lately: what must never be printed."""
        return self._known

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.get() == other.get()

    def __hash__(self) -> int:
        return hash(self.origin)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Let a setting of this type take a string or a secret."""
        return core_schema.no_info_plain_validator_function(
            cls._validated,
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe a setting of this type: a string, and a mark for who reads on."""
        return {"type": "string", "minLength": 1, MARK: True}

    @classmethod
    def _validated(cls, value: object) -> Secret:
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str) or not value.strip():
            raise Wanted("a string that is not empty")
        return cls.of(value)


class _FileReader:
    """Reads a file when it is another one than last time."""

    __slots__ = ("_path", "_seen", "_value")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int, int] | None = None
        self._value: str | None = None

    def __call__(self) -> str | None:
        try:
            stat = self._path.stat()
            # The change time too: a file may be rewritten in place with its old size.
            seen = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return self._value
            with self._path.open("rb") as file:
                value = file.read(_MAX_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError):
            return self._value
        self._seen = seen
        self._value = value or self._value
        return self._value


def secrets_of(value: Any) -> Iterator[Secret]:
    """Yield every secret inside settings, however deep."""
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, SecretStr):
        yield Secret.of(value.get_secret_value())
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            inner = getattr(value, name)
            yield from secrets_of(inner)
            if isinstance(inner, str | Path) and inner:
                yield from _kept_elsewhere(name, str(inner))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from secrets_of(inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from secrets_of(inner)


def _kept_elsewhere(name: str, where: str) -> Iterator[Secret]:
    """Yield the secret that a plugin reads by itself, so that logs can be searched."""
    if not _SECRETISH.search(name):
        return
    if name.endswith("_env"):
        yield _primed(Secret.from_env(where, os.environ))
    elif name.endswith("_file"):
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        path = Path(where)
        if directory is not None and (Path(directory) / path).exists():
            path = Path(directory) / path
        yield _primed(Secret.from_file(path))


def _primed(secret: Secret) -> Secret:
    secret.get()
    return secret
