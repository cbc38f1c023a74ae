"""Headers of the operator's own: names that are ours or the connection's are refused.

Their values may be secrets, kept like any other; what is given as it is counts as one
if its name says so. No message repeats a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from tunewatch.plugin import Secret

Value: TypeAlias = Secret | str

MOST = 32  #: headers
LONGEST = 8192  #: characters of a value: what servers take at most
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")
_SECRETISH = re.compile(
    r"auth|token|key|secret|passw|credential|cookie|signature|session", re.IGNORECASE
)
_OURS = ("webhook-", "content-", "ce-", "proxy-", "sec-")
_TAKEN = frozenset(
    {
        *("accept", "accept-encoding", "connection", "date", "expect", "host"),
        *("keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
        *("user-agent", "via"),
    }
)


class Extra(NamedTuple):
    """The headers as they are now."""

    values: Mapping[str, str]
    secrets: tuple[str, ...]


def kept_headers(given: Mapping[str, object]) -> dict[str, Value]:
    """Return the headers, each a secret or what anybody may see.

    Raises ValueError that names every header that will not do.
    """
    faults = list(_faults(given))
    if faults:
        raise ValueError("; ".join(faults))
    return {name: _kept(name, value) for name, value in given.items()}


def current_headers(headers: Mapping[str, Value]) -> Extra:
    """Return the headers as they are now. Raises ValueError that names one."""
    values: dict[str, str] = {}
    for name, value in headers.items():
        text = _text(value) or ""
        fault = _fault_of(text)
        if fault is not None:
            raise ValueError(f"header {name}: {fault}")
        values[name] = text
    secrets = (values[n] for n, value in headers.items() if isinstance(value, Secret))
    # A credential is looked for without the name of its scheme, too.
    pieces = (piece for text in secrets for piece in (text, text.split()[-1]))
    return Extra(values, tuple(pieces))


def _faults(given: Mapping[str, object]) -> Iterator[str]:
    if len(given) > MOST:
        yield f"wanted at most {MOST} headers, found {len(given)}"
    seen: set[str] = set()
    for name, value in given.items():
        fault = _fault_of_name(name)
        if fault is None and name.lower() in seen:
            fault = "given twice, for case makes no difference"
        if fault is None:
            fault = _fault_of(_text(value))
        seen.add(name.lower())
        if fault is not None:
            yield f"header {_shown(name)}: {fault}"


def _fault_of_name(name: str) -> str | None:
    if not _NAME.fullmatch(name):
        return "wanted a name of letters, digits and dashes"
    if name.lower().startswith(_OURS) or name.lower() in _TAKEN:
        return "tunewatch or the connection sets it, it cannot be given here"
    return None


def _fault_of(text: str | None) -> str | None:
    if text is None:
        return "wanted a value, or one of { file = …, env = …, credential = … }"
    if len(text) > LONGEST:
        return f"wanted at most {LONGEST} characters, found {len(text)}"
    if not _VALUE.fullmatch(text):
        return "wanted one line of printable ASCII, found other characters"
    return None


def _text(value: object) -> str | None:
    if isinstance(value, Secret):
        return value.get()
    return value if isinstance(value, str) else None


def _kept(name: str, value: object) -> Value:
    if isinstance(value, Secret):
        return value
    text = str(value)
    return Secret.of(text) if _SECRETISH.search(name) else text


def _shown(name: str) -> str:
    return name if _NAME.fullmatch(name) else "with an odd name"
