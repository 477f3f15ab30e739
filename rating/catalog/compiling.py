"""A catalog to the price book that the core reads: plain values and frames, each frame built from whole columns."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from rating.catalog.check_plans import PriceKeys
from rating.catalog.literals import SINCE_EVER, currency_digits
from rating.catalog.model import (
    Catalog,
    Filter,
    FlatPrice,
    FlatVersion,
    Meter,
    PackageVersion,
    PackageWindow,
    PerRequestVersion,
    PerRequestWindow,
    Price,
    Tier,
    TieredVersion,
    TieredWindow,
    TimeWindow,
    UnitVersion,
    UnitWindow,
    UsageVersion,
    UsageWindow,
)
from rating.core import book, schema

FOR_EVER = datetime(9999, 12, 31, tzinfo=UTC)
NOTHING = Decimal(0)

Row = tuple[Any, ...]
TierRow = tuple[Decimal, Decimal | None, Decimal, Decimal]  # from, to, unit amount, flat amount


@dataclass(frozen=True)
class _Numbers:
    """What a version or a window charges, in the columns of RATE and TIER."""

    tiers: tuple[TierRow, ...]
    per: int = 1
    package_size: Decimal | None = None
    size: str | None = None


def compile_catalog(catalog: Catalog) -> book.PriceBook:
    """The price book of a catalog that has passed its checks. Equal versions give equal books."""
    prices = dict(sorted(catalog.prices.items()))
    price_keys = PriceKeys(prices)
    keys_by_plan = {key: price_keys.of_plan(plan) for key, plan in sorted(catalog.plans.items())}
    rates, tiers = _rate_rows(prices)
    return book.PriceBook(
        version=catalog.version,
        meters=tuple(_meter(key, meter) for key, meter in sorted(catalog.meters.items())),
        shapes=tuple(_shapes(prices, keys_by_plan)),
        prices=_frame(schema.PRICE, [_price_row(key, price) for key, price in prices.items()]),
        rates=_frame(schema.RATE, rates),
        tiers=_frame(schema.TIER, tiers),
        fees=_frame(schema.PLAN_FEE, list(_fee_rows(prices, keys_by_plan))),
        entitlements=_frame(schema.ENTITLEMENT, list(_entitlement_rows(catalog))),
    )


def _frame(row_schema: pl.Schema, rows: Sequence[Row]) -> pl.DataFrame:
    """The rows as a frame, by columns: a frame of dicts or tuples would look at each value's type."""
    columns = zip(*rows, strict=True) if rows else [()] * len(row_schema)
    return pl.DataFrame(
        [
            pl.Series(name, values, dtype=dtype, strict=True)
            for (name, dtype), values in zip(row_schema.items(), columns, strict=True)
        ]
    )


def _meter(key: str, meter: Meter) -> book.Meter:
    return book.Meter(
        key=key,
        event_type=meter.event_type,
        aggregation=meter.aggregation,
        add=tuple(sorted([*([meter.property] if meter.property is not None else []), *meter.add])),
        subtract=tuple(sorted(meter.subtract)),
        filters=tuple(sorted(map(_filter, meter.filters), key=lambda it: (it.property, it.operator, it.values))),
        group_by=tuple(sorted(meter.group_by)),
    )


def _filter(condition: Filter) -> book.Filter:
    if condition.not_in is not None:
        return book.Filter(condition.property, "not_in", tuple(sorted(condition.not_in)))
    values = condition.in_ if condition.in_ is not None else (condition.equals,)
    return book.Filter(condition.property, "in", tuple(sorted(value for value in values if value is not None)))


def _price_row(key: str, price: Price) -> Row:
    digits = currency_digits(price.currency)
    assert digits is not None, f"{price.currency} was checked to have a minor unit"
    return key, price.currency, digits, price.model, price.rounding


def _rate_rows(prices: Mapping[str, Price]) -> tuple[list[Row], list[Row]]:
    """The rows of RATE and of TIER, numbered in the order of price, version and window."""
    rates: list[Row] = []
    tiers: list[Row] = []
    for key, price in prices.items():
        starts = [version.effective_from or SINCE_EVER for version in price.versions]
        versions: Sequence[FlatVersion | UsageVersion] = price.versions
        for index, version in enumerate(versions):
            span = (starts[index], starts[index + 1] if index + 1 < len(starts) else FOR_EVER)
            for window, numbers in _charges(version):
                rate = len(rates)
                charged = (numbers.per, numbers.package_size, numbers.size)
                rates.append((rate, key, index, *span, *window, *charged))
                tiers.extend((rate, tier, *row) for tier, row in enumerate(numbers.tiers))
    return rates, tiers


def _charges(version: FlatVersion | UsageVersion) -> Iterator[tuple[Row, _Numbers]]:
    """The rates of a version: (window, zone, from, to) with numbers; first its own, then its windows by their start."""
    yield (None, None, None, None), _numbers_of(version)
    if isinstance(version, FlatVersion):
        return
    windows: Sequence[UsageWindow] = sorted(version.time_of_day, key=lambda window: window.from_)
    for index, window in enumerate(windows):
        yield (index, *_window_columns(window)), _numbers_of_window(window, version)


def _window_columns(window: TimeWindow) -> Row:
    return window.time_zone, _microseconds(window.from_), _microseconds(window.to)


def _microseconds(of_day: time) -> int:
    since_midnight = timedelta(
        hours=of_day.hour, minutes=of_day.minute, seconds=of_day.second, microseconds=of_day.microsecond
    )
    return since_midnight // timedelta(microseconds=1)


def _numbers_of(version: FlatVersion | UsageVersion) -> _Numbers:
    match version:
        case FlatVersion():
            return _Numbers(_open_tier(flat_amount=version.amount))
        case UnitVersion():
            return _Numbers(_open_tier(unit_amount=version.unit_amount), version.per)
        case PackageVersion():
            return _Numbers(_open_tier(flat_amount=version.amount), package_size=version.package_size)
        case PerRequestVersion():
            return _Numbers(_tier_rows(version.tiers), version.per, size=version.size)
        case TieredVersion():
            return _Numbers(_tier_rows(version.tiers), version.per)


def _numbers_of_window(window: UsageWindow, version: UsageVersion) -> _Numbers:
    """The numbers of a window: `per` and `size` come from its version where it has none."""
    inherited = _numbers_of(version)
    match window:
        case UnitWindow():
            return _Numbers(_open_tier(unit_amount=window.unit_amount), window.per or inherited.per)
        case PackageWindow():
            return _Numbers(_open_tier(flat_amount=window.amount), package_size=window.package_size)
        case PerRequestWindow():
            return _Numbers(_tier_rows(window.tiers), window.per or inherited.per, size=window.size or inherited.size)
        case TieredWindow():
            return _Numbers(_tier_rows(window.tiers), window.per or inherited.per)


def _open_tier(*, unit_amount: Decimal = NOTHING, flat_amount: Decimal = NOTHING) -> tuple[TierRow, ...]:
    return ((NOTHING, None, unit_amount, flat_amount),)


def _tier_rows(tiers: Sequence[Tier]) -> tuple[TierRow, ...]:
    starts = [NOTHING, *(tier.up_to for tier in tiers if tier.up_to is not None)]
    return tuple(
        (start, tier.up_to, tier.unit_amount or NOTHING, tier.flat_amount or NOTHING)
        for start, tier in zip(starts, tiers, strict=True)
    )


def _shapes(prices: Mapping[str, Price], keys_by_plan: Mapping[str, Sequence[str]]) -> Iterator[book.PriceShape]:
    """The prices of plans by meter, matched dimensions and groups, in that order."""
    plans_by_price: dict[str, list[str]] = defaultdict(list)
    for plan, keys in keys_by_plan.items():
        for key in keys:
            plans_by_price[key].append(plan)
    rows: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[Row]] = defaultdict(list)
    for key, price in prices.items():
        if isinstance(price, FlatPrice):
            continue
        match = tuple(sorted(price.match))
        values = tuple(price.match[dimension] for dimension in match)
        priced = [(plan, key, *values) for plan in plans_by_price[key]]
        for meter in price.meter_keys:
            rows[meter, match, tuple(sorted(price.group_by))].extend(priced)
    for (meter, match, group_by), shape_rows in sorted(rows.items()):
        columns = pl.Schema(dict.fromkeys(("plan", "price", *match), pl.String()))
        if shape_rows:
            yield book.PriceShape(meter, match, group_by, _frame(columns, shape_rows))


def _fee_rows(prices: Mapping[str, Price], keys_by_plan: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    for plan, keys in keys_by_plan.items():
        yield from ((plan, key) for key in keys if isinstance(prices[key], FlatPrice))


def _entitlement_rows(catalog: Catalog) -> Iterator[Row]:
    for key, plan in sorted(catalog.plans.items()):
        for feature, entitlement in sorted(plan.entitlements.items()):
            yield key, feature, catalog.features[feature].meter, entitlement.limit, entitlement.window
