"""Check a table against a model and tell every mistake, never a value.

Turns what pydantic says into where, what was wanted, what was found, and for a key that
does not exist the closest one that does. Knows no key by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from tunewatch.settings.fold import WAYS, Place, folded, inner_model, secret_fields
from tunewatch.settings.mistake import (
    Mistake,
    Wanted,
    hint,
    kind_of_value,
)
from tunewatch.settings.secret import secrets_of

ModelT = TypeVar("ModelT", bound=BaseModel)

_SHORTEST = 4  #: a shorter text may stand in a message by chance


def checked(
    model: type[ModelT],
    table: Mapping[str, Any],
    place: Place,
    *,
    also_known: Iterable[str] = (),
) -> tuple[ModelT | None, list[Mistake]]:
    """Return the settings in a table, or None and every mistake in it.

    `also_known` are keys of the same table that someone else reads: they are offered
    where a key that does not exist resembles one of them.
    """
    given, mistakes = folded(model, table, place)
    try:
        settings = model.model_validate(given)
    except ValidationError as error:
        untold = {mistake.key for mistake in mistakes}
        for detail in error.errors(include_url=False):
            if untold and not detail["loc"]:
                # Who judged the table as a whole did not see what could not be read.
                continue
            told = _told(model, detail, place, tuple(also_known), given)
            # A secret that could not be read is not missing as well.
            if not (detail["type"] == "missing" and _is_about(told, untold)):
                mistakes.append(told)
        return None, mistakes
    return (None if mistakes else settings), mistakes


def known_keys(model: type[BaseModel]) -> list[str]:
    """Return every key a table of this model may have, with the ways of its secrets."""
    secrets = set(secret_fields(model))
    keys: list[str] = []
    for name in model.model_fields:
        keys.append(name)
        if name in secrets:
            keys.extend(name + way for way in WAYS)
    return keys


def _is_about(mistake: Mistake, keys: set[str]) -> bool:
    ways = {mistake.key, *(mistake.key + way for way in WAYS)}
    return bool(ways & keys)


def _told(
    model: type[BaseModel],
    detail: ErrorDetails,
    place: Place,
    also_known: tuple[str, ...],
    given: Mapping[str, Any],
) -> Mistake:
    location = tuple(part for part in detail["loc"] if part != "[key]")
    if detail["type"] == "extra_forbidden":
        return place.mistake(location, _no_such_key(model, location, also_known))
    if detail["type"] == "missing":
        return place.mistake(location, _missing(model, location))
    return place.mistake(location, _scrubbed(_wrong(detail), detail["input"], given))


def _no_such_key(
    model: type[BaseModel], location: tuple[str | int, ...], also_known: tuple[str, ...]
) -> str:
    known = known_keys(_at(model, location[:-1]) or model)
    if len(location) == 1:
        known = [*known, *also_known]
    return f"there is no such key; {hint(str(location[-1]), sorted(known))}"


def _missing(model: type[BaseModel], location: tuple[str | int, ...]) -> str:
    owner, name = _at(model, location[:-1]) or model, str(location[-1])
    if name in set(secret_fields(owner)):
        ways = ", ".join(f"{name}{way}" for way in WAYS)
        return f"wanted this secret, as {name} or one of {ways}; found none"
    field = owner.model_fields.get(name)
    called = _in_a_sentence(field.description if field else None)
    return f"wanted {called}; found nothing"


def _in_a_sentence(description: str | None) -> str:
    """Return what a description calls a value, without what it adds to that."""
    called = (description or "a value").partition(". ")[0].partition("; ")[0]
    called = called.rstrip(".")
    is_word = not called[1:2].isupper()  # not so: URL
    return called[:1].lower() + called[1:] if is_word else called


def _at(
    model: type[BaseModel], location: tuple[str | int, ...]
) -> type[BaseModel] | None:
    """Return the model of the table at a location."""
    found: type[BaseModel] | None = model
    for part in location:
        if found is not None and isinstance(part, str):
            found = inner_model(found, part)
    return found


def _wrong(detail: ErrorDetails) -> str:
    found = kind_of_value(detail["input"])
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, Wanted):
        return f"wanted {error}; found {found}"
    if isinstance(error, Exception):
        return str(error)
    message = detail["msg"].removeprefix("Input should be ").removeprefix("Value ")
    return f"wanted {message}; found {found}"


def _scrubbed(message: str, value: object, given: Mapping[str, Any]) -> str:
    """Return the message of a validator we do not know without what was given."""
    secrets = [known for secret in secrets_of(given) for known in secret.known()]
    for text in [*_texts(value), *secrets]:
        if len(text) >= _SHORTEST:
            message = message.replace(text, "***")
    return message


def _texts(value: object) -> list[str]:
    if isinstance(value, SecretStr):
        return [value.get_secret_value()]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [str(value)]
    return [value] if isinstance(value, str) else []
