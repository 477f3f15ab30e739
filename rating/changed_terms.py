"""Whose quotas other terms concern: the customers of whom something is another one than before, and all of their
families, whose usage counts together; and what was counted again of them while groups of events were on their way."""

from collections.abc import Collection
from dataclasses import dataclass, field

import polars as pl

from rating.core.book import PriceBook
from rating.quota_terms import QuotaTerms

CHANGED_MAX = 1_000
"""With more customers everything is counted again."""
_HASH = ["high", "low"]


def changed_customers(before: QuotaTerms, after: QuotaTerms) -> set[str] | None:
    """Those whose usage is to be counted again; null: everybody's, for the catalog is another one."""
    if not _is_alike(before.book, after.book):
        return None
    frames = ("payers", "subscriptions", "grants", "overrides", "family")
    changed = set().union(*(_changed(getattr(before, name), getattr(after, name)) for name in frames))
    kin = pl.concat([before.family, after.family]).with_columns(head=pl.coalesce("parent", "customer"))
    heads = kin.filter(pl.col("customer").is_in(list(changed)))["head"]
    return changed | set(kin.filter(pl.col("head").is_in(heads.implode()))["customer"]) | set(heads)


def subjects_of(customers: Collection[str], *terms: QuotaTerms) -> set[str]:
    """The subjects that customers have, or had."""
    frames = (each.payers.filter(pl.col("customer").is_in(list(customers)))["subject"] for each in terms)
    return set().union(*frames)


def _is_alike(before: PriceBook, after: PriceBook) -> bool:
    if before is after:
        return True
    frames = ("entitlements", "features", "quota_grants")
    return before.meters == after.meters and all(getattr(before, f).equals(getattr(after, f)) for f in frames)


def _changed(before: pl.DataFrame, after: pl.DataFrame) -> set[str]:
    """The customers of rows that are in one of them alone; rows are the same where 128 bits of hash are."""
    if before.equals(after):
        return set()
    old, new = _hashed(before), _hashed(after)
    ways = ((old, new), (new, old))
    return set().union(*(a.join(b, on=_HASH, how="anti")["customer"] for a, b in ways))


def _hashed(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("customer").with_columns(high=rows.hash_rows(1), low=rows.hash_rows(2))


@dataclass
class Recounted:
    """The subjects that were counted again from the log, and up to which sequence: what of that was accepted before,
    and comes to be counted only now, is counted already."""

    _until: dict[str, int] = field(default_factory=dict)

    def put(self, subjects: Collection[str], until: int) -> None:
        """They were counted up to `until`."""
        self._until.update(dict.fromkeys(subjects, until))

    def forget(self) -> None:
        """Everything was."""
        self._until = {}

    def left(self, events: pl.DataFrame, last_sequence: int | None = None) -> pl.DataFrame:
        """Those of `events` that were not counted so; where they are those of corrections, by the `last_sequence` of
        these."""
        if not self._until or not events.height:
            return events
        if (events["sequence"][0] if last_sequence is None else last_sequence) > max(self._until.values()):
            self.forget()
            return events
        until = pl.col("subject").replace_strict(self._until, default=0, return_dtype=pl.Int64)
        return events.filter((pl.col("sequence") if last_sequence is None else pl.lit(last_sequence)) > until)
