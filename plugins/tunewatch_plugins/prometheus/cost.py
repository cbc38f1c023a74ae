"""What the training of jobs cost, by the prices that the user gives.

Nothing is estimated without a price, and nothing of reinforcement jobs: those are
billed by the hour, and nobody says how many there were.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from tunewatch_plugins.prometheus.exemplars import Labels
from tunewatch_plugins.prometheus.exposition import Family, is_number, labels
from tunewatch_plugins.prometheus.tally import Kind

_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4})$")
_BY_TOKEN = frozenset({"supervised", "dpo"})
_MILLION = 1_000_000


class Prices:
    """Dollars for a million training tokens, by base model."""

    def __init__(self, prices: Mapping[str, float]) -> None:
        self._prices = prices

    def of(self, model: str) -> float | None:
        """Return the price of a model by its name, else by its name without date."""
        return self._prices.get(model, self._prices.get(_DATE.sub("", model)))

    def cost(
        self, tokens: Mapping[Labels, float], kinds: Sequence[Kind]
    ) -> Iterator[tuple[Family, str]]:
        """Yield what the tokens of the totals came to; nothing without prices."""
        if not self._prices:
            return
        born = {tuple(sorted(kind._asdict().items())): 0.0 for kind in kinds}
        costs = (
            (key, self._cost_of(dict(key), value))
            for key, value in sorted((born | dict(tokens)).items())
        )
        name = "tunewatch_estimated_cost_dollars"
        lines = (
            f"{name}_total{labels(key)}}} {cost}\n"
            for key, cost in costs
            if cost is not None and is_number(cost)
        )
        told = (
            "Estimated cost of training since the store was made, in dollars: API "
            "field trained_tokens times the setting prices."
        )
        yield Family(name, "counter", told), "".join(lines)

    def _cost_of(self, said: Mapping[str, str], tokens: float) -> float | None:
        price = self.of(said.get("base_model", ""))
        if price is None or said.get("method") not in _BY_TOKEN:
            return None
        return tokens * price / _MILLION
