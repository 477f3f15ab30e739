"""What the price book says about a charge line beside the line itself: enough to explain it in words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from rating.core.bands import Calendar
from rating.core.book import Chain, Meter, PriceBook
from rating.core.money import plain
from rating.core.windows import PERIOD

_WEEKDAYS = ("", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATES_SHOWN = 3
WITHOUT_STEP = ("credit", "round", "tier")
"""The operations of a line that no step of its price has made."""


@dataclass(frozen=True)
class SharedAllowance:
    """An allowance of the line's plan. `used` is what all lines of the subscription took of it in the period: where
    that is more than `units`, the rest came from the period before. `window` is what the units are for, where that is
    no billing period, and `by` how they are prorated, if they are."""

    name: str
    units: Decimal
    rollover_maximum: Decimal
    prices: tuple[str, ...]  # in the order in which they use it
    used: Decimal
    window: str | None = None
    by: str | None = None


@dataclass(frozen=True)
class About:
    """Null where the line has no such thing, or where the book that it was rated by is not known."""

    meter: Meter | None = None
    chain: Chain | None = None
    tier_mode: str | None = None
    allowance: SharedAllowance | None = None
    band: str | None = None
    counted: str = "all"  # of an adjustment: all | usage | fees


NOTHING_ABOUT = About()


def about(line: Mapping[str, Any], book: PriceBook, lines: pl.DataFrame) -> About:
    """About a CHARGE_LINE row, of the `lines` (CHARGE_LINE) of its subscription in the same run."""
    if line["kind"] not in ("usage", "fee"):
        return About(counted=_counted(line, book))
    rates = book.rates.filter(
        pl.col("price") == line["price"],
        pl.col("version") == line["price_version"],
        pl.col("window").eq_missing(pl.lit(line["window"])),
    )
    meters = [meter for meter in book.meters if meter.key == line["meter"]]
    return About(
        meter=meters[0] if meters else None,
        chain=_chain(line, [book.chains[place] for place in rates["chain"].unique().sort()]),
        tier_mode=rates["tier_mode"][0] if rates.height else None,
        allowance=_allowance(line, book, lines),
        band=_band(book, rates) if line["window"] is not None else None,
    )


def _chain(line: Mapping[str, Any], chains: Sequence[Chain]) -> Chain | None:
    """The one with the steps that the line went through. Cells of a price may have different ones."""
    taken = [it["operator"] for it in line["operations"] if it["operator"] not in WITHOUT_STEP]
    for chain in chains:
        if taken == [it.operator for it in (*chain.before, *chain.after) if it.operator != "credit"]:
            return chain
    return None


def _allowance(line: Mapping[str, Any], book: PriceBook, lines: pl.DataFrame) -> SharedAllowance | None:
    of_plan = book.plan_allowances.filter(pl.col("plan") == line["plan"])
    own = of_plan.filter(pl.col("price") == line["price"])
    if own.is_empty():
        return None
    shared = of_plan.filter(pl.col("allowance") == own["allowance"][0]).sort("place")
    same = [pl.col(name) == line[name] for name in ("subscription", "item", "service_start")]
    users = lines.filter(*same, pl.col("price").is_in(shared["price"].implode()))
    units, rollover_maximum = own.select("units", "rollover_maximum").row(0)
    interval, intervals, by = own.select("window_interval", "window_intervals", "by").row(0)
    window = None if interval is None else window_words(f"{intervals} {interval}")
    shared_by = tuple(shared["price"])
    return SharedAllowance(own["allowance"][0], units, rollover_maximum, shared_by, _taken(users), window, by)


def window_words(window: str) -> str:
    """1 period, 3 month: the billing period, 3 months."""
    count, interval = window.split()
    if interval == PERIOD:
        return "billing period"
    return interval if count == "1" else f"{count} {interval}s"


def _taken(lines: pl.DataFrame) -> Decimal:
    """What the allowance of a plan, the first step of each of the lines, took off them."""
    firsts = lines.filter(pl.col("operations").list.len() > 0)["operations"].list.first().struct.unnest()
    allowed = firsts.filter(pl.col("operator") == "allow")
    return sum((before - after for before, after in allowed.select("before", "after").iter_rows()), Decimal(0))


def _counted(line: Mapping[str, Any], book: PriceBook) -> str:
    own = book.adjustments.filter(
        pl.col("plan") == line["plan"],
        pl.col("price").eq_missing(pl.lit(line["price"])),
        pl.col("price_version").eq_missing(pl.lit(line["price_version"])),
        pl.col("place").eq_missing(pl.lit(line["adjustment"])),
    )
    return str(own["of"][0]) if own.height else "all"


def _band(book: PriceBook, rates: pl.DataFrame) -> str | None:
    """When the band holds; its parts are told one after the other."""
    own = book.bands.join(rates.select("rate").head(1), on="rate", how="semi")
    parts = [
        ", ".join(_when(begins, ends, book.calendars[calendar]))
        for begins, ends, calendar in own.select("from", "to", "calendar").iter_rows()
    ]
    return f"{' or '.join(parts)} ({own['zone'][0]})" if parts else None


def _when(begins: int, ends: int, calendar: Calendar) -> Iterator[str]:
    if (begins, ends) not in ((0, 0), (0, _DAY)):
        yield f"{_clock(begins)} to {_clock(ends)}"
    if calendar.weekdays:
        yield " ".join(_WEEKDAYS[day] for day in calendar.weekdays)
    if calendar.month_days:
        yield f"on days {' '.join(map(str, calendar.month_days))} of the month"
    if calendar.months:
        yield " ".join(_MONTHS[month] for month in calendar.months)
    if calendar.years:
        yield " ".join(map(str, calendar.years))
    if calendar.dates:
        shown = " ".join(str(day) for day in calendar.dates[:_DATES_SHOWN])
        yield shown if len(calendar.dates) <= _DATES_SHOWN else f"{shown} and {len(calendar.dates) - _DATES_SHOWN} more"


_DAY = 24 * 60 * 60 * 10**6


def _clock(microseconds: int) -> str:
    minutes, rest = divmod(microseconds // 10**6, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}" + (f":{rest:02}" if rest else "")


def metered_how(meter: Meter) -> str:
    """What the meter makes of its events, in words."""
    value = meter.item or _value(meter)
    of = f" of {value}" if value else ""
    words = {"percentile": f"percentile {plain(meter.percentile)}" if meter.percentile is not None else ""}
    how = words.get(meter.aggregation, meter.aggregation.replace("_", " ")) + of
    conversion = meter.conversion
    if conversion.times != 1:
        how += f" x {conversion.times}"
    if conversion.divide_by != 1:
        how += f" / {conversion.divide_by}"
    if meter.of_period:
        how += " / the length of the period"
    if conversion.mode != "half_even" or conversion.decimals != _EXACT_DECIMALS:
        how += f", rounded {conversion.mode.replace('_', ' ')} to {conversion.decimals} decimals"
    if meter.duration is not None:
        how += ", each event cut where another band or version begins, and counted where it begins"
    return how + (", with what was before the period" if meter.carried else "")


_EXACT_DECIMALS = 9


def _value(meter: Meter) -> str:
    if meter.expression is not None:
        return "its expression"
    return " - ".join([" + ".join(meter.add), *meter.subtract])
