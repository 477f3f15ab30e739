"""A catalog to the price book that the core reads: plain values and frames."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import polars as pl

from rating.catalog.adjustments import adjustment_columns
from rating.catalog.allowances import allowance_rows
from rating.catalog.check_plans import PriceKeys
from rating.catalog.compiling_meters import compiled_meter
from rating.catalog.credits import credit_rows
from rating.catalog.entitlements import entitlement_rows, grant_rows
from rating.catalog.feature_rules import rule_rows
from rating.catalog.frames import Row, frame_of
from rating.catalog.literals import currency_digits
from rating.catalog.model import Catalog, Plan
from rating.catalog.policies import policy_rows
from rating.catalog.prefixes import compiled_prefixes
from rating.catalog.presets import FeePrice, Price
from rating.catalog.rates import rates_of, versions_of
from rating.catalog.variants import with_variants
from rating.core import book, schema
from rating.core.credits.schema import PLAN_CREDIT


def compile_catalog(catalog: Catalog, plans: Iterable[str] = ()) -> book.PriceBook:
    """The price book of a catalog that has passed its checks, with those of `plans` that are variants of its own
    (variants.py). Equal versions and variants give equal books."""
    version, catalog = catalog.version, with_variants(catalog, plans)
    prices = dict(sorted(catalog.prices.items()))
    prefixes = compiled_prefixes(catalog.prefixes)
    price_keys = PriceKeys(prices)
    keys_by_plan = {key: price_keys.of_plan(plan) for key, plan in sorted(catalog.plans.items())}
    return book.PriceBook(
        version=version,
        meters=tuple(compiled_meter(key, meter, prefixes) for key, meter in sorted(catalog.meters.items())),
        shapes=tuple(_shapes(prices, keys_by_plan)),
        prices=frame_of(schema.PRICE, [_price_row(key, price) for key, price in prices.items()]),
        **vars(rates_of(prices, _in_allowances(catalog))),
        adjustments=frame_of(schema.ADJUSTMENT, _adjustment_rows(catalog.plans, prices, keys_by_plan)),
        plan_allowances=frame_of(schema.PLAN_ALLOWANCE, list(_allowance_rows(catalog))),
        credits=frame_of(PLAN_CREDIT, list(_credit_rows(catalog, keys_by_plan))),
        fees=frame_of(schema.PLAN_FEE, list(_fee_rows(prices, keys_by_plan))),
        features=frame_of(schema.FEATURE, [(key, it.meter) for key, it in sorted(catalog.features.items())]),
        feature_rules=frame_of(schema.FEATURE_RULE, list(rule_rows(catalog.features))),
        entitlements=frame_of(schema.ENTITLEMENT, list(_entitlement_rows(catalog))),
        quota_grants=frame_of(schema.PLAN_QUOTA_GRANT, list(_quota_grant_rows(catalog))),
        policies=frame_of(
            schema.POLICY, [row for key, plan in sorted(catalog.plans.items()) for row in _policies(key, plan)]
        ),
    )


def _price_row(key: str, price: Price) -> Row:
    digits = currency_digits(price.currency)
    assert digits is not None, f"{price.currency} was checked to have a minor unit"
    shown_digits = digits if price.rounding_digits is None else price.rounding_digits
    return key, price.currency, digits, price.model, price.rounding, shown_digits, price.rounding_place


def _shapes(prices: Mapping[str, Price], keys_by_plan: Mapping[str, Sequence[str]]) -> Iterator[book.PriceShape]:
    """The prices of plans by meter, matched dimensions and groups, in that order."""
    plans_by_price: dict[str, list[str]] = defaultdict(list)
    for plan, keys in keys_by_plan.items():
        for key in keys:
            plans_by_price[key].append(plan)
    rows: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[Row]] = defaultdict(list)
    for key, price in prices.items():
        if isinstance(price, FeePrice):
            continue
        for cell in price.cells():
            match = tuple(sorted(cell.match))
            values = tuple(cell.match[dimension] for dimension in match)
            priced = [(plan, key, cell.number, *values) for plan in plans_by_price[key]]
            for meter in cell.meters:
                rows[meter, match, tuple(sorted(price.group_by))].extend(priced)
    for (meter, match, group_by), shape_rows in sorted(rows.items()):
        texts = dict.fromkeys(match, pl.String())
        columns = pl.Schema({"plan": pl.String(), "price": pl.String(), "cell": pl.Int32(), **texts})
        if shape_rows:
            yield book.PriceShape(meter, match, group_by, frame_of(columns, shape_rows))


def _adjustment_rows(
    plans: Mapping[str, Plan], prices: Mapping[str, Price], keys_by_plan: Mapping[str, Sequence[str]]
) -> list[Row]:
    """The adjustments of each plan's prices and its own."""
    rows: list[Row] = []
    for plan, keys in keys_by_plan.items():
        for key in keys:
            price = prices[key]
            for version, span, written in versions_of(price):
                owner = ("price", plan, key, version, *span, price.model)
                columns = adjustment_columns(written.adjust, price.currency, price.rounding)
                rows.extend((*owner, *row) for row in columns)
        own = plans[plan]
        columns = adjustment_columns(own.adjust, own.currency, own.rounding)
        scopes = ("subscription" if one.items == "all" else "plan" for one in own.adjust)
        of_plan = zip(scopes, columns, strict=True)
        rows.extend((scope, plan, None, None, None, None, None, *row) for scope, row in of_plan)
    return [(number, *row) for number, row in enumerate(rows)]


def _fee_rows(prices: Mapping[str, Price], keys_by_plan: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    for plan, keys in keys_by_plan.items():
        for key in keys:
            price = prices[key]
            if isinstance(price, FeePrice):
                yield plan, key, price.due, price.per == "seat", price.prorate is not None


def _in_allowances(catalog: Catalog) -> set[str]:
    """The prices that use an allowance of some plan."""
    allowances = [allowance for plan in catalog.plans.values() for allowance in plan.allowances.values()]
    return {price for allowance in allowances for price in allowance.prices}


def _allowance_rows(catalog: Catalog) -> Iterator[Row]:
    for key, plan in sorted(catalog.plans.items()):
        yield from allowance_rows(key, plan.allowances)


def _entitlement_rows(catalog: Catalog) -> Iterator[Row]:
    for key, plan in sorted(catalog.plans.items()):
        for feature, entitlement in sorted(plan.entitlements.items()):
            yield from entitlement_rows(key, feature, catalog.features[feature].meter, entitlement)


def _quota_grant_rows(catalog: Catalog) -> Iterator[Row]:
    for key, plan in sorted(catalog.plans.items()):
        for feature, entitlement in sorted(plan.entitlements.items()):
            yield from grant_rows(key, feature, entitlement)


def _policies(key: str, plan: Plan) -> Iterator[Row]:
    return policy_rows(key, plan.policies)


def _credit_rows(catalog: Catalog, keys_by_plan: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    meter_of = {key: feature.meter for key, feature in catalog.features.items() if feature.meter is not None}
    for key, plan in sorted(catalog.plans.items()):
        yield from credit_rows(key, plan.currency, plan.credits, meter_of, keys_by_plan[key])
