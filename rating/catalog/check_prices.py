"""The checks of one price: its meters and dimensions, its versions, its tiers, its times of the day."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from rating.catalog.check_bands import check_bands, check_windows
from rating.catalog.left_out import LeftOut
from rating.catalog.literals import decimal_text, instant_text
from rating.catalog.meters import Meter, is_carried
from rating.catalog.model import Catalog
from rating.catalog.parts import TierRange, TimeWindow, Version
from rating.catalog.presets import FeePrice, Price, UsagePrice
from rating.catalog.presets.counting import CountingPrice
from rating.catalog.problems import Problem, listed, show
from rating.catalog.rounding import rounded_charge

RESERVED_DIMENSIONS = frozenset({"plan", "price", "cell"})
"""Columns of the price book beside those of the matched dimensions (rating/core/book.py, PriceShape)."""


def check_prices(catalog: Catalog, left_out: LeftOut) -> Iterator[Problem]:
    """The problems of every price."""
    for key, price in catalog.prices.items():
        path = f"prices.{key}"
        if price.currency not in catalog.currencies and "currencies" not in left_out.sections:
            cure = f"Add {price.currency} to `currencies`, or use {listed(catalog.currencies)}."
            yield Problem(f"{path}.currency", show(price.currency), "The catalog does not declare this currency.", cure)
        yield from _check_order(path, price)
        if not isinstance(price, FeePrice):
            yield from _check_meters(path, price, catalog, left_out)
            yield from price.problems(path)
            yield from _check_going_on(path, price, catalog)
            versions: Sequence[Version] = price.versions
            for index, version in enumerate(versions):
                yield from _check_version(f"{path}.versions[{index}]", version)
                if not _can_round(price, version):
                    message = "The amounts of single events cannot be rounded: a step needs the whole line or day."
                    cure = "Choose another `rounding_place`, or let its steps act on events."
                    yield Problem(f"{path}.rounding_place", show(price.rounding_place), message, cure)
                if price.group_by and getattr(version, "flat_when_unused", False):
                    message = "Without usage it is not known for which groups the flat amount would be charged."
                    yield Problem(
                        f"{path}.versions[{index}].flat_when_unused", "true", message, "Remove it, or `group_by`."
                    )


def _check_going_on(path: str, price: UsagePrice, catalog: Catalog) -> Iterator[Problem]:
    """Where lines go on behind others, all of them run through the same steps, of usage that adds up."""
    if not isinstance(price, CountingPrice) or not price.goes_on:
        return
    field = "window" if price.window is not None else "on_change"
    for key in price.meter_keys:
        if key in catalog.meters and not _adds_up(catalog.meters[key]):
            message = f"The quantities of `{key}` do not add up: nothing goes on from one part of the time to another."
            yield Problem(f"{path}.{field}", "", message, "Remove it, or price a meter that counts or sums.")
    parts = (part for version in price.versions for part in (version, *map(version.within, version.windows)))
    if len({price.shaped(part.charge_of(cell)).chain() for part in parts for cell in price.cells()}) > 1:
        message = "The versions or bands take different steps, so that one cannot go on where the other ends."
        cure = 'Let each have `convert` and `free_units`, or none: `convert: {}` and `free_units: "0"` change nothing.'
        yield Problem(f"{path}.{field}", "", message, cure)


def _adds_up(meter: Meter) -> bool:
    return meter.aggregation in ("count", "sum") and not is_carried(meter)


def _can_round(price: UsagePrice, version: Version) -> bool:
    parts = (version, *map(version.within, version.windows))
    charges = (price.shaped(part.charge_of(cell)) for part in parts for cell in price.cells())
    return price.rounding_place != "event" or all(rounded_charge(price, charge) is not None for charge in charges)


def _check_order(path: str, price: Price) -> Iterator[Problem]:
    """Versions follow each other in time; only the first may hold since ever."""
    latest = price.versions[0].effective_from
    for index, version in enumerate(price.versions[1:], start=1):
        place = f"{path}.versions[{index}].effective_from"
        start = version.effective_from
        if start is None:
            cure = "Add `effective_from:` with the instant from which it replaces the version before."
            yield Problem(place, "", "Only the first version of a price may hold since ever.", cure)
            continue
        if latest is not None and start <= latest:
            wrong = "is the same as an earlier one's" if start == latest else "is before an earlier one's"
            message = f"The versions are not in order: this start {wrong}, {instant_text(latest)}."
            yield Problem(place, instant_text(start), message, "Put the versions in order of time, each start once.")
        latest = start if latest is None else max(latest, start)


def _check_meters(path: str, price: UsagePrice, catalog: Catalog, left_out: LeftOut) -> Iterator[Problem]:
    if (price.meter is None) == (price.meters is None):
        wrong = "has no meter" if price.meter is None else "has both `meter` and `meters`"
        cure = "Add `meter:` with the key of a meter." if price.meter is None else "Keep one of the two."
        yield Problem(f"{path}.meter", "", f"A price of usage prices a meter; this one {wrong}.", cure)
    for index, key in enumerate(price.meter_keys):
        place = f"{path}.meter" if price.meters is None else f"{path}.meters[{index}]"
        if key in catalog.meters:
            yield from _check_dimensions(path, price, key, catalog.meters[key].group_by)
        elif not left_out.covers("meters", key):
            yield left_out.unknown(place, "meter", key, catalog.meters)
    matched = {dimension for cell in price.cells() for dimension in cell.match}
    for dimension in sorted(RESERVED_DIMENSIONS & matched):
        message = f"A price cannot match the dimension `{dimension}`: the price book has a column of that name."
        yield Problem(f"{path}.match.{dimension}", "", message, "Name the property otherwise in the events.")
    for dimension in sorted(set(price.group_by) & matched):
        message = f"The dimension `{dimension}` is matched to one value and grouped by."
        yield Problem(f"{path}.group_by", show(dimension), message, "Remove it from `group_by`.")


def _check_dimensions(path: str, price: UsagePrice, meter: str, grouped: Sequence[str]) -> Iterator[Problem]:
    cells = [dimension for cell in price.cells() if meter in cell.meters for dimension in cell.match]
    used = {**dict.fromkeys(price.group_by, "group_by"), **dict.fromkeys(cells, "match")}
    for dimension, field in used.items():
        if dimension not in grouped:
            place = f"{path}.match.{dimension}" if field == "match" else f"{path}.group_by"
            known = f" It groups by {listed(grouped, 'and')}." if grouped else ""
            message = f"The meter `{meter}` does not group by `{dimension}`."
            yield Problem(
                place, show(dimension), message, f"Add it to `group_by` of the meter, or remove it here.{known}"
            )


def _check_version(path: str, version: Version) -> Iterator[Problem]:
    of_day: Sequence[TimeWindow] = getattr(version, "time_of_day", ())
    bands: Sequence[TimeWindow] = getattr(version, "bands", ())
    yield from check_windows(f"{path}.time_of_day", of_day)
    yield from check_bands(f"{path}.bands", bands, of_day)
    yield from (Problem(f"{path}.{it.field}", "", it.message, it.cure) for it in version.wrong())
    for index, adjustment in enumerate(version.adjust):
        if adjustment.items == "all":
            message = "What a price adjusts is its own lines."
            yield Problem(f"{path}.adjust[{index}].items", show("all"), message, "Move it to `adjust` of the plan.")
    yield from _check_tiers(f"{path}.tiers", getattr(version, "tiers", ()))
    for field, windows in (("time_of_day", of_day), ("bands", bands)):
        for index, window in enumerate(windows):
            yield from _check_tiers(f"{path}.{field}[{index}].tiers", getattr(window, "tiers", ()))


def _check_tiers(path: str, tiers: Sequence[TierRange]) -> Iterator[Problem]:
    """Tiers cover every quantity above zero exactly once."""
    start = Decimal(0)
    for index, tier in enumerate(tiers):
        is_last = index == len(tiers) - 1
        place = f"{path}[{index}]"
        if all(amount is None for amount in tier.amounts().values()):
            cure = 'Add `unit_amount`, `flat_amount` or both; a free tier has `unit_amount: "0"`.'
            yield Problem(place, "", "The tier has no amount.", cure)
        if tier.from_ is not None and tier.from_ != start:
            yield _gap_or_overlap(f"{place}.from", tier.from_, start, index)
        if tier.up_to is None and not is_last:
            cure = "Add `up_to:` with the last quantity of this tier."
            yield Problem(f"{place}.up_to", "", "Only the last tier may be open.", cure)
        if tier.up_to is not None:
            if tier.up_to <= start:
                message = f"The tier ends at or before its beginning, {decimal_text(start)}."
                yield Problem(
                    f"{place}.up_to", decimal_text(tier.up_to), message, "Let `up_to` rise from tier to tier."
                )
            if is_last:
                message = "The last tier must be open, or quantities above it would have no price."
                cure = "Write `up_to: null`, or add a tier without `up_to` behind it."
                yield Problem(f"{place}.up_to", decimal_text(tier.up_to), message, cure)
            start = max(start, tier.up_to)


def _gap_or_overlap(path: str, found: Decimal, start: Decimal, index: int) -> Problem:
    between = "zero" if index == 0 else f"the tier before, which ends at {decimal_text(start)}"
    message = f"There is {'a gap' if found > start else 'an overlap'} between this tier and {between}."
    cure = f'Write `from: "{decimal_text(start)}"`, or leave `from` out.'
    return Problem(path, decimal_text(found), message, cure)
