"""The frames of prepaid credits: what is granted, what wants to be paid, and the ledger that tells what paid what."""

import polars as pl

from rating.core.schema import AMOUNT, INSTANT

UNITS = "units"
"""The `unit` of a grant in metered quantities; a grant in money has its currency (ISO 4217) there."""

GRANT = pl.Schema(
    {
        "grant": pl.String(),  # unique
        "customer": pl.String(),
        "subscription": pl.String(),  # pays for this subscription only; null: for all of the customer's
        "kind": pl.String(),  # grant | top_up: what its first entry in the ledger is called
        "unit": pl.String(),  # a currency, or UNITS
        "amount": AMOUNT,  # > 0
        "priority": pl.Int32(),  # the smaller is burnt first
        "created_at": INSTANT,
        "effective_at": INSTANT,
        "expires_at": INSTANT,  # usable on [effective_at, expires_at); null: it does not expire
        "voided_at": INSTANT,  # usable until then; null: it was not voided
        "meters": pl.List(pl.String()),  # pays usage of these only; null: of all
        "prices": pl.List(pl.String()),  # pays lines of these only; null: of all
        "increment": AMOUNT,  # pays usage in whole steps of so much; null: exactly
        "factor": AMOUNT,  # what one unit of usage takes of it, with `increment`; null: one
        "recurs_every": pl.String(),  # 1d, 2w, 3mo, 1y: what is left is replaced by `amount`; null: never
        "recurs_from": INSTANT,  # one of those instants, from which all others are counted
        "rollover_minimum": AMOUNT,  # of what is left at a reset; null: 0
        "rollover_maximum": AMOUNT,  # null: resets do not concern it
        "cost_basis": AMOUNT,  # what was paid for one unit of it, to show; null: unknown
    }
)
"""One row is one dated allotment of one customer. A top-up is a grant of its own."""

BURN = pl.Schema(
    {
        "burn": pl.Int64(),  # unique; the last to tell the order of two at one instant
        "customer": pl.String(),
        "subscription": pl.String(),
        "unit": pl.String(),  # a currency, or UNITS
        "meter": pl.String(),
        "price": pl.String(),
        "time": INSTANT,
        "sequence": pl.Int64(),  # of the event, or 0
        "amount": AMOUNT,  # what wants to be paid; nothing is paid of what is not above zero
    }
)
"""One row asks for one payment, of an event or of a charge line. They are paid in the order of time, sequence, burn."""

PAID = pl.Schema({**BURN, "paid": AMOUNT, "unpaid": AMOUNT})
"""One row is one BURN with what grants have paid of it and what is left to charge: amount = paid + unpaid."""

RESET = pl.Schema({"customer": pl.String(), "at": INSTANT, "keeps_overage": pl.Boolean()})
"""One row is one instant at which the customer's grants with a `rollover_maximum` roll over. `keeps_overage` is whether
what was owed before is still owed after it; it matters only where overage is carried."""

REFUND = pl.Schema({"refund": pl.Int64(), "burn": pl.Int64(), "at": INSTANT, "amount": AMOUNT})
"""One row gives so much of a burn back, to the grants that paid it, the last one first."""

REFUNDED = pl.Schema({**REFUND, "credited": AMOUNT, "uncredited": AMOUNT})
"""One row is one REFUND with what went back to grants and what they had not paid: amount = credited + uncredited."""

RETURN = pl.Schema(
    {"refund": pl.String(), "customer": pl.String(), "grant": pl.String(), "at": INSTANT, "amount": AMOUNT}
)
"""One row gives so much back to one grant: its part of the refund of what was paid before the ledger begins."""

LEDGER = pl.Schema(
    {
        "entry": pl.Int64(),  # its place: by customer, unit, then the order in which it happened
        "customer": pl.String(),
        "unit": pl.String(),
        "grant": pl.String(),
        "kind": pl.String(),  # opening | grant | top_up | burn | refund | expiry | void | rollover
        "time": INSTANT,
        "burn": pl.Int64(),  # what was paid or given back; null for the other kinds
        "refund": pl.String(),  # of RETURN; null for all else
        "amount": AMOUNT,  # what it changed: positive into the grant
        "covered": AMOUNT,  # what that is of the burn: -amount, but for increments and factors; null for other kinds
        "balance_before": AMOUNT,
        "balance_after": AMOUNT,
        "cost_basis": AMOUNT,
    }
)
"""One row is one change of one grant. balance_after = balance_before + amount, and the next row of the grant begins
with it. A rollover of nothing lost and nothing added is a row too: it says that the rest was kept."""

PLAN_CREDIT = pl.Schema(
    {
        "plan": pl.String(),
        "credit": pl.String(),  # its key; (`plan`, `credit`) is unique
        "unit": pl.String(),  # as of GRANT
        "amount": AMOUNT,
        "priority": pl.Int32(),
        "recurs": pl.String(),  # period | once
        "lasts_periods": pl.Int64(),  # null: it does not expire
        "rollover_minimum": AMOUNT,
        "rollover_maximum": AMOUNT,
        "meters": pl.List(pl.String()),
        "prices": pl.List(pl.String()),
        "cost_basis": AMOUNT,
        "by": pl.String(),  # `amount` is prorated, counted so (rating/core/proration.py); null: it is not
    }
)
"""One row is what a plan grants each of its subscriptions."""

BILL_LEDGER = pl.Schema({**LEDGER, "line": pl.String(), "event": pl.Int64()})
"""One row is one LEDGER entry with the charge line that was paid, and where units paid the sequence of the event."""

BILLING_PERIOD = pl.Schema({"customer": pl.String(), "period_start": INSTANT, "period_end": INSTANT})
"""One row is one customer's billing period, [`period_start`, `period_end`)."""

CREDIT_ENTRY = pl.Schema(
    {
        **{name: dtype for name, dtype in BILL_LEDGER.items() if name != "burn"},
        "period": pl.String(),
    }
)
"""One row is one entry of the ledger of a run: BILL_LEDGER of all customers, and one of kind `closing` for each grant
that goes on behind the period, with what is left of it. `entry` counts by customer and unit, `closing` last."""

BALANCE = pl.Schema({"grant": pl.String(), "balance": AMOUNT})
"""One row is what is left of one grant."""
