"""What is told of a feature, in the catalog file: usage far above a subject's own, and how long before a grant ends."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from rating.catalog.frames import Row
from rating.catalog.literals import PositiveQuantity
from rating.catalog.part import Part

if TYPE_CHECKING:
    from rating.catalog.model import Feature


class Anomaly(Part):
    """When usage is far above the subject's own."""

    window: Literal["hour", "day"] = "hour"
    """What is compared: the hour of the clock or the day that is running, in UTC."""
    times: PositiveQuantity
    """More than so many times what is usual: the median of the windows in which the subject used anything."""
    history_days: int = Field(14, ge=1, le=90)
    """Of how many days before the window."""
    at_least: PositiveQuantity
    """Less than that in a window is never told, whatever is usual."""


def rule_rows(features: Mapping[str, "Feature"]) -> Iterator[Row]:
    """The rows of FEATURE_RULE."""
    for key, feature in sorted(features.items()):
        rule = feature.anomaly
        said = (None,) * 4 if rule is None else (rule.window, rule.times, rule.history_days, rule.at_least)
        yield key, feature.expiring_days, *said
