"""Where a secret is kept: `X`, `X_file`, `X_env` or `X_credential` become one `X`.

Works on any pydantic model: a field of type `Secret` is enough. A model that declares
`X_file` itself keeps it. In a table whose keys are not known beforehand, a field of
type `dict[str, Secret]`, it is `X = { file = … }` and so on. Knows no key by name.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tunewatch.settings.mistake import Mistake, key_path
from tunewatch.settings.secret import Secret

WAYS = ("_file", "_env", "_credential")
"""What may follow the name of a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a table stands and what surrounds it."""

    prefix: tuple[str, ...] = ()  #: the path of the table
    environ: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    """Per key path the file or environment variable that gave it."""
    origin: str = ""  #: of keys that nobody gave
    aliases: Mapping[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    """Where a key really stands, if it was taken over from another table."""

    def under(self, *names: str) -> Place:
        """Return the place of a table inside this one."""
        return replace(self, prefix=(*self.prefix, *names))

    def mistake(self, keys: tuple[str | int, ...], text: str) -> Mistake:
        """Return a mistake of a key in this table."""
        path = self._said((*self.prefix, *keys))
        return Mistake(where=self.origin_of(path), key=key_path(path), text=text)

    def origin_of(self, path: tuple[str | int, ...]) -> str:
        """Return which file gave a key, or the nearest table around or in it."""
        path = self._said(path)
        for end in range(len(path), 0, -1):
            part = path[:end]
            for known, origin in self.origins.items():
                if known[:end] == part:
                    return origin
        return self.origin

    def _said(self, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
        for alias, said in self.aliases.items():
            if path[: len(alias)] == alias:
                return (*said, *path[len(alias) :])
        return path


def secret_fields(model: type[BaseModel]) -> Iterator[str]:
    """Yield the fields of a model that are secrets."""
    for name, info in model.model_fields.items():
        if _is_table(info.annotation):
            continue
        if info.annotation is Secret or Secret in typing.get_args(info.annotation):
            yield name


def secret_tables(model: type[BaseModel]) -> Iterator[str]:
    """Yield the fields of a model that are tables with secrets under any key."""
    for name, info in model.model_fields.items():
        if _is_table(info.annotation):
            (_, value) = typing.get_args(info.annotation)
            if value is Secret or Secret in typing.get_args(value):
                yield name


def _is_table(annotation: object) -> bool:
    return typing.get_origin(annotation) in (dict, Mapping)


def inner_model(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the model of a field that is a table with keys of its own."""
    info = model.model_fields.get(name)
    if info is None:
        return None
    for choice in (info.annotation, *typing.get_args(info.annotation)):
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            return choice
    return None


def folded(
    model: type[BaseModel], table: Mapping[str, Any], place: Place
) -> tuple[dict[str, Any], list[Mistake]]:
    """Return the table with one `Secret` for each secret that was given."""
    result = dict(table)
    mistakes: list[Mistake] = []
    for name in secret_fields(model):
        ways = [way for way in ("", *WAYS) if _is_given(model, result, name, way)]
        given = {name + way: result.pop(name + way) for way in ways}
        if len(given) > 1:
            one_of = ", ".join(given)
            text = f"wanted one way to give this secret; found {one_of}"
            mistakes.append(place.mistake((next(iter(given)),), text))
        elif given:
            ((key, value),) = given.items()
            secret = _secret(key[len(name) :], (key,), value, place)
            if isinstance(secret, Mistake):
                mistakes.append(secret)
            else:
                result[name] = secret
    for name in secret_tables(model):
        if isinstance(result.get(name), dict):
            result[name], more = _folded_table(result[name], place.under(name))
            mistakes.extend(more)
    for name, value in result.items():
        inner = inner_model(model, name)
        if inner is not None and isinstance(value, dict):
            result[name], more = folded(inner, value, place.under(name))
            mistakes.extend(more)
    return result, mistakes


def _folded_table(
    table: Mapping[str, Any], place: Place
) -> tuple[dict[str, Any], list[Mistake]]:
    """Return a table of secrets: what is no table itself is left to the model."""
    result = dict(table)
    mistakes: list[Mistake] = []
    for name, value in table.items():
        if not isinstance(value, dict):
            continue
        match list(value.items()):
            case [(key, where)] if f"_{key}" in WAYS:
                secret = _secret(f"_{key}", (name, key), where, place)
            case _:
                ways = ", ".join(f"{{ {way[1:]} = … }}" for way in WAYS)
                text = f"wanted a string or one of {ways}; found another table"
                secret = place.mistake((name,), text)
        if isinstance(secret, Mistake):
            mistakes.append(secret)
            del result[name]
        else:
            result[name] = secret
    return result, mistakes


def _is_given(
    model: type[BaseModel], table: Mapping[str, Any], name: str, way: str
) -> bool:
    key = name + way
    return key in table and (not way or key not in model.model_fields)


def _secret(way: str, keys: tuple[str, ...], value: object, place: Place) -> object:
    """Return the secret, the value as it is if the model may judge it, or a mistake.

    `keys` is where the value stands, which says in which of the ways it is given.
    """
    if not way:
        return value
    if not isinstance(value, str) or not value.strip():
        return place.mistake(keys, f"wanted a {_NOUNS[way]}; found none")
    if way == "_env":
        return _from_env(keys, value, place)
    directory = place.environ.get("CREDENTIALS_DIRECTORY")
    if way == "_credential":
        if directory is None:
            text = "wanted a systemd credential; found no $CREDENTIALS_DIRECTORY"
            return place.mistake(keys, text)
        named = "the credential named here"
        return _from_file(keys, Path(directory) / value, place, named)
    path = _located(keys, value, directory, place)
    named = str(path) if _PATH.fullmatch(value) else "the path given here"
    return _from_file(keys, path, place, named)


# A secret itself is often put where its place was asked for: what does not look like a
# place is not repeated.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_PATH = re.compile(r"(?!.*://)(/|\./|\.\./|~).*")

_NOUNS = {
    "_file": "path",
    "_env": "name of an environment variable",
    "_credential": "name of a systemd credential",
}


def _located(
    keys: tuple[str, ...], value: str, directory: str | None, place: Place
) -> Path:
    """Return the path of a secret's file.

    A bare name is one of systemd's credentials, if there is one of that name; any other
    relative path starts at the file that says it.
    """
    path = Path(value).expanduser()
    if directory is not None and len(path.parts) == 1:
        credential = Path(directory) / path
        if credential.exists():
            return credential
    said_in = Path(place.origin_of((*place.prefix, *keys)))
    return said_in.parent / path if said_in.is_file() else path


def _from_env(keys: tuple[str, ...], name: str, place: Place) -> Secret | Mistake:
    secret = Secret.from_env(name, place.environ)
    if secret.get() is None:
        named = f"environment variable {name}"
        if not _VARIABLE.fullmatch(name):
            named = "the environment variable named here"
        found = "empty" if name in place.environ else "not set"
        return place.mistake(keys, f"wanted a secret in {named}; found it {found}")
    return secret


def _from_file(
    keys: tuple[str, ...], path: Path, place: Place, named: str
) -> Secret | Mistake:
    try:
        with path.open("rb") as file:
            is_empty = not file.read(1)
    except (OSError, ValueError) as error:
        trouble = getattr(error, "strerror", None) or type(error).__name__
        text = f"wanted a readable file at {named}; found: {trouble.lower()}"
        return place.mistake(keys, text)
    secret = Secret.from_file(path)
    if is_empty or secret.get() is None:
        return place.mistake(keys, f"wanted a secret in {named}; found it empty")
    return secret
