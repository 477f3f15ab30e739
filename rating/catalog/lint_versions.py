"""What the versions of prices say besides their charge: when they hold, and what their adjustments come to."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from rating.catalog.adjustments import Adjustment, Commitment, Discount, Maximum, Minimum
from rating.catalog.findings import Finding, error, warning
from rating.catalog.lint_bands import band_findings
from rating.catalog.literals import decimal_text, instant_text
from rating.catalog.model import Catalog
from rating.catalog.parts import Version


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
            until = versions[index + 1].effective_from if index + 1 < len(versions) else None
            yield from band_findings(f"{path}[{index}]", version, until)
            yield from _adjustments(f"{path}[{index}].adjust", version.adjust)
    for key, plan in catalog.plans.items():
        yield from _adjustments(f"plans.{key}.adjust", plan.adjust)


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
