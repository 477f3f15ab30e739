"""Which price an event meets, and which of its numbers hold: the catalog document, read at an instant."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from tests.oracle.bands import bands_of


def plan_prices(document: Mapping[str, Any], plan: str) -> dict[str, Any]:
    patterns = document["plans"][plan]["prices"]
    return {
        name: price
        for name, price in document["prices"].items()
        if any(name == p or (p.endswith("*") and name.startswith(p[:-1])) for p in patterns)
    }


def prices_of_meter(price: Any, meter: str) -> bool:
    return meter in (price.get("meters") or [price.get("meter")])


def price_for(prices: Mapping[str, Any], meter: str, data: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The price whose match, or one of whose cells, says most of the dimensions; with that as its match."""
    fitting = [
        (name, {**price, "match": match})
        for name, price in prices.items()
        for match in matches(price)
        if meter in (price.get("meters") or [price.get("meter")]) and all(data.get(d) == v for d, v in match.items())
    ]
    return max(fitting, key=lambda found: len(found[1].get("match", {})), default=None)


def matches(price: Any) -> list[dict[str, str]]:
    match = price.get("match", {})
    if price["model"] not in ("matrix", "weighted_matrix"):
        return [match]
    default = {"matrix": "unit_amount", "weighted_matrix": "factor"}[price["model"]]
    cells = [cell["match"] for version in price["versions"] for cell in version["cells"]]
    rest: list[dict[str, str]] = [{}] if any(default in version for version in price["versions"]) else []
    return [{**match, **cell} for cell in [*cells, *rest]]


def version_at(price: Any, at: datetime) -> int | None:
    begun = [
        i for i, v in enumerate(price["versions"]) if "effective_from" not in v or at >= instant(v["effective_from"])
    ]
    return begun[-1] if begun else None


def instant(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    parsed = datetime.fromisoformat(value)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def rate_numbers(price: Any, version: int, window: int | None) -> Any:
    base = price["versions"][version]
    return base if window is None else {**base, **bands_of(base)[window]}
