"""A simulation: history rated under another catalog beside the one in force. Nothing is written.

Both sides are gathered and rated by the code that makes bills, from one state of the log and of the records. The passes
over the events are made once for both where the catalogs meter alike (`Usage.remembering`). Each month opens with the
credits that its recorded run before left, on both sides; where there is none, the months before are rated by the
catalog of the side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from threading import Lock

import polars as pl

from api.history import Known
from api.rating_inputs import RatingInputs, RatingSources
from rating.catalog import Catalog, compile_catalog
from rating.core.book import PriceBook
from rating.core.money import grouped_sum
from rating.core.periods import Month, parse_month
from rating.core.rating import UNPRICED, usage_bounds
from rating.core.simulation import Compared, Simulation, charged_in, compared, simulation
from rating.core.simulation_solving import NoAmount, PricedAmount, Solved, amount_of, solve, with_amount
from rating.core.subscriptions import plan_of_variant
from store.customers import refuse
from store.errors import Refused
from store.runs import Run

MONTHS_MAX = 60
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)

UNPLANNED = pl.Schema({"plan": pl.String(), "subscriptions": pl.Int64(), "customers": pl.Int64()})
"""One row is a plan of subscriptions that the other catalog does not have: they are not compared."""


@dataclass(frozen=True)
class Search:
    """Which amount of `price` gives the revenue of before, within `tolerance` of its currency."""

    price: str
    tolerance: Decimal


@dataclass(frozen=True)
class Asked:
    """The months `first` to `last`; `plans` says by which plan of the other catalog those of a plan are rated."""

    catalog: Catalog
    first: str
    last: str
    plans: Mapping[str, str]
    search: Search | None = None


@dataclass(frozen=True)
class Answer:
    """What came of a search: of which price and currency, what the amount is in the other catalog as it stands, and
    what was found. Where there is none, `problem` says why."""

    price: str
    currency: str
    known: PricedAmount | None = None
    solved: Solved | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Simulated:
    """What came of it. `unpriced` is UNPRICED of either side; `recorded` the runs that rated these months."""

    versions: tuple[str, str]
    months: list[str]
    found: Simulation
    unpriced: tuple[pl.DataFrame, pl.DataFrame]
    unplanned: pl.DataFrame  # UNPLANNED
    recorded: list[Run]
    answer: Answer | None


@dataclass(frozen=True)
class _Month:
    """A month rated on both sides. `inputs` are those of the other catalog; `unpriced` is UNPRICED of either side."""

    inputs: RatingInputs
    compared: Compared
    unpriced: tuple[pl.DataFrame, pl.DataFrame]
    own: pl.DataFrame  # lines by the other catalog


class Simulations:
    """One at a time: each needs the memory of a rating run."""

    def __init__(self, sources: RatingSources) -> None:
        self._sources = sources
        self._one = Lock()

    def simulate(self, asked: Asked, catalog: Catalog, book: PriceBook) -> Simulated:
        """Rate by `catalog`, the one in force with its `book`, and by the one `asked` for, and compare.

        Raises Refused, PropertyConflict, AmountOverflow.
        """
        months = _months(asked)
        refuse([*_wrong_plans(asked, catalog), *_wrong_price(asked)])
        other = compile_catalog(asked.catalog)
        with self._one:
            known = self._known(catalog, asked.catalog)
            accounts = self._sources.accounts(known.change)
            agreed = accounts.subscriptions.with_columns(plan=plan_of_variant())
            gone = _gone(agreed["plan"].unique(), asked)
            trying = replace(self._sources, plans=asked.plans, tried=asked.catalog)
            rated = [self._rated(month, book, other, known, trying, gone) for month in months]
            answer = _searched(asked.search, other, rated) if asked.search else None
        return Simulated(
            (catalog.version, asked.catalog.version),
            [str(month) for month in months],
            simulation([month.compared for month in rated]),
            (_summed([month.unpriced[0] for month in rated]), _summed([month.unpriced[1] for month in rated])),
            _unplanned(agreed, gone),
            [run for month in months if (run := self._recorded(month))],
            answer,
        )

    def _known(self, catalog: Catalog, other: Catalog) -> Known:
        """Everything as of now, in the columns that either catalog needs. Raises PropertyConflict."""
        self._sources.log.check_types(other.declared_properties())
        properties = {**catalog.declared_properties(), **other.declared_properties()}
        return Known(self._sources.log.view(), self._sources.store.changes.last(), properties=properties)

    def _rated(
        self, month: Month, book: PriceBook, other: PriceBook, known: Known, trying: RatingSources, gone: pl.Series
    ) -> _Month:
        inputs = self._gathered(month, book, other, known, trying)
        before, after = inputs[0].rated(), inputs[1].rated()
        is_compared = ~pl.col("plan").is_in(gone.implode())
        unpriced = before.unpriced.filter(is_compared), after.unpriced.filter(is_compared)
        both = compared(before.lines.filter(is_compared), after.lines)
        return _Month(inputs[1], both, unpriced, after.lines.select("customer", "currency", "rounded_amount"))

    def _gathered(
        self, month: Month, book: PriceBook, other: PriceBook, known: Known, trying: RatingSources
    ) -> tuple[RatingInputs, RatingInputs]:
        """The inputs of both sides, with the same usage."""
        before = self._sources.gather(month, book, known=known).inputs
        after = trying.gather(month, other, known=known).inputs
        start, end = zip(*(usage_bounds(side.subscriptions, side.book, month) for side in (before, after)), strict=True)
        first = None if None in start else min(at for at in start if at is not None)
        log = self._sources.log
        usage = log.scan(start=first, end=max(end), view=known.view, properties=known.properties).usage.remembering()
        return replace(before, usage=usage), replace(after, usage=usage)

    def _recorded(self, month: Month) -> Run | None:
        return self._sources.store.runs.newest_done(str(month), since=_BEGINNING)


def _months(asked: Asked) -> list[Month]:
    """Raises Refused."""
    try:
        month, last = parse_month(asked.first), parse_month(asked.last)
    except ValueError as error:
        raise Refused([str(error)]) from None
    months: list[Month] = []
    while month <= last and len(months) <= MONTHS_MAX:
        months.append(month)
        month = month.next()
    wrong = [] if months else [f"{asked.last} is before {asked.first}"]
    refuse(wrong or ([f"simulate at most {MONTHS_MAX} months at once"] if len(months) > MONTHS_MAX else []))
    return months


def _wrong_plans(asked: Asked, catalog: Catalog) -> list[str]:
    old = [f"plan {plan!r} is mapped, and the catalog in force has no such plan" for plan in asked.plans]
    unknown = [text for plan, text in zip(asked.plans, old, strict=True) if plan not in catalog.plans]
    new = sorted(set(asked.plans.values()) - set(asked.catalog.plans))
    return [*unknown, *(f"the other catalog has no plan {plan!r}; map to one that it has" for plan in new)]


def _wrong_price(asked: Asked) -> list[str]:
    if asked.search is None or asked.search.price in asked.catalog.prices:
        return []
    return [f"the other catalog has no price {asked.search.price!r}"]


def _gone(plans: pl.Series, asked: Asked) -> pl.Series:
    """The plans in use that the other catalog does not have, and that are not mapped to one that it has."""
    gone = [plan for plan in plans.sort() if asked.plans.get(plan, plan) not in asked.catalog.plans]
    return pl.Series("plan", gone, dtype=pl.String)


def _unplanned(subscriptions: pl.DataFrame, gone: pl.Series) -> pl.DataFrame:
    own = subscriptions.filter(pl.col("plan").is_in(gone.implode()))
    counts = {"subscriptions": pl.col("subscription").n_unique(), "customers": pl.col("customer").n_unique()}
    return own.group_by("plan").agg(**counts).sort("plan").cast(UNPLANNED)


def _summed(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """UNPRICED of all months, the most events first."""
    every = pl.concat([UNPRICED.to_frame(), *frames]).lazy()
    keys = ["plan", "meter", "group"]
    summed = grouped_sum(every, keys, ["quantity"], pl.col("events").sum()).cast(UNPRICED)
    return summed.sort("events", *keys, descending=[True, False, False, False]).collect()


def _searched(search: Search, book: PriceBook, months: Sequence[_Month]) -> Answer:
    currency = book.prices.filter(pl.col("price") == search.price)["currency"][0]
    target = sum((_charged(month.compared.charged, "before", currency) for month in months), Decimal(0))
    paying = [_paying(month.inputs, search.price) for month in months]
    others = [
        charged_in(month.own.filter(~pl.col("customer").is_in(inputs.subscriptions["customer"].implode())), currency)
        for month, inputs in zip(months, paying, strict=True)
    ]

    try:
        known = amount_of(book, search.price)
    except NoAmount as none:
        return Answer(search.price, currency, problem=str(none))

    def revenue(amount: Decimal) -> Decimal:
        tried = with_amount(book, search.price, known, amount)
        return sum(
            (charged_in(replace(i, book=tried).rated().lines, currency) for i in paying), sum(others, Decimal(0))
        )

    try:
        return Answer(search.price, currency, known, solve(revenue, known.amount, target, search.tolerance))
    except NoAmount as none:
        return Answer(search.price, currency, known, problem=str(none))


def _charged(charged: pl.DataFrame, side: str, currency: str) -> Decimal:
    return charged_in(charged.select("currency", rounded_amount=side), currency)


def _paying(inputs: RatingInputs, price: str) -> RatingInputs:
    """The inputs of the customers who have a subscription to a plan with that price."""
    shapes = [shape.prices.select("plan", "price") for shape in inputs.book.shapes]
    plans = pl.concat([inputs.book.fees.select("plan", "price"), *shapes]).filter(pl.col("price") == price)["plan"]
    payers = inputs.subscriptions.filter(pl.col("plan").is_in(plans.implode()))["customer"].unique()
    own = pl.col("customer").is_in(payers.implode())
    return replace(inputs, subjects=inputs.subjects.filter(own), subscriptions=inputs.subscriptions.filter(own))
