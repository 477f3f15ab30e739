"""The checks of one price: its meters and dimensions, its versions, its tiers, its times of the day."""

from collections.abc import Iterator, Sequence
from datetime import time
from decimal import Decimal
from itertools import pairwise

from rating.catalog.left_out import LeftOut
from rating.catalog.literals import decimal_text, instant_text, time_text
from rating.catalog.model import (
    Catalog,
    FlatPrice,
    PackageVersion,
    PerRequestWindow,
    Price,
    Tier,
    TieredWindow,
    TimeWindow,
    UnitVersion,
    UsagePrice,
    UsageVersion,
)
from rating.catalog.problems import Problem, listed, show

RESERVED_DIMENSIONS = frozenset({"plan", "price"})
"""Columns of the price book beside those of the matched dimensions (rating/core/book.py, PriceShape)."""


def check_prices(catalog: Catalog, left_out: LeftOut) -> Iterator[Problem]:
    """The problems of every price."""
    for key, price in catalog.prices.items():
        path = f"prices.{key}"
        if price.currency not in catalog.currencies and "currencies" not in left_out.sections:
            cure = f"Add {price.currency} to `currencies`, or use {listed(catalog.currencies)}."
            yield Problem(f"{path}.currency", show(price.currency), "The catalog does not declare this currency.", cure)
        yield from _check_order(path, price)
        if not isinstance(price, FlatPrice):
            yield from _check_meters(path, price, catalog, left_out)
            versions: Sequence[UsageVersion] = price.versions
            for index, version in enumerate(versions):
                yield from _check_version(f"{path}.versions[{index}]", version)


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
    for dimension in sorted(RESERVED_DIMENSIONS & price.match.keys()):
        message = f"A price cannot match the dimension `{dimension}`: the price book has a column of that name."
        yield Problem(f"{path}.match.{dimension}", "", message, "Name the property otherwise in the events.")
    for dimension in sorted(set(price.group_by) & price.match.keys()):
        message = f"The dimension `{dimension}` is matched to one value and grouped by."
        yield Problem(f"{path}.group_by", show(dimension), message, "Remove it from `group_by`.")


def _check_dimensions(path: str, price: UsagePrice, meter: str, grouped: Sequence[str]) -> Iterator[Problem]:
    used = {**dict.fromkeys(price.group_by, "group_by"), **dict.fromkeys(price.match, "match")}
    for dimension, field in used.items():
        if dimension not in grouped:
            place = f"{path}.match.{dimension}" if field == "match" else f"{path}.group_by"
            known = f" It groups by {listed(grouped, 'and')}." if grouped else ""
            message = f"The meter `{meter}` does not group by `{dimension}`."
            yield Problem(
                place, show(dimension), message, f"Add it to `group_by` of the meter, or remove it here.{known}"
            )


def _check_version(path: str, version: UsageVersion) -> Iterator[Problem]:
    yield from _check_windows(f"{path}.time_of_day", version.time_of_day)
    if isinstance(version, (UnitVersion, PackageVersion)):
        return
    yield from _check_tiers(f"{path}.tiers", version.tiers)
    windows: Sequence[TieredWindow | PerRequestWindow] = version.time_of_day
    for index, window in enumerate(windows):
        yield from _check_tiers(f"{path}.time_of_day[{index}].tiers", window.tiers)


def _check_tiers(path: str, tiers: Sequence[Tier]) -> Iterator[Problem]:
    """Tiers cover every quantity above zero exactly once."""
    start = Decimal(0)
    for index, tier in enumerate(tiers):
        is_last = index == len(tiers) - 1
        place = f"{path}[{index}]"
        if tier.unit_amount is None and tier.flat_amount is None:
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


def _check_windows(path: str, windows: Sequence[TimeWindow]) -> Iterator[Problem]:
    """The windows of a version share one time zone (so that their order is known on every day) and no instant."""
    for index, window in enumerate(windows):
        place = f"{path}[{index}]"
        if window.from_ == window.to:
            message = "The window begins and ends at the same time."
            cure = "Give it a length; a rate for the whole day is the version's own."
            yield Problem(place, time_text(window.from_), message, cure)
        if window.time_zone != windows[0].time_zone:
            message = f"The windows of one version have different time zones; the first has {windows[0].time_zone}."
            yield Problem(f"{place}.time_zone", show(window.time_zone), message, "Use one time zone.")
    spans = sorted((span, index) for index, window in enumerate(windows) for span in _spans(window))
    for (earlier, first), (later, second) in pairwise(spans):
        if later[0] < earlier[1] and first != second:
            low, high = sorted((first, second))
            message = f"The window overlaps time_of_day[{low}]: both hold at {time_text(later[0])}."
            yield Problem(f"{path}[{high}]", "", message, "Let each time of the day have one rate.")


def _spans(window: TimeWindow) -> list[tuple[time, time]]:
    """The window as intervals within one day; a window that wraps midnight has two."""
    if window.from_ < window.to:
        return [(window.from_, window.to)]
    morning = [(time.min, window.to)] if window.to > time.min else []
    return [(window.from_, time.max), *morning] if window.from_ != window.to else []
