"""Leaks, looked for before a period is closed: what the core needs to find them is gathered here, and worded.

Nothing is written, and no run has to be there: the month, and the one before it, are rated here and thrown away.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from api.frames import rows
from api.rating_inputs import Gathered, RatingSources
from ingest.log import UsageLog
from rating.core.book import PriceBook
from rating.core.leaks import FINDING, KINDS, Known, always_subscribed, leaks
from rating.core.lines import CHARGE_LINE
from rating.core.money import grouped_sum, plain
from rating.core.periods import Month, parse_month
from rating.core.rating import Rated
from rating.core.usage_history import HistoryRule, first_month, not_compared
from store.errors import Refused

TOO_LITTLE = "too_little_history"

SAID = {
    "unmetered": (
        "events of a type that no meter reads",
        "Add a meter for the type to the catalog, or correct the type where it is sent.",
    ),
    "uncounted": (
        "events of a type that meters read, and that no meter counts",
        "Compare their properties with the filters of the meters: a property is absent, or has an unforeseen value.",
    ),
    "unpriced": (
        "metered usage that no price of the plan covers",
        "Add a price for these dimensions to the plan: `tallystick catalog apply`.",
    ),
    "unsubscribed": (
        "usage that no subscription covers",
        "Give the customer a subscription for that time, or a subject without a customer to the one who pays for it.",
    ),
    "idle": (
        "subscriptions without an event",
        "Ask whether the customer left, whether its events arrive, and whether they name one of its subjects.",
    ),
    "drop": (
        "usage far below the customer's own history",
        "See whether events are missing: a sender that stopped, or rejections (`tallystick rejections list`).",
    ),
    "spike": (
        "usage far above the customer's own history",
        "See whether it is real before it is billed: a sender that sends twice under new ids, or a wrong unit.",
    ),
}
"""What each kind is, and what to do about it."""


@dataclass(frozen=True)
class Checked:
    """What was found in a month, as far as it is over at `until`: FINDING, with too little history among it."""

    month: Month
    until: datetime
    catalog_version: str
    rule: HistoryRule
    found: pl.DataFrame
    not_compared: list[str]

    @property
    def count(self) -> int:
        """Of leaks; too little history is none."""
        return self.found.filter(pl.col("kind") != TOO_LITTLE).height

    def as_json(self, limit: int) -> dict[str, Any]:
        """With the `limit` largest findings of each kind; counts and sums are of all."""
        parts = {str(key): part for (key,), part in self.found.partition_by("kind", as_dict=True).items()}
        empty = FINDING.to_frame()
        rule = {name: value if isinstance(value, int) else plain(value) for name, value in asdict(self.rule).items()}
        return {
            "period": str(self.month),
            "until": self.until,
            "catalog_version": self.catalog_version,
            "rule": rule,
            "found": self.count,
            "checks": [_kind_as_json(kind, parts.get(kind, empty), limit) for kind in KINDS],
            "too_little_history": _told(parts.get(TOO_LITTLE, empty), limit),
            "not_compared": self.not_compared,
        }


class CheckService:
    """Looks for leaks in what a rating run would rate."""

    def __init__(self, sources: RatingSources, log: UsageLog, now: Callable[[], datetime]) -> None:
        self._sources, self._log, self._now = sources, log, now

    def check(self, period: str, book: PriceBook, rule: HistoryRule) -> Checked:
        """Raises Refused for what is no month or no rule, and AmountOverflow."""
        month = _month(period)
        _refuse_bad(rule)
        gathered = self._sources.gather(month, book)
        rated = gathered.inputs.rated()
        start, end = first_month(month, rule.months).start(UTC), month.next().start(UTC)
        until = min(max(self._now(), month.start(UTC)), end)
        known = Known(
            usage=gathered.inputs.usage,
            history=self._log.scan(start=start, end=end).usage,
            subjects=gathered.accounts.subjects,
            subscriptions=gathered.accounts.subscriptions,
            book=book,
            month=month,
            rated=rated,
            before=self._sources.gather(month.before(), book).inputs.rated().lines,
            would=_would(gathered, rated),
        )
        found = leaks(known, rule, until)
        return Checked(month, until, book.version, rule, found, not_compared(book.meters))


def _would(gathered: Gathered, rated: Rated) -> pl.DataFrame:
    """CHARGE_LINE of the customers with unsubscribed usage, as if their only subscription were in force always."""
    inputs = gathered.inputs
    extended = always_subscribed(rated.unsubscribed, inputs.subscriptions, inputs.month)
    if extended.is_empty():
        return CHARGE_LINE.to_frame()
    return replace(inputs, subscriptions=extended).rated().lines


def _kind_as_json(kind: str, found: pl.DataFrame, limit: int) -> dict[str, Any]:
    what, cure = SAID[kind]
    sums = grouped_sum(found.lazy().filter(pl.col("amount").is_not_null()), ["currency"], ["amount"]).sort("currency")
    return {"kind": kind, "what": what, "do": cure, "at_stake": rows(sums.collect()), **_told(found, limit)}


def _told(found: pl.DataFrame, limit: int) -> dict[str, Any]:
    shown = [{name: value for name, value in row.items() if value is not None} for row in rows(found.head(limit))]
    return {"found": found.height, "events": found["events"].sum(), "items": shown}


def _month(period: str) -> Month:
    try:
        return parse_month(period)
    except ValueError as error:
        raise Refused([str(error)]) from None


def _refuse_bad(rule: HistoryRule) -> None:
    problems = []
    if rule.months_min > rule.months:
        problems.append(f"`months_min` is {rule.months_min}, and no more than `months` {rule.months} are looked at")
    if not 0 <= rule.drop < 1:
        problems.append(f"`drop` is a part of the median, 0 or more and less than 1, and not {plain(rule.drop)}")
    if rule.spike <= 1:
        problems.append(f"`spike` is a multiple of the median, more than 1, and not {plain(rule.spike)}")
    if problems:
        raise Refused(problems)
