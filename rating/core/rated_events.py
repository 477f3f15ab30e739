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
from rating.core.event_lines import LINE_NUMBER, STRETCH, events_of_lines, run_made
from rating.core.event_readings import events_of_readings
from rating.core.event_shares import AMOUNT_DECIMALS, shares
from rating.core.line_pieces import PRICED_TIER, Parts, parts_of, pieces, whole_pieces
from rating.core.metering import converted
from rating.core.money import grouped_sum
from rating.core.periods import Month
from rating.core.proration import parts_for
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

_NAMES = (*STRETCH, "price", "meter", "group")  # of a line, in LINE


def rated_events(
    usage: Usage,
    subjects: pl.DataFrame,
    subscriptions: pl.DataFrame,
    book: PriceBook,
    due: Month | Due,
    lines: pl.DataFrame,
) -> Iterator[pl.DataFrame]:
    """RATED_EVENT of `lines`, the CHARGE_LINE that `rating.rate` has made of the same arguments; in frames
    of some meter's events, in no order that means anything; a line may be in several frames."""
    served = service_periods(subscriptions, due)
    terms = Terms(book, parts_for(book, served))
    start, end = scan_bounds(served, due)
    in_scan = usage.between(start, end).events
    paid = subscribed_usage(in_scan, with_numbers(subjects, usage), served)
    numbered = lines.with_row_index("owner").with_columns(pl.col("owner").cast(pl.Int32))
    made_of = _parts_of_lines(numbered)
    narrow = numbered.select("owner", "quantity", "amount", "events", *_NAMES).rechunk()
    found_lines, finer = [pl.Series("owner", [], dtype=pl.Int32)], _Finer()
    run, names = (
        run_made(lines, served, book),
        lines["line"].rechunk(),
    )  # of many chunks each look-up takes 8 times as long
    for found in events_of_lines(paid, run, (start, end)):
        rows = found.rows.rename({LINE_NUMBER: "owner"})
        known = _known(narrow, found.rates, book)
        found_lines.append(known["owner"])
        for (chain, is_sized), own in known.partition_by("chain", "is_sized", as_dict=True).items():
            if is_sized or book.chains[chain].level != "line":
                finer.add(chain, is_sized, _of_lines(rows, own), own, found.meter)
            else:
                yield from _named(_of_whole_lines(rows, own, made_of, found.meter), names)
    for found in events_of_readings(paid, run, (start, end)):
        known = _known(narrow, found.rates, book).filter(~pl.col("is_sized"))
        found_lines.append(known["owner"])
        rows = _of_lines(found.rows.rename({LINE_NUMBER: "owner"}), known)
        weighed = _in_proportion(rows, known.select("owner", amount=pl.col("quantity").cast(AMOUNT)))
        yield from _named(_of_lines_by_weight(weighed, known, made_of, AMOUNT_DECIMALS), names)
    for chain, events, own in finer.by_chain(book):
        told = own.join(numbered.select("owner", "operations"), on="owner") if chain.goes_on else own
        yield from _named(_step_by_step(events, told, made_of, chain, served, terms), names)
    yield _without_events(numbered.filter(~pl.col("owner").is_in(pl.concat(found_lines).implode())))


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


def _known(lines: pl.DataFrame, rates: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """The lines that have `rates` and events, with the chain, and whether the size of each event chooses its tier."""
    wanted = book.rates.select("rate", "chain", "pool", is_sized=pl.col("tier_mode") == "cliff")
    of_lines = rates.join(wanted, on="rate", validate="m:1", maintain_order="left")
    known = lines[of_lines[LINE_NUMBER]].with_columns(of_lines.drop(LINE_NUMBER))
    return known.filter(pl.col("events") > 0).drop("events")  # an event of nothing may find a line that has none


def _of_lines(rows: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    if rows["owner"].n_unique() == lines.height:
        return rows
    return rows.join(lines.select("owner"), on="owner", how="semi")


def _of_whole_lines(rows: pl.DataFrame, lines: pl.DataFrame, made_of: Parts, meter: Meter) -> Iterator[pl.DataFrame]:
    """The shares of events in `lines` of one meter, whose chains see whole lines."""
    if meter.conversion == EXACTLY:
        exact = rows.with_columns(weight="quantity")
        weights = lines.select("owner", weight=pl.col("quantity").cast(AMOUNT))
        return _of_lines_by_weight(exact, lines, made_of, QUANTITY.scale, weights)
    return _of_lines_by_weight(_converted(_of_lines(rows, lines), meter), lines, made_of, AMOUNT_DECIMALS)


def _converted(rows: pl.DataFrame, meter: Meter) -> pl.DataFrame:
    """Rows with their part of the metered quantity as `quantity` and `weight`: a meter converts sums of events."""
    sums = grouped_sum(rows.lazy(), ["owner"], ["quantity"], pl.len().cast(pl.Int64).alias("events")).collect()
    metered = converted(sums.lazy(), meter).select("owner", amount=pl.col("quantity").cast(AMOUNT)).collect()
    return _in_proportion(rows, metered)


def _in_proportion(rows: pl.DataFrame, metered: pl.DataFrame) -> pl.DataFrame:
    """Rows with their part of the metered quantity (`amount` of each `owner`) as `quantity` and `weight`, in proportion
    to what they have as `quantity`."""
    weights = rows.with_columns(quantity=pl.col("quantity").cast(AMOUNT), weight=pl.col("quantity").cast(AMOUNT))
    made = pl.concat(shares(weights, whole_pieces(_with_weights(metered, weights)), QUANTITY.scale))
    return made.with_columns(quantity="share").rename({"share": "weight"}).drop("tier")


def _step_by_step(
    rows: pl.DataFrame, lines: pl.DataFrame, made_of: Parts, chain: Chain, served: pl.DataFrame, terms: Terms
) -> Iterator[pl.DataFrame]:
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
        return _of_lines_by_weight(by_days.drop("tier"), lines, made_of, AMOUNT_DECIMALS)
    weighted = left.select("owner", "event", "time", quantity="metered", weight="quantity")
    return _of_lines_by_weight(weighted.collect(), lines, made_of, AMOUNT_DECIMALS)


def _keyed(rows: pl.DataFrame, lines: pl.DataFrame, chain: Chain, served: pl.DataFrame) -> pl.LazyFrame:
    """Rows as a chain takes them, with numbers for the names in LINE: in the order of the names, where that matters;
    and what was metered before each line in its window."""
    names = [pl.col(name).rank("dense").cast(pl.Int32) for name in ("price", "meter", "group")]
    payers = usage_payers(served).select(PAYER, *STRETCH[:2], service_start="from")
    paid = lines.join(payers, on=STRETCH, validate="m:1", maintain_order="left")
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
    return (
        pl.concat(shares(weighted, pieces(spans, parts_of(spans)), AMOUNT_DECIMALS))
        .drop("owner")
        .rename({"line": "owner"})
    )


def _parts_of_lines(lines: pl.DataFrame) -> Parts:
    """What the steps and tiers that see whole lines made of each of them."""
    step = pl.element().struct
    of_lines = (step.field("on") == "quantity") & (step.field("level") == "line")
    tier = pl.struct(step.field(name) for name in PRICED_TIER)
    quantities, tiers = pl.col("operations").list.filter(of_lines), pl.col("tiers").list.eval(tier)
    return parts_of(lines.select("owner", quantities=quantities, tiers=tiers))


def _of_lines_by_weight(
    rows: pl.DataFrame, lines: pl.DataFrame, made_of: Parts, decimals: int, weights: pl.DataFrame | None = None
) -> Iterator[pl.DataFrame]:
    """Events by their weight, of `decimals`, through the steps and tiers that see whole lines. `weights` are the sums
    of each line's, where they are known."""
    owed = lines.select("owner", "amount")
    known = _with_weights(owed, rows) if weights is None else owed.join(weights, on="owner", validate="1:1")
    return shares(rows, pieces(known, made_of), decimals)


def _of_totals(rows: pl.DataFrame, lines: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Events by the amounts that they came to by themselves; what became of the line's sum is shared in proportion."""
    weighted = _with_weights(lines.select("owner", "amount"), rows)
    is_sum = pl.col("weight") == pl.col("amount")
    changed = weighted.filter(~is_sum)
    alone = rows.join(weighted.filter(is_sum).select("owner"), on="owner", how="semi")
    yield alone.select("owner", "event", "time", "quantity", share="weight", tier="tier")
    others = rows.join(changed.select("owner"), on="owner", how="semi")
    yield from shares(others, whole_pieces(changed), AMOUNT_DECIMALS)


def _with_weights(owners: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """`owners` with the `weight` of all their rows."""
    weights = grouped_sum(rows.lazy(), ["owner"], ["weight"])
    return owners.lazy().join(weights, on="owner", validate="1:1").collect()


def _named(parts: Iterator[pl.DataFrame], lines: pl.Series) -> Iterator[pl.DataFrame]:
    """RATED_EVENT of the shares of `owner`, which is a place in `lines`."""
    for part in parts:
        named = part.with_columns(lines.gather(part["owner"]).alias("line")).rename({"share": "amount"})
        yield named.select(pl.col(name).cast(dtype) for name, dtype in RATED_EVENT.items())


def _without_events(lines: pl.DataFrame) -> pl.DataFrame:
    absent = {name: pl.lit(None) for name in ("event", "time", "tier")}
    return lines.with_columns(**absent).select(pl.col(name).cast(dtype) for name, dtype in RATED_EVENT.items())
