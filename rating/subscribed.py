"""What customers have subscribed to: looked up one by one among the subscriptions of a million."""

import polars as pl

from rating.core.quota.entitled import AGREED_ROW, Agreed, agreed_of
from rating.core.subscriptions import plan_of_variant

KEPT_MAX = 4096
"""So many customers are not looked up again."""


class Subscribed:
    """Not for several threads."""

    def __init__(self, subscriptions: pl.DataFrame) -> None:
        """`subscriptions` is SUBSCRIPTION."""
        self._rows = subscriptions.with_columns(plan_of_variant()).select(AGREED_ROW)
        by_customer = subscriptions.select("customer", "subscription", "item", "starts_at").with_row_index("row")
        ordered = by_customer.sort("customer", "subscription", "item", "starts_at")
        self._order, self._customers = ordered["row"], ordered["customer"]
        self._kept: dict[str, list[Agreed]] = {}

    def of(self, customer: str) -> list[Agreed]:
        """What one customer has subscribed to."""
        found = self._kept.get(customer)
        if found is None:
            if len(self._kept) >= KEPT_MAX:
                self._kept.clear()
            found = self._kept[customer] = self._look_up(customer)
        return found

    def _look_up(self, customer: str) -> list[Agreed]:
        first, last = (int(self._customers.search_sorted(customer, side=side)) for side in ("left", "right"))
        if first == last:
            return []
        rows = self._rows[self._order.slice(first, last - first)]
        return agreed_of(rows.iter_rows())
