"""What is wrong with a grant that is asked for: with itself, and with what it names in the catalog."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rating.catalog import Catalog
from rating.core.book import PriceBook
from rating.core.credits.schema import UNITS
from rating.core.metering import adds_up
from rating.core.money import plain
from store.credits import Grant, means

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def problems_of(grant: Grant, catalog: Catalog, book: PriceBook, owner: str | None) -> list[str]:
    """One sentence for each thing that is wrong. `owner` is the customer of the grant's subscription, if it exists."""
    return [*_in_numbers(grant), *_in_time(grant), *_in_whom(grant, owner), *_in_scope(grant, catalog, book)]


def out_of_bounds(name: str, at: datetime | None) -> list[str]:
    """Whether an instant is one that nobody means."""
    if at is None or EARLIEST <= at < LATEST:
        return []
    return [f"{name} is {at.isoformat()}: write an instant between {EARLIEST.year} and {LATEST.year}"]


def meters_of(features: Sequence[str], meters: Sequence[str], catalog: Catalog) -> list[str]:
    """The meters of a scope, those of its features included."""
    of_features = (catalog.features[key].meter for key in features if key in catalog.features)
    return sorted({*meters, *(meter for meter in of_features if meter is not None)})


def _in_numbers(grant: Grant) -> Iterator[str]:
    for name in ("amount", "increment", "factor"):
        value = getattr(grant, name)
        if value is not None and value <= 0:
            yield f"{name} is {plain(value)}: it must be above zero"
    if grant.factor is not None and grant.increment is None:
        yield "a factor goes with an increment"
    if grant.rollover_minimum is not None and grant.rollover_maximum is None:
        yield "rollover_minimum needs rollover_maximum"
    elif (grant.rollover_minimum or 0) > (grant.rollover_maximum or 0):
        yield "rollover_minimum is above rollover_maximum"


def _in_time(grant: Grant) -> Iterator[str]:
    for name in ("effective_at", "expires_at", "recurs_from"):
        yield from out_of_bounds(name, getattr(grant, name))
    if grant.expires_at is not None and grant.expires_at <= grant.effective_at:
        starts, ends = grant.effective_at.isoformat(), grant.expires_at.isoformat()
        yield f"it expires at {ends}, not after it takes effect at {starts}"
    if grant.recurs_from is not None and grant.recurs_every is None:
        yield "recurs_from goes with recurs_every"


def _in_whom(grant: Grant, owner: str | None) -> Iterator[str]:
    if grant.subscription is not None and owner is None:
        yield f"there is no subscription {grant.subscription!r}"
    elif grant.subscription is not None and owner != grant.customer:
        yield f"subscription {grant.subscription!r} is of customer {owner!r}"


def _in_scope(grant: Grant, catalog: Catalog, book: PriceBook) -> Iterator[str]:
    if grant.unit != UNITS and grant.unit not in catalog.currencies:
        yield f"the catalog has no currency {grant.unit!r}; it has {', '.join(catalog.currencies)}"
    for key in grant.features:
        if key not in catalog.features:
            yield f"the catalog has no feature {key!r}"
        elif catalog.features[key].meter is None:
            yield f"the feature {key!r} has no meter: no usage of it can be paid"
    meters = {meter.key: meter for meter in book.meters}
    for key in grant.meters:
        if key not in meters:
            yield f"the catalog has no meter {key!r}"
        elif grant.unit == UNITS and not adds_up(meters[key]):
            yield f"meter {key!r} does not add up, and units are taken off event by event; grant money instead"
    for pattern in grant.prices:
        if not any(means(pattern, price) for price in book.prices["price"]):
            yield f"the catalog has no price {pattern!r}: the grant could never pay anything by it"
