"""What an answer is to look like, by the request's headers: format and compression.

Prometheus 2 and 3 name what they can read in `Accept`, each with a weight. Every name
that is sent is a plain one, so an escaping that is asked for is kept by doing nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

OPENMETRICS = "application/openmetrics-text"
PLAIN = "text/plain"
_ESCAPINGS = frozenset({"allow-utf-8", "underscores", "dots", "values"})


class Wanted(NamedTuple):
    """The answer that the headers prefer among those there are."""

    is_openmetrics: bool
    content_type: str
    is_gzip: bool


class _Offer(NamedTuple):
    name: str
    parameters: Mapping[str, str]

    @property
    def weight(self) -> float:
        """Return how much it is wanted, 0 for not at all."""
        try:
            weight = float(self.parameters.get("q", "1"))
        except ValueError:
            return 0.0
        return weight if 0 <= weight <= 1 else 0.0


def wanted(headers: Mapping[str, str]) -> Wanted:
    """Return what is wanted; headers have lower-case names."""
    is_openmetrics, content_type = _format(headers.get("accept", ""))
    is_gzip = _is_gzip_wanted(headers.get("accept-encoding", ""))
    return Wanted(is_openmetrics, content_type, is_gzip)


def _format(accept: str) -> tuple[bool, str]:
    best, best_weight = _Offer(PLAIN, {}), 0.0
    plain_by_glob = 0.0
    for offer in _offers(accept):
        if offer.name in {"*/*", "text/*"}:
            plain_by_glob = max(plain_by_glob, offer.weight)
        elif _is_ours(offer) and (offer.weight, _rank(offer)) > (
            best_weight,
            _rank(best),
        ):
            best, best_weight = offer, offer.weight
    # Who takes anything and only puts up with OpenMetrics gets the simple format.
    if best.name == OPENMETRICS and best_weight < plain_by_glob:
        best = _Offer(PLAIN, {})
    return best.name == OPENMETRICS, _content_type(best)


def _is_ours(offer: _Offer) -> bool:
    version = offer.parameters.get("version")
    if offer.name == OPENMETRICS:
        return offer.weight > 0 and version in {None, "1.0.0"}
    return offer.name == PLAIN and offer.weight > 0


def _rank(offer: _Offer) -> int:
    """Return which of two formats that are wanted alike is better."""
    if offer.name == OPENMETRICS:
        return 2
    return int(offer.parameters.get("version") == "1.0.0")


def _content_type(offer: _Offer) -> str:
    version = "0.0.4" if _rank(offer) == 0 else "1.0.0"
    written = f"{offer.name}; version={version}; charset=utf-8"
    escaping = offer.parameters.get("escaping")
    if version == "1.0.0" and escaping in _ESCAPINGS:
        written += f"; escaping={escaping}"
    return written


def _is_gzip_wanted(accept_encoding: str) -> bool:
    weights = {offer.name: offer.weight for offer in _offers(accept_encoding)}
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _offers(header: str) -> Iterator[_Offer]:
    for offer in header.lower().split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        yield _Offer(name, {key.strip(): value.strip(' "') for key, _, value in pairs})
