"""The frames of what is recorded of quotas, beside what plans say."""

import polars as pl

from rating.core.schema import INSTANT, QUANTITY

QUOTA_GRANT = pl.Schema(
    {
        "grant": pl.String(),  # unique
        "customer": pl.String(),
        "feature": pl.String(),
        "amount": QUANTITY,
        "priority": pl.Int32(),  # the smaller is burnt first
        "created_at": INSTANT,
        "effective_at": INSTANT,
        "expires_at": INSTANT,  # usable on [effective_at, expires_at); null: it does not expire
        "voided_at": INSTANT,  # usable until then; null: it was not voided
        "recurs_every": pl.String(),  # an interval; null: never
        "recurs_from": INSTANT,  # one of those instants; null: effective_at
        "rollover_minimum": QUANTITY,
        "rollover_maximum": QUANTITY,  # null: ends of windows do not concern it
    }
)
"""One row is an amount of a feature that a customer may use beside what its plans give."""

OVERRIDE = pl.Schema(
    {
        "override": pl.String(),  # unique
        "customer": pl.String(),
        "subject": pl.String(),  # whose own limit it is; null: of the customer
        "feature": pl.String(),
        "limit": QUANTITY,  # null: unlimited
        "enforcement": pl.String(),  # hard | soft | grace; null: as the plan says
        "grace": QUANTITY,
        "window": pl.String(),  # WindowRule, here and below; null: as the plan says
        "every": pl.String(),
        "step": pl.String(),
        "anchor": INSTANT,
        "time_zone": pl.String(),
        "effective_at": INSTANT,
        "expires_at": INSTANT,  # null: until it is ended
    }
)
"""One row stands in for what plans give of a feature on [`effective_at`, `expires_at`); of two at one time the later
row holds."""

FAMILY = pl.Schema({"customer": pl.String(), "time_zone": pl.String(), "parent": pl.String()})
"""One row is one customer that another pays for, or that pays for others; `parent` is null for the latter."""
