"""The grants that plans give: one for each subscription, credit and billing period, and the resets between periods."""

from collections.abc import Iterator

import polars as pl

from rating.core.credits.schema import GRANT, RESET
from rating.core.money import part
from rating.core.periods import Month, month_in_zones
from rating.core.proration import parts_of_periods
from rating.core.schema import AMOUNT, INSTANT, PAYER, QUANTITY
from rating.core.service_periods import service_periods, with_payers
from rating.core.subscriptions import plan_of_variant


def plan_grants(credits: pl.DataFrame, subscriptions: pl.DataFrame, first: Month, last: Month) -> pl.DataFrame:
    """GRANT of the months `first` to `last`, by PLAN_CREDIT and SUBSCRIPTION; id `<subscription>/<credit>/<month>`.

    A grant pays what its subscription uses. It is effective from where the subscription is in force in the period, and
    expires at the end of the last period that it lasts, or with the subscription. One that is prorated is of the parts
    of the period in which the plan is in force, rounded half to even at the 9th decimal.
    """
    given = [_of_month(credits, subscriptions, month) for month in _months(first, last)]
    return pl.concat([GRANT.to_frame(), *given]).sort("grant")


def plan_resets(subscriptions: pl.DataFrame, first: Month, last: Month) -> pl.DataFrame:
    """RESET at the start of each period but the first, in which a customer has a subscription."""
    starts = [
        _served(subscriptions, month).select("customer", at="period_start", keeps_overage=pl.lit(False))
        for month in _months(first.next(), last)
    ]
    return pl.concat([RESET.to_frame(), *starts]).unique().sort("customer", "at")


def _months(first: Month, last: Month) -> Iterator[Month]:
    while first <= last:
        yield first
        first = first.next()


def _of_month(credits: pl.DataFrame, subscriptions: pl.DataFrame, month: Month) -> pl.DataFrame:
    ends = subscriptions.group_by("subscription", "item").agg(
        last=pl.when(pl.col("ends_at").is_not_null().all()).then(pl.col("ends_at").max())
    )
    served = _served(subscriptions, month)
    given = _for_parts(with_payers(served).with_columns(plan=plan_of_variant()).join(credits, on="plan"), served)
    given = given.join(ends, on=["subscription", "item"], validate="m:1").unique(
        ["subscription", "credit"], keep="first", maintain_order=True
    )
    begins = pl.col("began_at") >= pl.col("period_start")
    due = given.filter((pl.col("recurs") == "period") | begins)
    ended = due.join(_ends(due, month), on=["time_zone", "lasts_periods"], how="left", nulls_equal=True)
    named = ended.with_columns(
        grant=pl.format("{}/{}/{}", "subscription", "credit", pl.lit(str(month))),
        kind=pl.lit("grant"),
        created_at="from",
        effective_at="from",
        expires_at=pl.min_horizontal("lasts_until", "last"),
    )
    absent = [pl.lit(None).alias(name) for name in GRANT if name not in named.columns]
    return named.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in GRANT.items())


def _for_parts(given: pl.DataFrame, served: pl.DataFrame) -> pl.DataFrame:
    """PLAN_CREDIT by who is given it (`served`), with the `amount` of all parts of the period on the same plan."""
    if given["by"].null_count() == given.height:
        return given
    parts = given.join(parts_of_periods(served), on=[PAYER, "by"], how="left", validate="m:1", maintain_order="left")
    together = pl.col("served").sum().over("subscription", "item", "plan", "credit")
    amount = part(pl.col("amount"), together, pl.col("whole"), QUANTITY).cast(AMOUNT)
    made = parts.with_columns(amount=pl.when(pl.col("by").is_null()).then("amount").otherwise(amount))
    return made.filter(pl.col("amount") > 0)


def _served(subscriptions: pl.DataFrame, month: Month) -> pl.DataFrame:
    """SERVICE_PERIOD of calendar months: credits are granted and settled by these."""
    served = service_periods(subscriptions, month)
    return served.filter(pl.col("part") != "seats", pl.col("period") == str(month))


def _ends(due: pl.DataFrame, month: Month) -> pl.DataFrame:
    """`lasts_until` of each `time_zone` and `lasts_periods` that occurs."""
    found = [pl.DataFrame(schema={"time_zone": pl.String, "lasts_periods": pl.Int64, "lasts_until": INSTANT})]
    for periods in due["lasts_periods"].drop_nulls().unique():
        months = month.year * 12 + month.month - 1 + periods
        zones = month_in_zones(Month(months // 12, months % 12 + 1), due["time_zone"])
        found.append(
            zones.select("time_zone", lasts_periods=pl.lit(periods, dtype=pl.Int64), lasts_until="period_start")
        )
    return pl.concat(found)
