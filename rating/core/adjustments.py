"""Adjustments: what a price or a plan adds to the charged sum X of its lines, or takes off, once they are rounded.

    minimum     amount - X, when X is less
    maximum     amount - X, when X is more
    discount    -(X x percent / 100), or -(amount), never more than X
    surcharge   X x percent / 100, or amount
    commitment  amount - X when X is less (the true-up), else (X - amount) x (overage_multiplier - 1)

X is the sum of rounded lines, because that is what a customer sees and adds up; each adjustment is a line of its own
and is rounded by itself, so that a minimum of 100.00 is exactly 100.00. They are taken in their order, those of prices
before those of the plan, and those over all items of a subscription last; each sees what the ones before have made.
Over all items X is of the lines in the plan's currency that begin while the plan is in force. A price or a plan is
charged its minimum without any usage too. The version of a price in force when the subscription's part of the period
begins says what is adjusted.
"""

import polars as pl

from rating.core.book import PriceBook
from rating.core.lines import CHARGE_LINE, ordered, with_line_ids
from rating.core.money import ZERO, product, quotient, round_by_currency
from rating.core.operators.prorate import part_of
from rating.core.proration import parts_of_periods
from rating.core.schema import AMOUNT, PAYER
from rating.core.service_periods import with_payers
from rating.core.subscriptions import plan_of_variant

_ABSENT = ("window", "grant", "pays", "adjusts", "meter", "size")
_ITEM = ["subscription", "item"]
_SUMMED = {
    "price": [*_ITEM, "period_start", "price"],
    "plan": [*_ITEM, "period_start"],
    "subscription": ["subscription", "period_start", "currency"],
}
"""What tells the lines that are summed from others, by the scope of the adjustment."""
_ONE, _HUNDRED = pl.lit(1, dtype=AMOUNT), pl.lit(100, dtype=AMOUNT)


def adjusted(lines: pl.DataFrame, served: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """`lines` (CHARGE_LINE) and the lines of all adjustments, in LINE_ORDER. `served` is SERVICE_PERIOD."""
    if book.adjustments.is_empty():
        return lines
    for scope in (one for one in ("price", "plan", "subscription") if one in book.adjustments["scope"]):
        due = _due(served, book, scope)
        for place in due["place"].unique().sort():
            lines = pl.concat([lines, _lines(due.filter(pl.col("place") == place), lines, scope, book)])
    return ordered(lines)


def _due(served: pl.DataFrame, book: PriceBook, scope: str) -> pl.DataFrame:
    """One row for each adjustment of each stretch: SERVICE_PERIOD beside ADJUSTMENT. With what is owed in advance
    only a part of it is known: of that only percentages are taken."""
    adjustments = book.adjustments.filter(pl.col("scope") == scope)
    payers = with_payers(served).filter(pl.col("part") != "seats")
    met = payers.join(adjustments, on="plan", validate="m:m")
    due = _prorated(met.filter((pl.col("bills") == "all") | _is_percentage()), served)
    if scope != "price":
        return due.with_columns(price=pl.lit(None, dtype=pl.String))
    return due.filter(pl.col("from") >= pl.col("effective_from"), pl.col("from") < pl.col("effective_to"))


def _prorated(due: pl.DataFrame, served: pl.DataFrame) -> pl.DataFrame:
    """`value` is the part of the amount that holds, and `numbers` says so, where the adjustment prorates."""
    known = due.join(parts_of_periods(served), on=[PAYER, "by"], how="left", validate="m:1", maintain_order="left")
    part = pl.struct("by", pl.col("served", "whole").cast(pl.String)).struct.json_encode()
    numbers = pl.concat_str(pl.col("numbers").str.strip_suffix("}"), pl.lit(","), part.str.strip_prefix("{"))
    prorated = {"value": part_of(pl.col("value")), "numbers": numbers}
    is_prorated = pl.col("by").is_not_null()
    changed = {name: pl.when(is_prorated).then(one).otherwise(name) for name, one in prorated.items()}
    return known.with_columns(**changed).drop("served", "whole")


def _lines(due: pl.DataFrame, lines: pl.DataFrame, scope: str, book: PriceBook) -> pl.DataFrame:
    """CHARGE_LINE of the adjustments that change something; those of one place."""
    charged = due.join(_charged(due, lines, scope), on=[PAYER, "adjustment"], how="left")
    charged = charged.with_columns(pl.col("charged").fill_null(0).cast(AMOUNT)).with_columns(amount=_change())
    kinds = list(book.adjustments.select("currency_digits", "rounding").unique().iter_rows())
    operation = pl.struct(
        operator=pl.when(pl.col("kind").is_in(["minimum", "maximum"]))
        .then(pl.lit("clamp"))
        .otherwise(pl.lit("compose")),
        level=pl.lit(scope),
        on=pl.lit("amount"),
        before="charged",
        after=pl.col("charged") + pl.col("amount"),
        numbers="numbers",
    )
    described = charged.filter(pl.col("amount") != 0).with_columns(
        plan=plan_of_variant(),
        service_start="from",
        service_end="to",
        rounded_amount=round_by_currency("amount", "currency_digits", "rounding", kinds),
        operations=pl.concat_list(operation),
        group=pl.lit("{}"),
        adjustment="place",
        quantity=pl.lit(0),
        events=pl.lit(0),
        tiers=pl.lit([], dtype=CHARGE_LINE["tiers"]),
        **{name: pl.lit(None, dtype=CHARGE_LINE[name]) for name in _ABSENT},
    )
    columns = [pl.col(name).cast(dtype) for name, dtype in CHARGE_LINE.items() if name != "line"]
    return with_line_ids(described.lazy().select(columns)).select(CHARGE_LINE.names()).collect()


def _charged(due: pl.DataFrame, lines: pl.DataFrame, scope: str) -> pl.DataFrame:
    """What the lines in the scope of each adjustment sum up to, rounded as they are."""
    keys = _SUMMED[scope]
    wanted = due.select(PAYER, "adjustment", "of", *keys, "from", "to").lazy()
    met = lines.lazy().select(*keys, "service_start", "rounded_amount", line_kind="kind").join(wanted, on=keys)
    own = met.filter(pl.col("service_start") >= pl.col("from"), pl.col("service_start") < pl.col("to"))
    is_fee = pl.col("line_kind") == "fee"
    counted = own.filter(
        (pl.col("of") == "all") | ((pl.col("of") == "fees") & is_fee) | ((pl.col("of") == "usage") & ~is_fee)
    )
    return counted.group_by(PAYER, "adjustment").agg(charged=pl.col("rounded_amount").sum()).collect()


def _is_percentage() -> pl.Expr:
    return pl.col("kind").is_in(["discount", "surcharge"]) & pl.col("value").is_null()


def _change() -> pl.Expr:
    charged, amount = pl.col("charged"), pl.col("value")
    missing = pl.max_horizontal(amount - charged, ZERO)
    over = pl.max_horizontal(charged - amount, ZERO)
    of_percent = quotient(product(charged, pl.col("percent").fill_null(ZERO)), _HUNDRED)
    part = of_percent + amount.fill_null(ZERO)
    taken = pl.when(charged > 0).then(pl.min_horizontal(part, charged)).otherwise(ZERO)
    true_up = pl.when("true_up").then(missing).otherwise(ZERO)
    overage = product(over, pl.col("multiplier").fill_null(_ONE) - _ONE)
    changes = {
        "minimum": missing,
        "maximum": -over,
        "discount": -taken,
        "surcharge": part,
        "commitment": true_up + overage,
    }
    return pl.coalesce(pl.when(pl.col("kind") == kind).then(change) for kind, change in changes.items()).cast(AMOUNT)
