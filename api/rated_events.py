"""Rated events of a run that is done: every event with its share of its charge line, from what the run was made of.

Nothing of them is stored. The events are those that the run counted: accepted up to its `last_sequence`, corrected and
backfilled as they were then; the catalog is the run's version, customers and subscriptions are those that it saw, the
lines are the stored ones. The shares of each line are held against it, its events and its quantity, before they are
handed out: where they differ (other code has rated it, or it is from before the history of accounts) that is said.

Customers come in parts of about EVENTS_TOGETHER events, which bounds the memory by the largest customer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from api.history import History, Known
from api.rating import RatingService
from api.rating_inputs import Accounts, RatingInputs
from ingest.log import UsageLog
from rating.catalog import Catalog, compile_catalog, parse_catalog
from rating.catalog.closing import Closing
from rating.core.about import About, about
from rating.core.book import PriceBook
from rating.core.event_readings import names_events
from rating.core.explain import Step, explain
from rating.core.metering import is_sum
from rating.core.money import grouped_sum
from rating.core.periods import Month, parse_month
from rating.core.rated_events import rated_events
from rating.core.rating import usage_bounds
from rating.core.schema import AMOUNT, INSTANT, SUBJECT_NUMBER, PropertyType, numbered_usage_schema
from rating.core.service_periods import AGAIN, Due
from rating.core.subjects import Usage, with_numbers
from rating.run import code_version
from store import Store
from store.errors import NotFound, NotReproducible
from store.runs import Run

EVENTS_TOGETHER = 1_000_000

SHARE = pl.Schema(
    {
        "line": pl.String(),
        "customer": pl.String(),
        "source": pl.String(),  # null: what no event of the period carries
        "id": pl.String(),
        "subject": pl.String(),
        "time": INSTANT,
        "sequence": pl.Int64(),
        "tier": pl.Int32(),  # as in the line's `tiers`; null: included, or no event
        "quantity": AMOUNT,
        "amount": AMOUNT,
    }
)
"""One row is the part of one event that is in one tier of one charge line."""

_EVENT = ["sequence", "source", "id", "type", "subject", "time", "received_at"]


@dataclass(frozen=True)
class Explained:
    """A charge line (one row of STORED_LINE), the steps of its arithmetic, the credit lines that pay of it
    (STORED_LINE), and which usage events are behind it: how many, the first and the last instant."""

    line: pl.DataFrame
    steps: list[Step]
    credits: pl.DataFrame
    events: int
    first: datetime | None
    last: datetime | None
    unknown: str | None = None  # why the events cannot be found any more


@dataclass(frozen=True)
class _Source:
    """What a run was made of, as far as it is there."""

    run: Run
    book: PriceBook
    rule: Closing
    properties: dict[str, PropertyType]
    known: Known
    accounts: Accounts


class RatedEvents:
    """Questions about the events of runs; any number at a time."""

    def __init__(self, store: Store, log: UsageLog, rating: RatingService, history: History) -> None:
        self._store = store
        self._log = log
        self._rating = rating
        self._history = history

    def of_run(
        self,
        run_id: str,
        *,
        customer: str | None = None,
        customers: tuple[str | None, str | None] = (None, None),
        line: str | None = None,
    ) -> Iterator[pl.DataFrame]:
        """SHARE of the lines of a run, by customer, line, time and event, in parts; of one customer, of those behind
        the first of `customers` up to the second one, of one line.

        Raises NotFound, Refused for a run that is not done, LinesDamaged, and NotReproducible when the events of a line
        are not those that were rated.
        """
        lines = self._rating.lines(run_id, customer=customer)
        after, until = customers
        lines = lines if after is None else lines.filter(pl.col("customer") > after)
        lines = lines if until is None else lines.filter(pl.col("customer") <= until)
        found = (lines if line is None else self._with_pool(lines, line)).collect()
        source = self._source(run_id)
        for part in parts_of(found):
            shares, usage = self._shares(source, part)
            if line is not None:
                shares = shares.filter(pl.col("line") == line)
            yield named(shares, usage, part)

    def of_line(self, line: str, run_id: str | None) -> pl.DataFrame:
        """The events behind a line, as they were sent and with their share of it, in the order of their sequences.
        Raises as `of_run`."""
        found = self._rating.find(line, run_id)
        source = self._source(found["run"][0])
        events, usage = self._behind(source, line, found["run"][0])
        wanted = usage.events.join(events.lazy().select("event"), left_on="sequence", right_on="event", how="semi")
        named = wanted.join(usage.subjects, on="subject_number", how="left", validate="m:1", suffix="_of_number")
        shares = events.select(pl.col("event").alias("sequence"), "quantity", "amount")
        known = named.collect(engine="streaming").join(shares, on="sequence", validate="1:1").sort("sequence")
        return known.select(event_schema(source.properties).names())

    def explain(self, line: str, run_id: str | None) -> Explained:
        """A line, explained by the catalog that it was rated by. Raises NotFound."""
        found = self._rating.find(line, run_id)
        row, run = found.row(0, named=True), str(found["run"][0])
        siblings = self._rating.lines(run, customer=row["customer"]).collect()
        credits = siblings.filter(pl.col("pays") == line).sort("line")
        steps = explain(row, self._about(row, run, siblings))
        if row["kind"] != "usage":
            return Explained(found, steps, credits, 0, None, None)
        try:
            events, _ = self._behind(self._source(run), line, run)
        except NotReproducible as error:
            return Explained(found, steps, credits, row["events"], None, None, str(error))
        times = events["time"]
        return Explained(found, steps, credits, events.height, times.min(), times.max())  # type: ignore[arg-type]

    def _about(self, row: dict[str, Any], run: str, siblings: pl.DataFrame) -> About:
        book = compile_catalog(self._catalog(self._store.runs.get(run)))
        return about(row, book, siblings)

    def _behind(self, source: _Source, line: str, run: str) -> tuple[pl.DataFrame, Usage]:
        """`event`, `time`, `quantity` and `amount` of each event of a line, and the usage that they are of."""
        lines = self._with_pool(self._rating.lines(run), line).collect()
        shares, usage = self._shares(source, lines)
        own = shares.lazy().filter(pl.col("line") == line, pl.col("event").is_not_null())
        events = grouped_sum(own, ["event"], ["quantity", "amount"], pl.col("time").first())
        return events.sort("time", "event").collect(), usage

    def _with_pool(self, lines: pl.LazyFrame, line: str) -> pl.LazyFrame:
        """A line with those that may share its allowances and tiers: of the same price and subscription."""
        own = lines.filter(pl.col("line") == line).select("subscription", "price").collect()
        if own.is_empty():
            raise NotFound("charge line", line)
        return lines.join(own.lazy(), on=["subscription", "price"], how="semi", nulls_equal=True)

    def _source(self, run_id: str) -> _Source:
        run = self._store.runs.get(run_id)
        catalog = self._catalog(run)
        known = self._history.of_run(run, catalog.declared_properties())
        accounts = self._rating.sources.accounts(known.change)
        book, properties = compile_catalog(catalog), catalog.declared_properties()
        return _Source(run, book, catalog.closing, properties, known, accounts)

    def _catalog(self, run: Run) -> Catalog:
        return parse_catalog(self._store.catalogs.document(run.catalog_version), format="json")

    def _shares(self, source: _Source, lines: pl.DataFrame) -> tuple[pl.DataFrame, Usage]:
        """RATED_EVENT of lines of the run, and the usage of their customers."""
        own = source.accounts.of(lines["customer"])
        subjects, subscriptions = own.subjects, own.subscriptions
        due = _due(source.run, source.rule, lines)
        start, end = usage_bounds(subscriptions, source.book, due)
        scanned = self._log.scan(
            start=start, end=end, subjects=subjects["subject"], view=source.known.view, properties=source.properties
        )
        usage = scanned.usage
        shares = pl.concat(rated_events(usage, subjects, subscriptions, source.book, due, lines))
        _check(source, lines, shares)
        return shares, usage


def _due(run: Run, rule: Closing, lines: pl.DataFrame) -> Month | Due:
    """What has to be rated to make `lines` of the run again."""
    if run.due_until is None:
        return parse_month(run.period)
    return Due(run.due_until, run.due_until, lines.select(AGAIN.names()).unique(), rule.final_bill)


def rated_events_of(inputs: RatingInputs, lines: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """SHARE of the `lines` that were just made of `inputs`, in parts."""
    for part in parts_of(lines):
        payers = part.select("customer").unique()
        subjects = inputs.subjects.join(payers, on="customer", how="semi")
        subscriptions = inputs.subscriptions.join(payers, on="customer", how="semi")
        numbers = with_numbers(subjects, inputs.usage).lazy()
        events = inputs.usage.events.join(numbers, on=SUBJECT_NUMBER, how="semi")
        usage = Usage(events, inputs.usage.subjects)
        shares = rated_events(usage, subjects, subscriptions, inputs.book, inputs.due, part)
        yield named(pl.concat(shares), usage, part)


def event_schema(properties: dict[str, PropertyType]) -> pl.Schema:
    """The columns of the events behind a line: the event as the log has it, and its share."""
    usage = numbered_usage_schema(properties)
    declared = [name for name in usage if name.startswith("data")]
    columns = {name: usage[name] for name in [*_EVENT, *declared]}
    return pl.Schema({**columns, "quantity": AMOUNT, "amount": AMOUNT})


def parts_of(lines: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Lines (`customer`, `line`, `events`) by customer, about EVENTS_TOGETHER events at a time."""
    ordered = lines.sort("customer", "line")
    events = ordered.group_by("customer", maintain_order=True).agg(pl.col("events").sum())
    before = pl.col("events").cum_sum() - pl.col("events")
    numbered = events.select("customer", part=before // EVENTS_TOGETHER)
    placed = ordered.join(numbered, on="customer", validate="m:1", maintain_order="left")
    yield from placed.partition_by("part", maintain_order=True, include_key=False)


def named(shares: pl.DataFrame, usage: Usage, lines: pl.DataFrame) -> pl.DataFrame:
    """SHARE: the parts of events with the names that their senders gave them."""
    wanted = shares.lazy().select(sequence="event").drop_nulls().unique()
    columns = usage.events.select("sequence", "source", "id", "subject")
    events = columns.join(wanted, on="sequence", how="semi").collect(engine="streaming")
    named = shares.rename({"event": "sequence"}).join(events, on="sequence", how="left", validate="m:1")
    owned = named.join(lines.select("line", "customer"), on="line", validate="m:1")
    ordered = owned.sort("customer", "line", "time", "sequence", "tier")
    return ordered.select(pl.col(name).cast(dtype) for name, dtype in SHARE.items())


def _check(source: _Source, lines: pl.DataFrame, shares: pl.DataFrame) -> None:
    """Raises NotReproducible unless the shares of each line are its quantity, its amount and its number of events."""
    count = pl.col("event").drop_nulls().n_unique().cast(pl.Int64)
    sums = grouped_sum(shares.lazy(), ["line"], ["quantity", "amount"], count.alias("found"))
    both = lines.lazy().join(sums, on="line", how="left", suffix="_shared", validate="1:1").collect()
    found, events = pl.col("found"), pl.col("events")
    meters = [meter for meter in source.book.meters if is_sum(meter) or names_events(meter, source.book)]
    lasting = pl.col("meter").is_in([meter.key for meter in meters if meter.duration is not None])
    told = (pl.col("kind") == "usage") & pl.col("meter").is_in([meter.key for meter in meters])
    same = (
        (pl.col("quantity").cast(AMOUNT) == pl.col("quantity_shared"))
        & (pl.col("amount") == pl.col("amount_shared"))
        & pl.when(lasting).then(found >= events).when(told).then(found == events).otherwise(True)
    )
    wrong = both.filter(~same.fill_null(False))
    if wrong.is_empty():
        return
    line, made_of, now = wrong.select("line", "events", "found").row(0)
    raise NotReproducible(
        f"run {source.run.id} cannot be made again: line {line} was made of {made_of} events, and {now or 0} are "
        f"found. {_why(source.run)}; rate {source.run.period} again"
    )


def _why(run: Run) -> str:
    """What can be different from when a run was made."""
    if run.last_change is None:
        return "It is from before the history of accounts began, and customers, subjects or subscriptions have changed"
    if run.code_version != code_version():
        return f"Its events were rated by other code ({run.code_version})"
    return "Usage or records are not what they were: see `tallystick doctor`"
