"""What the versions of prices say besides their charge: when they hold, and what their adjustments come to."""

from collections.abc import Iterator, Sequence
from datetime import time
from itertools import pairwise

from rating.catalog.adjustments import Adjustment, Commitment, Discount, Maximum, Minimum
from rating.catalog.bands import TimeWindow, calendar_of, priorities_of
from rating.catalog.findings import Finding, error, warning
from rating.catalog.literals import decimal_text, instant_text
from rating.catalog.model import Catalog
from rating.catalog.parts import Version
from rating.core.bands import Calendar

_DAY = 24 * 3600 * 10**6
_DAYS_OF_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
Span = tuple[int, int]


def version_findings(catalog: Catalog) -> Iterator[Finding]:
    """The findings in the versions of every price and in the adjustments of every plan."""
    for key, price in catalog.prices.items():
        path = f"prices.{key}.versions"
        versions: Sequence[Version] = price.versions
        first = versions[0].effective_from
        if first is not None:
            message = "Usage before the first version has no price."
            cure = "Leave `effective_from` of the first version out, unless that is meant."
            yield warning("no_price_before", f"{path}[0].effective_from", instant_text(first), message, cure)
        for (_, earlier), (index, later) in pairwise(enumerate(versions)):
            if earlier.model_copy(update={"effective_from": later.effective_from}) == later:
                message = "The version says the same as the one before it."
                yield warning("version_without_change", f"{path}[{index}]", "", message, "Remove it.")
        for index, version in enumerate(versions):
            yield from _bands(f"{path}[{index}]", version)
            yield from _adjustments(f"{path}[{index}].adjust", version.adjust)
    for key, plan in catalog.plans.items():
        yield from _adjustments(f"plans.{key}.adjust", plan.adjust)


def _bands(path: str, version: Version) -> Iterator[Finding]:
    """Bands that never hold, because of others or of the calendar, and versions that nothing is left of beside them."""
    windows, priorities = version.windows, priorities_of(version.windows)
    every_day = [window for window in windows if calendar_of(window) == Calendar()]
    if windows and _covered((0, _DAY), [span for window in every_day for span in _spans(window)]):
        message = "Its bands hold at every time of every day: the numbers outside them never apply."
        yield warning("version_never_applies", path, "", message, "Remove a band, or let it be the version's own rate.")
    for window, priority in zip(windows, priorities, strict=True):
        place = f"{path}.{_place(version, window)}"
        if not _has_dates(calendar_of(window)):
            yield warning("band_never_applies", place, "", "No date is in this band.", "Correct its days and months.")
        above = [
            s for w, p in zip(windows, priorities, strict=True) if p > priority and w in every_day for s in _spans(w)
        ]
        if all(_covered(span, above) for span in _spans(window)):
            message = "Other bands go before it whenever it would hold."
            yield warning("band_never_applies", place, "", message, "Remove it, or give it a higher `weight`.")


def _place(version: Version, window: TimeWindow) -> str:
    field = "bands" if getattr(version, "bands", ()) else "time_of_day"
    return f"{field}[{getattr(version, field).index(window)}]"


def _spans(window: TimeWindow) -> list[Span]:
    """When it holds within a day, in microseconds; one that wraps midnight has two parts."""
    begins, ends = _microseconds(window.begins), _microseconds(window.ends) or _DAY
    return [(begins, ends)] if begins < ends else [(begins, _DAY), (0, ends)]


def _microseconds(at: time) -> int:
    return ((at.hour * 60 + at.minute) * 60 + at.second) * 10**6 + at.microsecond


def _covered(span: Span, others: Sequence[Span]) -> bool:
    reached, end = span
    for begins, ends in sorted(others):
        if begins <= reached:
            reached = max(reached, ends)
    return reached >= end


def _has_dates(calendar: Calendar) -> bool:
    months = calendar.months or range(1, 13)
    return not calendar.month_days or any(min(calendar.month_days) <= _DAYS_OF_MONTH.get(m, 31) for m in months)


def _adjustments(path: str, adjustments: Sequence[Adjustment]) -> Iterator[Finding]:
    for index, adjustment in enumerate(adjustments):
        place = f"{path}[{index}]"
        if isinstance(adjustment, Discount) and adjustment.percent is not None and adjustment.percent > 100:
            message = "The discount is more than all of it; it takes off all there is and no more."
            value = decimal_text(adjustment.percent)
            yield error("discount_over_all", f"{place}.percent", value, message, "Write at most 100.")
        if isinstance(adjustment, Commitment) and not adjustment.true_up and adjustment.overage_multiplier == 1:
            message = "The commitment changes nothing: what is missing is free, and what is above costs the same."
            yield warning("adjustment_without_effect", place, "", message, "Set `true_up` or `overage_multiplier`.")
    least = [(index, it) for index, it in enumerate(adjustments) if isinstance(it, Minimum)]
    most = [it for it in adjustments if isinstance(it, Maximum)]
    for index, low in least:
        for high in most:
            if low.of == high.of and low.amount > high.amount:
                message = f"The minimum is above the maximum, {decimal_text(high.amount)}: the later of both wins."
                cure = "Let the minimum be at most the maximum."
                yield error("minimum_above_maximum", f"{path}[{index}].amount", decimal_text(low.amount), message, cure)
