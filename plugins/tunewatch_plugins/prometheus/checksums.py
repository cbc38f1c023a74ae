"""The CRC-32 of a text from those of its pieces, without reading any of them again.

Checksums are linear: that of a first piece is carried on over as many zeros as the
second has bytes. To carry it on by a bit is to multiply it by x, modulo the polynomial,
so that over n bytes it is multiplied by x to the power of 8 n.
"""

from __future__ import annotations

_POLYNOMIAL = 0xEDB88320  # bits reversed: the highest is x to the power of 0
_ONE = 1 << 31


def crc_of_both(first: int, second: int, length: int) -> int:
    """Return the checksum of two pieces, the second of which has so many bytes."""
    power, n = _ONE, 3
    while length:
        if length & 1:
            power = _product(_POWERS[n % len(_POWERS)], power)
        length >>= 1
        n += 1
    return _product(power, first) ^ second


def _product(one: int, other: int) -> int:
    """Return the product of two polynomials modulo that of the checksum."""
    product, bit = 0, _ONE
    while bit:
        if one & bit:
            product ^= other
        bit >>= 1
        other = (other >> 1) ^ (_POLYNOMIAL if other & 1 else 0)
    return product


def _powers() -> list[int]:
    """Return x to the power of 1, 2, 4 …; behind the last one they begin again."""
    powers = [_ONE >> 1]
    while len(powers) < 32:
        powers.append(_product(powers[-1], powers[-1]))
    return powers


_POWERS = _powers()
