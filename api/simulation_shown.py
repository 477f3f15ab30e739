"""A simulation in JSON values."""

from typing import Any

import polars as pl

from api.frames import rows
from api.simulation import Answer, Simulated
from rating.core.money import plain
from rating.core.simulation import reason_totals
from store.runs import Run


def as_json(simulated: Simulated, limit: int | None) -> dict[str, Any]:
    """With the `limit` largest increases, decreases and rows of unpriced usage; null is all."""
    found, customers = simulated.found, simulated.found.customers
    change = pl.col("difference")
    less = customers.filter(change < 0).sort("currency", "difference", "customer")
    unpriced = zip(("before", "after"), simulated.unpriced, strict=True)
    return {
        "catalog_before": simulated.versions[0],
        "catalog_after": simulated.versions[1],
        "totals": rows(found.currencies),
        "periods": _periods(simulated),
        "reasons": rows(reason_totals(found.reasons)),
        "percentiles": rows(found.percentiles),
        "prices": rows(found.prices),
        "losers": _customers(_first(customers.filter(change > 0), limit), found.reasons),
        "winners": _customers(_first(less, limit), found.reasons),
        "unpriced": {side: rows(_first(frame, limit)) for side, frame in unpriced},
        "unplanned": rows(simulated.unplanned),
        "solved": _solved(simulated.answer) if simulated.answer else None,
    }


def _periods(simulated: Simulated) -> list[dict[str, Any]]:
    """The totals of each month and currency, beside what its newest run came to."""
    runs = {run.period: run for run in simulated.recorded}
    return [
        {**row, "recorded": _recorded(runs[row["period"]], row["currency"]) if row["period"] in runs else None}
        for row in rows(simulated.found.totals)
    ]


def _recorded(run: Run, currency: str) -> dict[str, Any]:
    totals = {total["currency"]: total["rounded_amount"] for total in (run.report or {}).get("totals", [])}
    return {"run": run.id, "catalog": run.catalog_version, "amount": totals.get(currency, "0")}


def _customers(customers: pl.DataFrame, reasons: pl.DataFrame) -> list[dict[str, Any]]:
    """Each with its `reasons`, which sum to its difference."""
    own = rows(reasons.join(customers, on=["customer", "currency"], how="semi"))
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in own:
        found.setdefault((row["customer"], row["currency"]), {})[row["reason"]] = row["amount"]
    return [{**row, "reasons": found.get((row["customer"], row["currency"]), {})} for row in rows(customers)]


def _first(frame: pl.DataFrame, limit: int | None) -> pl.DataFrame:
    return frame if limit is None else frame.head(limit)


def _solved(answer: Answer) -> dict[str, Any]:
    known, solved = answer.known, answer.solved
    return {
        "price": answer.price,
        "currency": answer.currency,
        "field": known and known.column,
        "amount_given": known and plain(known.amount),
        "amount": solved and plain(solved.amount),
        "revenue": solved and plain(solved.revenue),
        "target": solved and plain(solved.target),
        "gap": solved and plain(solved.gap),
        "ratings": solved and solved.evaluations,
        "problem": answer.problem,
    }
