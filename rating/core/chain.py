"""A price as a chain of operators, and how usage runs through it.

    before: weight, allow, partition      on quantities
    tier, price                           from quantities to amounts
    after: clamp, compose, prorate        on amounts

Every step acts on rows of one level: each event, each day, or all that becomes one charge line. A chain goes from fine
to coarse; before a coarser step the rows are summed. Prices with the same steps run together whatever their numbers,
which are columns (operators/). Nothing here loops over customers, prices, tiers or events: the loops build the query,
over the handful of different chains of a book and their steps.

Two amounts travel with a row behind `price`: `tier_amount`, what quantity and tier make, and `amount`, which the steps
behind it change. So a tier always shows its own arithmetic, and the line's `operations` tell what became of the sum.

Tiers and included units may be those of the served part of a period, and may go on behind what was metered before in a
window (windows.py). Both are said by the chain: others look at neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from rating.core.book import Chain, Level, PriceBook, Step, Together, of_book
from rating.core.line_tiers import lines_of_tiers, sums, tier_rows, traced
from rating.core.money import ZERO
from rating.core.operations import described
from rating.core.operators.allow import allow
from rating.core.operators.clamp import clamp
from rating.core.operators.compose import compose
from rating.core.operators.credit import credit
from rating.core.operators.partition import largest
from rating.core.operators.price import price, with_amount_of_one
from rating.core.operators.prorate import prorate
from rating.core.operators.tier import MODE, tier
from rating.core.operators.weight import BEGINS, weight
from rating.core.schema import AMOUNT, LINE, PAYER, property_column
from rating.core.windows import EARLIER, Windows, with_so_far

_KEYS: dict[Level, list[str]] = {"event": ["event", "time", "day"], "day": ["day"], "line": []}
_POOL = [PAYER, "pool"]
"""The lines of one version of a price."""
_TOGETHER: dict[Together, list[str]] = {
    "row": [],
    "line": LINE,
    "group": [*_POOL, "group"],
    "meter": [*_POOL, "meter"],
    "meter_by_day": [*_POOL, "meter", "day"],
    "price": _POOL,
    "price_by_day": [*_POOL, "day"],
    "plan": [],  # core/allowances.py has said what each row may use
    "bands": [PAYER, "price", "meter"],
    "event": [PAYER, "price", "meter", "event"],
}
"""The rows that use one allowance, fill one set of tiers, or of which the largest is taken."""


@dataclass(frozen=True)
class Charged:
    """What usage came to by one chain. `lines`: one row a LINE with `quantity` (as metered), `events`, `amount`,
    `operations`, and its NUMBER. `tiers`: for each number its tiers, in order (a list of TIER_AMOUNT)."""

    lines: pl.DataFrame
    tiers: pl.Series


@dataclass(frozen=True)
class Terms:
    """What a chain knows beside its rows: the book, PART of the payers, and their windows where the book has any."""

    book: PriceBook
    parts: pl.DataFrame
    windows: Windows | None = None


def charge(usage: pl.LazyFrame, book: PriceBook, parts: pl.DataFrame, windows: Windows | None = None) -> list[Charged]:
    """Run PRICED_USAGE through the chains of its rates, one result for each chain that has some. `parts` is PART of its
    payers. Usage of the payers that `windows` has earlier fills tiers, and is not charged. Without `windows` nothing
    was earlier.

    In memory, the rows of lines take half the time that streaming takes (docs/decisions/0006-aggregate-first.md). Not
    so chains that sum over windows, where an overflow would wrap silently, or that have a row for each event.
    """
    terms = Terms(book, parts, windows)
    known = usage.collect(engine="in-memory" if windows is None else "streaming")
    used = book.rates.filter(pl.col("rate").is_in(known["rate"].unique().implode()))["chain"].unique().sort()
    chains = [book.chains[place] for place in used]
    few = [windows is None and chain.level == "line" and chain.tier_together == "row" for chain in chains]
    rows = [_usage_of(known.lazy(), place, terms) for place in used]
    tiers = [_tiers_of(*given, terms) for given in zip(rows, chains, few, strict=True)]
    made = [lines_of_tiers(rows) for rows in _collected(tiers, few)]
    lines = [_behind_tiers(own.lazy(), chain, terms) for (own, _), chain in zip(made, chains, strict=True)]
    return [Charged(own, shown) for own, (_, shown) in zip(_collected(lines, few), made, strict=True)]


def _collected(frames: Sequence[pl.LazyFrame], few: Sequence[bool]) -> list[pl.DataFrame]:
    """The frames, those that are `few` rows in memory."""
    made: dict[int, pl.DataFrame] = {}
    engines: list[tuple[bool, Literal["in-memory", "streaming"]]] = [(True, "in-memory"), (False, "streaming")]
    for is_few, engine in engines:
        places = [place for place, one in enumerate(few) if one == is_few]
        made |= zip(places, pl.collect_all([frames[place] for place in places], engine=engine), strict=True)
    return [made[place] for place in range(len(frames))]


def _usage_of(usage: pl.LazyFrame, chain: int, terms: Terms) -> pl.LazyFrame:
    book = terms.book
    if not book.chains[chain].goes_on:
        usage = _own(usage, terms)
    quantity = pl.col("quantity").cast(AMOUNT)
    rates = _rates_of(book, chain).lazy()
    return usage.join(rates, on="rate", validate="m:1").with_columns(quantity=quantity, metered=quantity)


@of_book
def _rates_of(book: PriceBook, chain: int) -> pl.DataFrame:
    return book.rates.filter(pl.col("chain") == chain).select("rate", "pool")


def _own(rows: pl.LazyFrame, terms: Terms) -> pl.LazyFrame:
    """The rows that are charged."""
    windows = terms.windows
    return rows if windows is None or windows.earlier.is_empty() else rows.filter(pl.col(PAYER) < windows.own)


def _tiers_of(rows: pl.LazyFrame, chain: Chain, is_few: bool, terms: Terms) -> pl.LazyFrame:
    """The `tier_rows` that usage is split into. Where they are few, each row of usage is a line or a part of one, and
    they are summed only where one line has several: see `lines_of_tiers`."""
    level = chain.level
    for place, step in enumerate(chain.before):
        rows, level = _summed(rows, level, step.level), step.level
        rows = _behind(rows, step.together, step.level, f"{EARLIER}_{place}", chain, terms, step.operator == "allow")
        rows = _before(rows, step, place, terms).with_columns(pl.col("quantity").alias(f"after_{place}"))
    rows = _behind(_summed(rows, level, chain.tier_level), chain.tier_together, chain.tier_level, EARLIER, chain, terms)
    return tier_rows(priced(_own(rows, terms) if chain.goes_on else rows, chain, terms), is_summed=is_few)


def _behind_tiers(lines: pl.LazyFrame, chain: Chain, terms: Terms) -> pl.LazyFrame:
    """Lines behind the steps that act on their amounts, described."""
    finer = len(_finer(chain))
    for place, step in enumerate(chain.after[finer:], len(chain.before) + finer):
        lines = _on_line(lines, step, place, terms).with_columns(pl.col("amount").alias(f"after_{place}"))
    return described(lines, chain, terms.book, terms.parts)


def _behind(
    rows: pl.LazyFrame, together: Together, level: Level, name: str, chain: Chain, terms: Terms, goes_on: bool = True
) -> pl.LazyFrame:
    """Rows with column `name`: what of the same window was metered before them, where the chain goes on behind that."""
    if not chain.goes_on or not goes_on or together == "plan":
        return rows
    if terms.windows is None:
        return rows.with_columns(ZERO.alias(name))
    return with_so_far(rows, name, together, level, terms.book, terms.windows)


def priced(rows: pl.LazyFrame, chain: Chain, terms: Terms) -> pl.LazyFrame:
    """Rows of the chain's tier level, one for each of their tiers; `amount` is behind the steps on events and days.
    Where the chain goes on behind what was metered before, they have that as EARLIER."""
    rows = _tiered(rows, chain, terms)
    for place, step in enumerate(_finer(chain), len(chain.before)):
        rows = _row_by_row(rows, step, place, chain, terms.book).with_columns(pl.col("amount").alias(f"after_{place}"))
    return rows


def _finer(chain: Chain) -> list[Step]:
    return [step for step in chain.after if step.level != "line"]


def left_at(rows: pl.LazyFrame, level: Level, chain: Chain, terms: Terms) -> pl.LazyFrame:
    """Rows of `level` behind the steps on their quantities, each of which leaves `after_<place>`. Where the chain goes
    on behind what was metered before, they have that as EARLIER and the place of each allowance."""
    for place, step in enumerate(chain.before):
        if step.level == level:
            rows = _before(rows, step, place, terms).with_columns(pl.col("quantity").alias(f"after_{place}"))
    return rows


def by_day(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of events summed to days."""
    return _summed(rows, "event", "day")


def _before(rows: pl.LazyFrame, step: Step, place: int, terms: Terms) -> pl.LazyFrame:
    book = terms.book
    match step.operator:
        case "weight":
            carried = None if step.property is None else property_column(step.property)
            part_of = _TOGETHER[step.together] if step.together == "event" else ()
            return weight(rows, _numbers(book.weights, place).collect(), carried, step.instead, part_of)
        case "allow" if step.together == "plan":
            return rows.with_columns(quantity=(pl.col("quantity") - pl.col("allowed").fill_null(ZERO)).cast(AMOUNT))
        case "allow":
            used = f"{EARLIER}_{place}" if f"{EARLIER}_{place}" in rows.collect_schema() else None
            parts = terms.parts.lazy() if step.prorates else None
            shared_by, order = _TOGETHER[step.together], _order_of_usage(step.level)
            return allow(rows, _numbers(book.allowances, place), shared_by, order, used, parts)
        case "credit":
            return credit(rows)
        case "partition":
            return largest(rows, _TOGETHER[step.together], _order_of_usage(step.level))
    raise AssertionError(f"{step.operator} does not change a quantity")


def _on_line(lines: pl.LazyFrame, step: Step, place: int, terms: Terms) -> pl.LazyFrame:
    if step.operator == "prorate":
        return prorate(lines, _numbers(terms.book.prorations, place), terms.parts.lazy())
    return _after(lines, step, place, terms.book)


def _after(rows: pl.LazyFrame, step: Step, place: int, book: PriceBook) -> pl.LazyFrame:
    match step.operator:
        case "clamp":
            return clamp(rows, _numbers(book.clamps, place))
        case "compose":
            return compose(rows, _numbers(book.compositions, place))
        case "partition":
            pooled = rows.join(book.rates.lazy().select("rate", "pool"), on="rate", validate="m:1")
            return largest(pooled, _TOGETHER[step.together], _order(step.level), "amount").drop("pool")
    raise AssertionError(f"{step.operator} does not change an amount")


def _numbers(parameters: pl.DataFrame, place: int) -> pl.LazyFrame:
    return parameters.lazy().filter(pl.col("step") == place).drop("step")


def _order(level: Level) -> list[str]:
    """In what order: by time, then as lines are told apart."""
    return {"event": ["time", "event"], "day": ["day"], "line": []}[level] + ["rate", "group", "meter"]


def _order_of_usage(level: Level) -> list[str]:
    """The same for usage in front of its tiers, where a line has a row for each size of its events."""
    return [*_order(level), "size_from"]


def _tiered(rows: pl.LazyFrame, chain: Chain, terms: Terms) -> pl.LazyFrame:
    """Each row split over its tiers, and each tier's amount."""
    book = terms.book
    positive = pl.max_horizontal("quantity", ZERO)
    quantity, filled = pl.col("quantity"), ZERO
    if shared_by := _TOGETHER[chain.tier_together]:
        quantity = quantity.sum().over(shared_by)
        filled = positive.cum_sum().over(shared_by, order_by=_order_of_usage(chain.tier_level)) - positive
    elif chain.tier_level == "event" and BEGINS in rows.collect_schema():
        filled = pl.col(BEGINS).fill_null(ZERO).cast(AMOUNT)  # a part of an event goes on where the one before ended
    parts = terms.parts.lazy() if chain.prorates_tiers else None
    if chain.goes_on:
        filled, quantity = filled + pl.col(EARLIER), quantity + pl.col(EARLIER)
        rows = rows.with_columns(earlier=EARLIER)
    placed, once = rows.with_columns(filled=filled, basis=quantity), ["metered", "events", *traced(rows)]
    split = tier(placed, _tiers_of_book(book).lazy(), once, parts, goes_on=chain.goes_on)
    return price(split).with_columns(tier_amount="amount")


@of_book
def _tiers_of_book(book: PriceBook) -> pl.DataFrame:
    """TIER with `per` and MODE of its rate, and what one unit costs."""
    return with_amount_of_one(book.tiers.join(book.rates.select("rate", "per", *MODE), on="rate", validate="m:1"))


def _row_by_row(rows: pl.LazyFrame, step: Step, place: int, chain: Chain, book: PriceBook) -> pl.LazyFrame:
    """A step on the amount of each event or day; one that is free as a whole keeps its amount of nothing. Where tiers
    split it, the step sees their sum, and what it changes is booked with the first of them."""
    has_parts = step.together == "event" and BEGINS in rows.collect_schema()
    key = _TOGETHER["event"] if has_parts else [*LINE, *_KEYS[step.level]]
    whole, used, is_first = pl.col("amount"), pl.col("quantity"), pl.lit(True)
    if chain.splits or step.level != chain.tier_level or has_parts:
        whole, used = whole.sum().over(key), used.sum().over(key)
        order = [name for name in ("time", "tier", "event", "size_from") if name in rows.collect_schema()]
        is_first = _is_first(order, key)
    rows = rows.with_columns(own="amount", whole=whole, amount=whole, is_used=(used != 0) & is_first)
    change = pl.when("is_used").then(pl.col("amount") - pl.col("whole")).otherwise(ZERO)
    changed = _after(rows, step, place, book).with_columns(amount=pl.col("own") + change)
    return changed.drop("own", "whole", "is_used")


def _is_first(order: Sequence[str], key: Sequence[str]) -> pl.Expr:
    """Whether a row is the first of those that agree on `key`: minima, one after the other, are faster than a rank."""
    firsts = [pl.col(name) == pl.col(name).min().over([*key, *order[:place]]) for place, name in enumerate(order)]
    return pl.all_horizontal(one.fill_null(True) for one in firsts)


def _summed(rows: pl.LazyFrame, level: Level, coarser: Level) -> pl.LazyFrame:
    """Rows of `level` summed to a coarser one."""
    if level == coarser:
        return rows
    allowed = [name for name in rows.collect_schema() if name == "allowed"]
    return sums(rows, [*LINE, "pool", "size_from", *_KEYS[coarser]], ["quantity", "metered", *allowed])
