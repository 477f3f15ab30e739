"""Prepaid credits of customers: granting, voiding and refunding them, and what is left of each."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from threading import Lock
from typing import Any

import polars as pl

from api.credit_checks import EARLIEST, out_of_bounds, problems_of
from api.credit_refunds import refund_parts
from api.rating import RatingService
from api.rating_inputs import month_over
from rating.catalog import Catalog
from rating.core.book import PriceBook
from rating.core.credits.standing import standing
from rating.core.money import ZERO
from rating.core.periods import month_of, parse_month
from store import Store
from store.credits import Grant, Refund
from store.customers import refuse
from store.errors import NotFound
from store.runs import Run


@dataclass(frozen=True)
class Ledger:
    """The entries of one run: STORED_ENTRY of a customer."""

    run: Run
    entries: pl.LazyFrame


class CreditService:
    """The credits of one engine. Every method may be called from any thread."""

    def __init__(self, store: Store, rating: RatingService, now: Callable[[], datetime]) -> None:
        self._store, self._records = store, store.credits
        self._sources, self._rating, self._now = rating.sources, rating, now
        self._refunding = Lock()  # a refund counts those before it

    def grant(self, grant: Grant, catalog: Catalog, book: PriceBook) -> Grant:
        """Record a grant; the same again is answered as it is. Raises NotFound for an unknown customer, IdTaken, and
        Refused for what contradicts itself or names what is not there."""
        self._store.customers.get(grant.customer)
        known = self._known(grant)
        if known is None:
            refuse(problems_of(grant, catalog, book, self._owner(grant.subscription)))
        return self._records.add(known or grant)

    def _known(self, grant: Grant) -> Grant | None:
        """The grant that this one asks for again."""
        try:
            found = self._records.get(grant.id)
        except NotFound:
            return None
        return found if (found.customer, found.given) == (grant.customer, grant.given) else None

    def _owner(self, subscription: str | None) -> str | None:
        """The customer of a subscription; null when there is none."""
        try:
            return None if subscription is None else self._store.subscriptions.get(subscription).customer
        except NotFound:
            return None

    def void(self, key: str, at: datetime | None) -> Grant:
        """Take what is left of a grant at `at`, now unless given; what is voided stays so. Raises NotFound, Refused for
        an instant that has passed, and CreditVoided."""
        now = self._now()
        if self._records.get(key).voided_at is None and at is not None:
            late = f"{at.isoformat()} has passed: a void takes what is left from now on, or later"
            refuse([late] if at < now else out_of_bounds("at", at))
        return self._records.void(key, at=at or now, is_asked=at is not None)

    def of_customer(self, customer: str, book: PriceBook) -> pl.DataFrame:
        """GRANT of everything granted to a customer that is known now, plans included, with `balance`, `pending`,
        `available`, `state`, `by` (customer or plan) and `voided_at`, by id. Raises NotFound, AmountOverflow."""
        now = self._now()
        zone = self._store.customers.get(customer).time_zone
        gathered = self._sources.gather(month_of(now, zone), book, customers=[customer])
        left = standing(gathered.ledger(gathered.inputs.rated()), now)
        recorded = self._records.grants_frame(book.prices["price"].to_list()).filter(pl.col("customer") == customer)
        of_plans = gathered.inputs.credits.grants.join(recorded, on="grant", how="anti")
        every = pl.concat([recorded.with_columns(by=pl.lit("customer")), of_plans.with_columns(by=pl.lit("plan"))])
        met = every.join(left, on="grant", how="left", validate="1:1").with_columns(
            pl.col("balance", "pending").fill_null(ZERO)
        )
        available = pl.max_horizontal(pl.col("balance") - pl.col("pending"), ZERO)
        return met.with_columns(available=available, state=_state(now)).sort("grant")

    def refund(
        self, line: str, refund_id: str, given: dict[str, Any], amount: Decimal | None, **of: str | int | None
    ) -> Refund:
        """Give back what credits paid of a charge line, to the grants that paid it, the last one first; of a credit
        line, to its grant alone; `of` may name one `event` or `unit`. `amount` is how much, all unless given.

        Raises NotFound, IdTaken, Refused before the line's month is closed, and when more is asked for than is left.
        """
        with self._refunding:
            known = self._records.refund(refund_id, given)
            if known is not None:
                return known
            row = self._rating.find(line, None).row(0, named=True)
            paid, grant = (row["pays"], row["grant"]) if row["kind"] == "credit" else (line, None)
            run = self._closed(row["period"])
            entries = self._paid(run, paid, grant=grant, **of)
            refuse([] if entries.height else [f"no credits have paid anything of that of line {line}"])
            units = sorted(entries["unit"].unique())
            refuse([] if len(units) == 1 else [f"line {line} was paid in {' and '.join(units)}: say of which `unit`"])
            past = [part for refund in self._records.refunds_of_line(paid) for part in refund.parts]
            parts = refund_parts(entries, past, self._records.grants_frame([]), amount)
            whole = sum((part.covered for part in parts), Decimal(0))
            made = Refund(refund_id, row["customer"], paid, units[0], whole, run.id, self._now(), parts, given)
            return self._records.add_refund(made)

    def _closed(self, period: str) -> Run:
        month = parse_month(period)
        run = self._sources.final_run(month)
        over = month_over(month).isoformat().replace("+00:00", "Z")
        late = f"{period} has no rating run from after its end everywhere ({over}): until then what it burns is open"
        refuse([late] if run is None else [])
        assert run is not None
        return run

    def _paid(self, run: Run, line: str, **of: str | int | None) -> pl.DataFrame:
        """The burns of a line, of one `grant`, `event` or `unit` if given: STORED_ENTRY."""
        wanted = [pl.col(name) == value for name, value in of.items() if value is not None]
        burns = self._sources.ledger(run).filter(pl.col("line") == line, pl.col("kind") == "burn", *wanted)
        return burns.collect()

    def paid_by(self, line: str, run_id: str) -> pl.DataFrame:
        """The grants that paid a charge line in a run, in the order in which they did: `grant`, `unit`, how much of the
        line (`amount`) in how many `burns`, and the balances before and after. Raises NotFound, LinesDamaged."""
        burns = self._paid(self._store.runs.get(run_id), line)
        of_grant = burns.group_by("grant", "unit", maintain_order=True)
        return of_grant.agg(
            pl.col("covered").sum().alias("amount"),
            pl.len().alias("burns"),
            pl.col("balance_before").first(),
            pl.col("balance_after").last(),
        )

    def ledger(self, customer: str, run_id: str | None, period: str | None) -> Ledger:
        """The ledger of a run: of `run_id`, else the newest one that is done, of `period` if given. Raises NotFound,
        Refused for a run that is not done, LinesDamaged."""
        self._store.customers.get(customer)
        run = self._store.runs.get(run_id) if run_id is not None else self._newest(period)
        refuse([] if run.status == "done" else [f"run {run.id} is {run.status}: it has no ledger"])
        return Ledger(run, self._sources.ledger(run).filter(pl.col("customer") == customer))

    def _newest(self, period: str | None) -> Run:
        run = self._store.runs.newest_done(period, since=EARLIEST)
        if run is None:
            raise NotFound("finished rating run", period or "of any period")
        return run

    def events(self, entries: pl.DataFrame) -> dict[int, tuple[str, str]]:
        """`source` and `id` of the events that `entries` name, by sequence."""
        named = entries.filter(pl.col("event").is_not_null())
        if named.is_empty():
            return {}
        start, end = named.select(pl.col("time").min(), end=pl.col("time").max().dt.offset_by("1us")).row(0)
        usage = self._sources.log.scan(start=start, end=end).frame
        found = usage.filter(pl.col("sequence").is_in(named["event"].implode())).select("sequence", "source", "id")
        return {sequence: (source, event) for sequence, source, event in found.collect().iter_rows()}


def _state(now: datetime) -> pl.Expr:
    return (
        pl.when(pl.col("voided_at") <= now)
        .then(pl.lit("voided"))
        .when(pl.col("expires_at") <= now)
        .then(pl.lit("expired"))
        .when(pl.col("effective_at") > now)
        .then(pl.lit("scheduled"))
        .otherwise(pl.lit("active"))
    )
