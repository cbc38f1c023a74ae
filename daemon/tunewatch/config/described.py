"""What a setting means and what it is by default, in the words of its own model.

For whoever writes about settings: the annotated example, the schema, the reference.
Knows no key by name but the few whose default is a word.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tunewatch.config.address import Address
from tunewatch.config.models import DeliverySettings
from tunewatch.settings import Secret, duration_text, is_duration


def told(model: type[BaseModel]) -> dict[str, str]:
    """Return what each setting of a model means, "" if nobody says."""
    written_below = _docstrings(model)
    return {
        name: info.description or written_below.get(name, "")
        for name, info in model.model_fields.items()
    }


def shown(name: str, info: FieldInfo) -> tuple[str, Any]:
    """Return the key and value that show a setting; None if there is no value."""
    if info.examples:
        example = info.examples[0]
        if is_secret(info):
            key, _, value = str(example).partition("=")
            return (key, value) if value else (f"{name}_file", example)
        return name, example
    return name, default_of(name, info)


def default_of(name: str, info: FieldInfo) -> Any:
    """Return the default as a person would write it, None if there is none."""
    value = info.get_default(call_default_factory=True)
    if name == "backfill":
        return "none"
    if isinstance(value, float) and is_duration(info):
        return duration_text(value)
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, BaseModel):
        return _inline(value)
    if isinstance(value, bool | int | float | str | list | tuple | dict):
        return value
    return None


def is_secret(info: FieldInfo) -> bool:
    """Whether a setting is a secret, and so has several ways to be given."""
    return info.annotation is Secret or "Secret" in str(info.annotation)


def _inline(model: BaseModel) -> dict[str, Any]:
    made = {
        name: default_of(name, info) for name, info in type(model).model_fields.items()
    }
    if isinstance(model, DeliverySettings):
        made["rate"] = "none"
    return {key: value for key, value in made.items() if value is not None}


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return what stands below the fields of a model that has no descriptions."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    except (OSError, TypeError, SyntaxError):
        return {}
    found: dict[str, str] = {}
    body = next((node.body for node in tree.body if isinstance(node, ast.ClassDef)), [])
    for field, below in pairwise(body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = " ".join(text.split())
    return found
