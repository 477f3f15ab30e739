"""Burn credits: what each grant paid of each burn, and the ledger that says so.

Between two instants at which the usable grants of a customer change, their order stands still and paying.py pays
everything at once. So time is cut into segments at those instants (changes.py), each customer's by its own, and the
k-th segment of every customer is paid together: the loop below goes over k, never over customers, grants or burns.
A burn takes part in the segment that it falls in, and no other.

Overage, what no grant pays, is charged. Where it is carried instead, a burn asks again in the segments behind its own,
before what is new there, until it is paid or a reset forgives it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from rating.core.credits.account import Account
from rating.core.credits.changes import BURNS, changes
from rating.core.credits.conservation import assert_conserved
from rating.core.credits.order import DEFAULT_ORDER, OrderKey, in_order
from rating.core.credits.paying import pay
from rating.core.credits.schema import BALANCE, GRANT, LEDGER, PAID, REFUND, REFUNDED, RESET, RETURN
from rating.core.money import ZERO

Overage = Literal["charge", "carry"]


@dataclass(frozen=True)
class Opening:
    """What was left (BALANCE) of every grant in force when the ledger begins, at `at`. `begun_at` is whether the ledger
    before has the beginnings of that very instant; else they are in this one."""

    at: datetime
    balances: pl.DataFrame
    begun_at: bool = True


@dataclass(frozen=True)
class Burnt:
    """What came of the burns, of the refunds, and of the grants up to and at `until`."""

    ledger: pl.DataFrame  # LEDGER
    paid: pl.DataFrame  # PAID, by burn
    refunded: pl.DataFrame  # REFUNDED, by refund
    balances: pl.DataFrame  # BALANCE of every grant, by id
    segments: pl.DataFrame  # `customer`, `unit`, `at`: where the usable grants of a customer changed, ascending
    until: datetime


class OpeningInvalid(ValueError):
    """The opening balances do not fit the grants; the message says how."""


def burn(
    grants: pl.DataFrame,
    burns: pl.DataFrame,
    until: datetime,
    *,
    order: Sequence[OrderKey] = DEFAULT_ORDER,
    overage: Overage = "charge",
    resets: pl.DataFrame | None = None,
    refunds: pl.DataFrame | None = None,
    returns: pl.DataFrame | None = None,
    opening: Opening | None = None,
    time_zone: str = "UTC",
) -> Burnt:
    """Pay `burns` (BURN, all before or at `until`) from `grants` (GRANT), with all changes up to and at `until`.

    `resets` is RESET, `refunds` REFUND, `returns` RETURN (up to `until`); `time_zone` is that of recurrences. Raises
    OpeningInvalid, and AmountOverflow.
    """
    resets = RESET.to_frame() if resets is None else resets
    refunds = REFUND.to_frame() if refunds is None else refunds
    since = opening.at if opening else None
    placed = _opened(_placed(grants, order), opening, resets)
    given_back = _given_back(RETURN.to_frame() if returns is None else returns, placed)
    asked = _asked(burns, placed)
    changed = changes(placed, resets, since, until, time_zone).join(placed.select("place", "pool"), on="place")
    returned = refunds.join(asked.select("burn", "row", "pool"), on="burn")
    forgiven = _pools_of(resets, placed) if overage == "carry" else _pools_of(RESET.to_frame(), placed)
    edges = _edges([changed, returned, given_back, forgiven])
    account = Account(placed, set(returned["row"]))
    allowed = _allowed(placed, asked)
    parts = [_by_segment(part, edges) for part in (changed, returned, given_back, forgiven, asked)]
    owed = asked.clear()
    for segment in range(1 + (int(edges["segment"].max() or 0) if edges.height else 0)):  # type: ignore[arg-type]
        changes_now, refunds_now, returns_now, forgiven_now, asking = (part.get(segment) for part in parts)
        account.change(segment, changes_now, refunds_now, returns_now)
        if overage == "carry":
            asking = owed = _with_owed(asking, owed, forgiven_now)
        if asking is not None and not asking.is_empty():
            pieces = pay(asking, account.usable(asking), allowed)
            account.take(segment, pieces, asking)
            owed = _owed(asking, pieces) if overage == "carry" else owed
    return _result(burns, refunds, placed, edges, asked, account, until)


def _placed(grants: pl.DataFrame, order: Sequence[OrderKey]) -> pl.DataFrame:
    """GRANT with `place` (the order in which they are burnt) and, as numbers, `pool` and `scope`."""
    assert grants["grant"].is_unique().all(), "a grant's id must be unique"
    assert (grants["amount"] >= 0).all(), "a grant is not negative"
    numbered = in_order(grants.select(GRANT.names()), order).with_row_index("place")
    scope = pl.struct(_listed("meters"), _listed("prices"))
    return numbered.with_columns(
        pool=pl.struct("customer", "unit").rank("dense").cast(pl.UInt32),
        scope=scope.rank("dense").cast(pl.UInt32),
        is_limited=pl.col("meters").is_not_null() | pl.col("prices").is_not_null(),
    )


def _listed(column: str) -> pl.Expr:
    return pl.col(column).list.sort().list.join("\n").alias(column)


def _opened(placed: pl.DataFrame, opening: Opening | None, resets: pl.DataFrame) -> pl.DataFrame:
    """With `begins_with`: what a grant holds when it begins, and `has_begun`: whether that is an opening balance."""
    if opening is None:
        return placed.with_columns(begins_with="amount", has_begun=pl.lit(False))
    has_begun = pl.col("effective_at") <= opening.at if opening.begun_at else pl.col("effective_at") < opening.at
    begun = placed.filter(has_begun)
    for missing, what in (
        (opening.balances.join(placed, on="grant", how="anti"), "an opening balance names no grant"),
        (begun.join(opening.balances, on="grant", how="anti"), "a grant in force has no opening balance"),
        (resets.filter(pl.col("at") <= opening.at).rename({"customer": "grant"}), "a reset is not after the opening"),
    ):
        if not missing.is_empty():
            raise OpeningInvalid(f"{what}: {missing['grant'][0]}")
    joined = placed.join(opening.balances, on="grant", how="left", validate="1:1", maintain_order="left")
    left = pl.when(has_begun).then("balance").otherwise("amount")
    return joined.with_columns(begins_with=left, has_begun=has_begun).drop("balance")


def _given_back(returns: pl.DataFrame, placed: pl.DataFrame) -> pl.DataFrame:
    """RETURN with the `place` and `pool` of the grant, numbered in the order of the refunds' ids."""
    assert returns.join(placed, on="grant", how="anti").is_empty(), "something is returned to a grant that is not there"
    numbered = returns.sort("refund", "grant").with_row_index("nth")
    return numbered.join(placed.select("grant", "place", "pool"), on="grant", validate="m:1")


def _asked(burns: pl.DataFrame, placed: pl.DataFrame) -> pl.DataFrame:
    """The burns of customers with grants, in the order in which they are paid: `row`, `pool`, `target`, `rest`."""
    pools = placed.lazy().select("customer", "unit", "pool").unique()
    met = burns.lazy().filter(pl.col("amount") > 0).join(pools, on=["customer", "unit"], validate="m:1").collect()
    ordered = met.sort("pool", "time", "sequence", "burn").with_row_index("row")
    targets = ordered.select("meter", "price").unique().with_row_index("target")
    numbered = ordered.join(targets, on=["meter", "price"], nulls_equal=True, validate="m:1", maintain_order="left")
    return numbered.select("row", "pool", "burn", "subscription", "time", "meter", "price", "target", rest="amount")


def _allowed(placed: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """The pairs of a limited scope and a target that it holds."""
    scopes = placed.filter("is_limited").unique("scope").select("scope", "meters", "prices")
    targets = asked.unique("target").select("target", "meter", "price")
    both = scopes.join(targets, how="cross")
    return both.filter(_holds("meter"), _holds("price")).select("scope", "target")


def _holds(name: str) -> pl.Expr:
    return pl.col(f"{name}s").is_null() | pl.col(name).is_in(pl.col(f"{name}s")).fill_null(False)


def _pools_of(resets: pl.DataFrame, placed: pl.DataFrame) -> pl.DataFrame:
    return resets.join(placed.select("customer", "pool").unique(), on="customer").select("pool", "at", "keeps_overage")


def _edges(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One row for each instant at which something changes in a `pool`: the `segment` that begins `at` it, from 1."""
    edges = pl.concat([part.select("pool", "at") for part in parts]).unique().sort("pool", "at")
    return edges.with_columns(segment=pl.col("at").rank("dense").over("pool").cast(pl.Int64))


def _by_segment(rows: pl.DataFrame, edges: pl.DataFrame) -> dict[int, pl.DataFrame]:
    """The rows of each segment; 0 is before everything."""
    if "at" in rows.columns:
        met = rows.join(edges, on=["pool", "at"], validate="m:1", maintain_order="left")
    else:
        met = rows.join_asof(edges, left_on="time", right_on="at", by="pool", check_sortedness=False)  # both are
    met = met.with_columns(pl.col("segment").fill_null(0))
    return {segment: part for (segment,), part in met.partition_by("segment", as_dict=True).items()}


def _with_owed(asking: pl.DataFrame | None, owed: pl.DataFrame, forgiven: pl.DataFrame | None) -> pl.DataFrame:
    """What is still owed, but for what a reset forgives, and what is new."""
    if forgiven is not None:
        owed = owed.join(forgiven.filter(~pl.col("keeps_overage")), on="pool", how="anti")
    columns = owed.columns
    return owed if asking is None else pl.concat([owed, asking.select(columns)]).sort("row")


def _owed(asking: pl.DataFrame, pieces: pl.DataFrame) -> pl.DataFrame:
    covered = pieces.group_by("row").agg(pl.col("covered").sum())
    met = asking.join(covered, on="row", how="left", validate="1:1", maintain_order="left")
    rest = pl.col("rest") - pl.col("covered").fill_null(ZERO)
    return met.with_columns(rest=rest).drop("covered").filter(pl.col("rest") > 0)


def _result(
    burns: pl.DataFrame,
    refunds: pl.DataFrame,
    placed: pl.DataFrame,
    edges: pl.DataFrame,
    asked: pl.DataFrame,
    account: Account,
    until: datetime,
) -> Burnt:
    ledger = _ledger(account.entries(), placed, edges, asked)
    covered = ledger.filter(pl.col("kind") == "burn").group_by("burn").agg(paid=pl.col("covered").sum())
    paid = burns.join(covered, on="burn", how="left", validate="1:1").with_columns(pl.col("paid").fill_null(ZERO))
    paid = paid.with_columns(unpaid=pl.col("amount") - pl.col("paid")).select(PAID.names()).sort("burn")
    back = account.credited()
    refunded = refunds.join(back, on="refund", how="left", validate="1:1")
    refunded = refunded.with_columns(pl.col("credited").fill_null(ZERO))
    refunded = refunded.with_columns(uncredited=pl.col("amount") - pl.col("credited")).select(REFUNDED.names())
    balances = placed.select("grant", balance=account.left).sort("grant").cast(BALANCE)
    assert_conserved(ledger, paid, balances)
    pools = placed.select("pool", "customer", "unit").unique()
    segments = edges.join(pools, on="pool").select("customer", "unit", "at").sort("customer", "unit", "at")
    return Burnt(ledger, paid.cast(PAID), refunded.sort("refund"), balances, segments, until)


def _ledger(entries: pl.DataFrame, placed: pl.DataFrame, edges: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """LEDGER of the entries."""
    named = placed.select("place", "pool", "customer", "unit", "grant", "cost_basis")
    begun = edges.rename({"at": "begun_at"})
    # the entries of a segment are in order as they are, so only pools have to be brought together
    met = (
        entries.lazy()
        .join(named.lazy(), on="place", validate="m:1", maintain_order="left")
        .join(begun.lazy(), on=["pool", "segment"], how="left", validate="m:1", maintain_order="left")
        .join(asked.lazy().select("row", "burn", "time"), on="row", how="left", validate="m:1", maintain_order="left")
    )
    asked_at = pl.when(pl.col("phase") == BURNS).then("time")
    ordered = met.sort("pool", maintain_order=True).with_row_index("entry")
    return (
        ordered.with_columns(
            time=pl.max_horizontal(asked_at, "begun_at"),
            balance_after=pl.col("balance_before") + pl.col("amount"),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in LEDGER.items())
        .collect()
    )
