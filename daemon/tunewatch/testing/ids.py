"""Names and draws that are a function of a seed and nothing else.

The same parts always give the same id and the same numbers, in any order of asking:
nothing here holds a state, a clock or a random generator.
"""

from __future__ import annotations

import hashlib
import struct

_LETTERS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TO_LETTERS = bytes(_LETTERS[byte % len(_LETTERS)] for byte in range(256))
_EIGHT = struct.Struct("<8Q")
_FULL = 2.0**64


def _digest(parts: tuple[object, ...], size: int) -> bytes:
    text = "\x1f".join(map(str, parts))
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


def token(*parts: object, length: int = 24) -> str:
    """Return `length` letters and digits, at most 64, that belong to the parts."""
    return _digest(parts, length).translate(_TO_LETTERS).decode()


def hexadecimal(*parts: object, length: int = 32) -> str:
    """Return `length` hexadecimal digits, an even number, that belong to the parts."""
    return _digest(parts, length // 2).hex()


def draws(*parts: object) -> tuple[float, ...]:
    """Return eight numbers in [0, 1) that belong to the parts."""
    return tuple(number / _FULL for number in _EIGHT.unpack(_digest(parts, 64)))


def whole(*parts: object, below: int) -> int:
    """Return a whole number in [0, below) that belongs to the parts."""
    return int(draws(*parts)[0] * below)


def bell(first: float, second: float, third: float) -> float:
    """Turn three draws into one of mean 0 and deviation 1, never beyond 3."""
    return (first + second + third - 1.5) * 2
