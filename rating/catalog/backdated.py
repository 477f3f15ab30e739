"""Whether a new catalog changes what was charged before an instant."""

from datetime import UTC, datetime
from typing import Any

from rating.catalog.model import Catalog

_ABOUT_RATING = ("meters", "prefixes", "prices", "plans")
_VERSIONED = "versions"


def same_before(one: Catalog, other: Catalog, instant: datetime) -> bool:
    """Whether two catalogs charge the same for what was used before `instant`: they differ at most in versions of
    prices that come into force later, in names and in what nothing was charged by."""
    return _until(one, instant) == _until(other, instant)


def _until(catalog: Catalog, instant: datetime) -> dict[str, Any]:
    document = catalog.document()
    kept = {section: document.get(section, {}) for section in _ABOUT_RATING}
    prices = {key: _price_until(price, instant) for key, price in kept["prices"].items()}
    return {**kept, "prices": {key: price for key, price in prices.items() if price[_VERSIONED]}}


def _price_until(price: dict[str, Any], instant: datetime) -> dict[str, Any]:
    """The price without its versions that come into force at the instant or later; the first is in force since ever
    where it does not say."""
    first = datetime.min.replace(tzinfo=UTC).isoformat()
    versions = [v for v in price[_VERSIONED] if datetime.fromisoformat(v.get("effective_from", first)) < instant]
    return {**price, _VERSIONED: versions}
