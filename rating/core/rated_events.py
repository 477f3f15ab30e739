"""Rated events: each usage event with its share of its charge line, split at tier edges, summing exactly to the line.

A line is its metered quantity, and every operator of its chain says which part of that quantity owes what. So a line is
cut into **pieces**: intervals (from, to] of its quantity in the order of time, each with an amount. An event takes the
part of each piece that its own interval covers: (before, before + quantity], ties in time broken by the sequence.

| operator                          | its share                                                                       |
|-----------------------------------|---------------------------------------------------------------------------------|
| allow                             | the first units in the order of time are the free ones                          |
| graduated tiers                   | filled in the order of time; an event is split where it crosses an edge         |
| volume, one tier                  | in proportion to quantity: all at the one rate                                  |
| flat amount of a tier             | in proportion, over the units of its tier                                       |
| weight, packages, credits         | in proportion: a started package is shared by all who use it                    |
| clamp, compose, prorate of a line | in proportion to the amounts before                                             |
| whatever acts on each event       | as it came out for the event itself                                             |

What nobody's quantity carries, such as a fee for usage of zero, goes with the first event. Within a piece amounts are
differences of one running total, rounded half to even at the 21st decimal: so nothing is left over, and no event is off
by more than that. A meter that is no sum says which of its events decide (event_readings.py). A line of which no event
is known (a fee, an adjustment, a credit, a level over time) is one row without an event: the rows of a bill always sum
to the bill.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from rating.core.book import EXACTLY, Chain, Meter, PriceBook
from rating.core.chain import Terms, by_day, left_at, priced
from rating.core.coverage import scan_bounds, subscribed_usage
from rating.core.event_lines import LINE_NUMBER, RunMade, events_of_lines
from rating.core.event_readings import events_of_readings
from rating.core.event_shares import AMOUNT_DECIMALS, shares
from rating.core.line_pieces import PRICED_TIER, pieces, whole_pieces
from rating.core.metering import converted
from rating.core.money import grouped_sum
from rating.core.periods import Month
from rating.core.proration import PART, parts_of_periods
from rating.core.schema import AMOUNT, INSTANT, LINE, PAYER, QUANTITY
from rating.core.service_periods import Due, service_periods, usage_payers
from rating.core.subjects import Usage, with_numbers
from rating.core.windows import EARLIER

RATED_EVENT = pl.Schema(
    {
        "line": pl.String(),  # the charge line
        "event": pl.Int64(),  # the sequence of the usage event; null: what no single event carries
        "time": INSTANT,
        "tier": pl.Int32(),  # as in the line's `tiers`; null: included, or no event
        "quantity": AMOUNT,  # of the line's metered quantity
        "amount": AMOUNT,  # of the line's exact amount
    }
)
"""One row is the part of one usage event that is in one tier of one charge line. Of each line, the quantities sum to
its quantity and the amounts to its amount."""


def rated_events(
    usage: Usage,
    subjects: pl.DataFrame,
    subscriptions: pl.DataFrame,
    book: PriceBook,
    due: Month | Due,
    lines: pl.DataFrame,
) -> Iterator[pl.DataFrame]:
    """RATED_EVENT of `lines`, the CHARGE_LINE that `rating.rate` has made of the same arguments; a frame for each meter
    and chain, in no order of rows that means anything."""
    served = service_periods(subscriptions, due)
    terms = Terms(book, parts_of_periods(served) if any(map(_prorates, book.chains)) else PART.to_frame())
    start, end = scan_bounds(served, due)
    in_scan = usage.between(start, end).events
    paid = subscribed_usage(in_scan, with_numbers(subjects, usage.subjects), served)
    numbered = lines.with_row_index("owner").with_columns(pl.col("owner").cast(pl.Int32))
    found_lines, finer = [pl.Series("owner", [], dtype=pl.Int32)], _Finer()
    for found in events_of_lines(paid, lines, served, book, (start, end)):
        rows = found.rows.rename({LINE_NUMBER: "owner"})
        known = numbered.join(_rates(found.rates, book), on="owner", validate="1:1")
        found_lines.append(known["owner"])
        for (chain, is_sized), own in known.partition_by("chain", "is_sized", as_dict=True).items():
            if is_sized or book.chains[chain].level != "line":
                finer.add(chain, is_sized, _of_lines(rows, own), own, found.meter)
            else:
                yield _named(_of_whole_lines(_of_lines(rows, own), own, found.meter), lines)
    for found in events_of_readings(paid, RunMade(lines, served, book), (start, end)):
        known = numbered.join(_rates(found.rates, book), on="owner", validate="1:1").filter(~pl.col("is_sized"))
        found_lines.append(known["owner"])
        rows = _of_lines(found.rows.rename({LINE_NUMBER: "owner"}), known)
        weighed = _in_proportion(rows, known.select("owner", amount=pl.col("quantity").cast(AMOUNT)))
        yield _named(_of_lines_by_weight(weighed, known, AMOUNT_DECIMALS), lines)
    for chain, events, own in finer.by_chain(book):
        yield _named(_step_by_step(events, own, chain, served, terms), lines)
    yield _without_events(numbered.filter(~pl.col("owner").is_in(pl.concat(found_lines).implode())))


def _prorates(chain: Chain) -> bool:
    """Whether tiers or included units are those of a part of the period."""
    return chain.prorates_tiers or any(step.prorates for step in chain.before)


class _Finer:
    """The events of chains that see less than a line: kept until all meters are there, for prices may pool them."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, bool], list[pl.DataFrame]] = defaultdict(list)
        self._lines: dict[tuple[int, bool], list[pl.DataFrame]] = defaultdict(list)

    def add(self, chain: int, is_sized: bool, rows: pl.DataFrame, lines: pl.DataFrame, meter: Meter) -> None:
        self._rows[chain, is_sized].append(converted(rows.lazy(), meter).collect())
        self._lines[chain, is_sized].append(lines)

    def by_chain(self, book: PriceBook) -> Iterator[tuple[Chain, pl.DataFrame, pl.DataFrame]]:
        """The chain, its events and its lines; where sizes choose tiers, each event has its own."""
        for (chain, is_sized), rows in self._rows.items():
            steps = replace(book.chains[chain], tier_level="event") if is_sized else book.chains[chain]
            yield steps, pl.concat(rows, how="diagonal"), pl.concat(self._lines[chain, is_sized])


def _rates(rates: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """The rate of each line, its chain, and whether the size of each event chooses its tier."""
    wanted = book.rates.select("rate", "chain", "pool", is_sized=pl.col("tier_mode") == "cliff")
    return rates.rename({LINE_NUMBER: "owner"}).join(wanted, on="rate", validate="m:1")


def _of_lines(rows: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    if rows["owner"].n_unique() == lines.height:
        return rows
    return rows.join(lines.select("owner"), on="owner", how="semi")


def _of_whole_lines(rows: pl.DataFrame, lines: pl.DataFrame, meter: Meter) -> pl.DataFrame:
    """The shares of events in `lines` of one meter, whose chains see whole lines."""
    if meter.conversion == EXACTLY:
        exact = rows.with_columns(quantity=pl.col("quantity").cast(AMOUNT), weight=pl.col("quantity").cast(AMOUNT))
        weights = lines.select("owner", weight=pl.col("quantity").cast(AMOUNT))
        return _of_lines_by_weight(exact, lines, QUANTITY.scale, weights)
    return _of_lines_by_weight(_converted(rows, meter), lines, AMOUNT_DECIMALS)


def _converted(rows: pl.DataFrame, meter: Meter) -> pl.DataFrame:
    """Rows with their part of the metered quantity as `quantity` and `weight`: a meter converts sums of events."""
    sums = grouped_sum(rows.lazy(), ["owner"], ["quantity"], pl.len().cast(pl.Int64).alias("events")).collect()
    metered = converted(sums.lazy(), meter).select("owner", amount=pl.col("quantity").cast(AMOUNT)).collect()
    return _in_proportion(rows, metered)


def _in_proportion(rows: pl.DataFrame, metered: pl.DataFrame) -> pl.DataFrame:
    """Rows with their part of the metered quantity (`amount` of each `owner`) as `quantity` and `weight`, in proportion
    to what they have as `quantity`."""
    weights = rows.with_columns(quantity=pl.col("quantity").cast(AMOUNT), weight=pl.col("quantity").cast(AMOUNT))
    made = shares(weights, whole_pieces(_with_weights(metered, weights)), QUANTITY.scale)
    return made.with_columns(quantity="share").rename({"share": "weight"}).drop("tier")


def _step_by_step(
    rows: pl.DataFrame, lines: pl.DataFrame, chain: Chain, served: pl.DataFrame, terms: Terms
) -> pl.DataFrame:
    """Events run through the steps that see events, as the chain does it; what is left goes on by days and lines."""
    left = left_at(_keyed(rows, lines, chain, served), "event", chain, terms)
    if chain.tier_level == "event":
        made = priced(left.with_columns(as_priced="quantity", as_metered="metered"), chain, terms)
        quantity = pl.when(pl.col("as_priced") == pl.col("as_metered")).then("quantity").otherwise("metered")
        amounts = made.select("owner", "event", "time", "tier", quantity=quantity, weight="amount")
        return _of_totals(amounts.collect(), lines)
    if chain.tier_level == "day" or any(step.level == "day" for step in chain.before):
        by_days = _of_days(left, lines, chain, terms).rename({"share": "weight"})
        if chain.tier_level == "day":
            return _of_totals(by_days, lines)
        return _of_lines_by_weight(by_days.drop("tier"), lines, AMOUNT_DECIMALS)
    weighted = left.select("owner", "event", "time", quantity="metered", weight="quantity")
    return _of_lines_by_weight(weighted.collect(), lines, AMOUNT_DECIMALS)


def _keyed(rows: pl.DataFrame, lines: pl.DataFrame, chain: Chain, served: pl.DataFrame) -> pl.LazyFrame:
    """Rows as a chain takes them, with numbers for the names in LINE: in the order of the names, where that matters;
    and what was metered before each line in its window."""
    names = [pl.col(name).rank("dense").cast(pl.Int32) for name in ("price", "meter", "group")]
    of_stretch = ["subscription", "item", "service_start"]
    payers = usage_payers(served).select(PAYER, *of_stretch[:2], service_start="from")
    paid = lines.join(payers, on=of_stretch, validate="m:1", maintain_order="left")
    keys = paid.select("owner", "rate", "pool", PAYER, *names, *_earlier(chain))
    quantity = pl.col("quantity").cast(AMOUNT)
    unknown = {"size_from": QUANTITY, "allowed": AMOUNT}  # what a plan's allowance covers is known of lines alone
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in unknown.items() if name not in rows.columns]
    each = rows.lazy().with_columns(*absent, quantity=quantity, metered=quantity)
    return each.join(keys.lazy(), on="owner", validate="m:1")


def _earlier(chain: Chain) -> Iterator[pl.Expr]:
    """What was metered before each line, as its operations tell it."""
    if not chain.goes_on:
        return
    allowed = [place for place, step in enumerate(chain.before) if step.operator == "allow"]
    told = [("tier", 0, EARLIER), *(("allow", nth, f"{EARLIER}_{place}") for nth, place in enumerate(allowed))]
    for operator, nth, name in told:
        own = pl.col("operations").list.filter(pl.element().struct.field("operator") == operator)
        numbers = own.list.get(nth, null_on_oob=True).struct.field("numbers")
        yield numbers.str.json_path_match("$.earlier").fill_null("0").cast(AMOUNT).alias(name)


def _of_days(left: pl.LazyFrame, lines: pl.DataFrame, chain: Chain, terms: Terms) -> pl.DataFrame:
    """Events with their share of what the steps and tiers that see days make of each: a quantity, or an amount."""
    rows = left.collect()
    keys = rows.select("owner", *LINE).unique()
    days = left_at(by_day(rows.lazy()).with_columns(entered="quantity"), "day", chain, terms)
    steps, before = [], "entered"
    for place, step in enumerate(chain.before):
        if step.level == "day":
            after = f"after_{place}"
            steps.append(pl.struct(operator=pl.lit(step.operator), before=before, after=after))
            before = after
    none = pl.lit([], dtype=pl.List(pl.Struct({"operator": pl.String, "before": AMOUNT, "after": AMOUNT})))
    traced = days.with_columns(weight="entered", quantities=pl.concat_list(steps) if steps else none)
    made = (
        priced(traced, chain, terms)
        if chain.tier_level == "day"
        else traced.with_columns(tier=pl.lit(None, dtype=pl.Int32), amount="quantity")
    )
    parts = pl.struct(pl.col(name).cast(dtype) for name, dtype in PRICED_TIER.items()).alias("tiers")
    spans = (
        made.group_by(*LINE, "day")
        .agg(pl.col("weight", "quantities").first(), parts, pl.col("amount").sum())
        .join(keys.lazy(), on=LINE, validate="m:1")
        .rename({"owner": "line"})
        .with_row_index("owner")
        .collect()
    )
    spans = spans.with_columns(pl.col("owner").cast(pl.Int32))
    events = rows.rename({"owner": "line"}).join(
        spans.select("owner", "line", "day"), on=["line", "day"], validate="m:1"
    )
    weighted = events.select("owner", "line", "event", "time", quantity="metered", weight="quantity")
    return shares(weighted, pieces(spans), AMOUNT_DECIMALS).drop("owner").rename({"line": "owner"})


def _of_lines_by_weight(
    rows: pl.DataFrame, lines: pl.DataFrame, decimals: int, weights: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Events by their weight, of `decimals`, through the steps and tiers that see whole lines. `weights` are the sums
    of each line's, where they are known."""
    step = pl.element().struct
    of_lines = (step.field("on") == "quantity") & (step.field("level") == "line")
    tier = pl.struct(step.field(name) for name in PRICED_TIER)
    described = lines.select(
        "owner",
        "amount",
        quantities=pl.col("operations").list.filter(of_lines),
        tiers=pl.col("tiers").list.eval(tier),
    )
    known = _with_weights(described, rows) if weights is None else described.join(weights, on="owner", validate="1:1")
    return shares(rows, pieces(known), decimals)


def _of_totals(rows: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Events by the amounts that they came to by themselves; what became of the line's sum is shared in proportion."""
    weighted = _with_weights(lines.select("owner", "amount"), rows)
    is_sum = pl.col("weight") == pl.col("amount")
    changed = weighted.filter(~is_sum)
    alone = rows.join(weighted.filter(is_sum).select("owner"), on="owner", how="semi")
    kept = alone.select("owner", "event", "time", "quantity", share="weight", tier="tier")
    others = shares(rows.join(changed.select("owner"), on="owner", how="semi"), whole_pieces(changed), AMOUNT_DECIMALS)
    return pl.concat([kept, others.select(kept.columns)])


def _with_weights(owners: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """`owners` with the `weight` of all their rows."""
    weights = grouped_sum(rows.lazy(), ["owner"], ["weight"])
    return owners.lazy().join(weights, on="owner", validate="1:1").collect()


def _named(parts: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    named = parts.with_columns(line=lines["line"].gather(parts["owner"])).rename({"share": "amount"})
    return named.select(pl.col(name).cast(dtype) for name, dtype in RATED_EVENT.items())


def _without_events(lines: pl.DataFrame) -> pl.DataFrame:
    absent = {name: pl.lit(None) for name in ("event", "time", "tier")}
    return lines.with_columns(**absent).select(pl.col(name).cast(dtype) for name, dtype in RATED_EVENT.items())
