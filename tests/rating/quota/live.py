"""A live quota over a growing list of events, at a clock that is set by hand."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from rating.catalog import Catalog, load_catalog
from rating.catalog.compiling import compile_catalog
from rating.core.quota.answer import QuotaAnswer
from rating.core.quota.schema import FAMILY, OVERRIDE, QUOTA_GRANT
from rating.core.quota.seam import LevelChange
from rating.core.schema import SUBJECT, SUBSCRIPTION
from rating.entitled_quota import EntitledQuota
from rating.quota_terms import QuotaTerms
from tests.frames import usage_frame
from tests.rating.credits.frames import frame
from tests.rating.quota.accounts import JANUARY

SUBJECTS = {"acme": "acme", "acme-eu": "acme", "parent": "parent"}
Row = Mapping[str, Any]


def catalog_of(plans: Mapping[str, Any]) -> Catalog:
    """A catalog of one meter, `n` of events of type `use`, and features of it; `plans` are entitlements by plan."""
    features = {f: {"meter": "n"} for f in {"tokens", "other"} | {f for given in plans.values() for f in given}}
    meters = {"n": {"event_type": "use", "aggregation": "sum", "property": "n"}}
    made = {key: {"currency": "USD", "entitlements": given} for key, given in plans.items()}
    return load_catalog({"tallystick": 1, "currencies": ["USD"], "meters": meters, "features": features, "plans": made})


def terms_of(
    catalog: Catalog,
    subscriptions: Sequence[Sequence[Any]] = (("sub", "plan", "plan", JANUARY, None),),
    grants: Sequence[Row] = (),
    overrides: Sequence[Row] = (),
    family: Mapping[str, str] | None = None,
    zone: str = "UTC",
    anchor: datetime | None = None,
    subjects: Mapping[str, str] | None = None,
) -> QuotaTerms:
    """A subscription is its id, item, plan, start, end and, unless it is acme, customer; `subjects` are more than
    SUBJECTS."""
    rows = [
        {
            "subscription": id, "item": item, "plan": plan, "customer": rest[0] if rest else "acme", "starts_at": start,
            "ends_at": end, "began_at": start, "billed_to": "acme", "seats": Decimal(1), "state": "active",
            "time_zone": zone, "interval": "month", "intervals": 1, "anchor": anchor,
        }
        for id, item, plan, start, end, *rest in subscriptions
    ]  # fmt: skip
    usual = {"customer": "acme", "feature": "tokens", "priority": 100, "created_at": JANUARY}
    numbers = ("amount", "limit", "grace", "rollover_minimum", "rollover_maximum")
    granted = [_numbers({**usual, **row}, numbers) for row in grants]
    standing_in = [_numbers({**usual, "override": f"o{n}", **row}, numbers) for n, row in enumerate(overrides)]
    kin = [{"customer": child, "time_zone": zone, "parent": parent} for child, parent in (family or {}).items()]
    kin += [{"customer": parent, "time_zone": zone} for parent in set((family or {}).values())]
    payers = [(subject, customer, zone) for subject, customer in {**SUBJECTS, **(subjects or {})}.items()]
    return QuotaTerms(
        compile_catalog(catalog),
        pl.DataFrame(payers, schema={**SUBJECT, "time_zone": pl.String()}, orient="row"),
        frame(SUBSCRIPTION, rows),
        frame(QUOTA_GRANT, granted),
        frame(OVERRIDE, standing_in),
        frame(FAMILY, kin),
    )


def _numbers(row: Row, names: Sequence[str]) -> dict[str, Any]:
    return {n: Decimal(v) if n in names and v is not None else v for n, v in row.items()}


class Live:
    """Counts group by group, as the writer does."""

    def __init__(self, catalog: Catalog, terms: QuotaTerms, now: datetime = JANUARY) -> None:
        self.now, self.terms, self._properties = now, terms, catalog.declared_properties()
        self.events: list[dict[str, Any]] = []
        self._void: set[int] = set()
        self.read: list[Collection[str] | None] = []  # whose usage was read, null: all, each time
        self.changes: list[LevelChange] = []
        self.quota = self._new(self.changes)

    def use(self, *amounts: Any, at: datetime | None = None, subject: str = "acme") -> None:
        """Events of these amounts, accepted and counted together now."""
        self.quota.count(self.accept(*amounts, at=at, subject=subject))

    def accept(self, *amounts: Any, at: datetime | None = None, subject: str = "acme") -> pl.DataFrame:
        """The same, in the log and not counted yet."""
        before = len(self.events)
        for amount in amounts:
            data = {"n": Decimal(amount)}
            self.events.append(
                {"type": "use", "subject": subject, "time": at or self.now, "data": data, "got": self.now}
            )
        return self._frame().slice(before).collect()

    def void(self, place: int) -> pl.DataFrame:
        """An event that the log does not show any more."""
        self._void.add(place)
        return self._all().slice(place, 1).collect()

    def renew(self, terms: QuotaTerms) -> None:
        """Take other terms, and count again what they concern."""
        self.terms = terms
        self.quota.renew(terms, self.now)

    def check(self, amount: Any = 0, feature: str = "tokens", subject: str = "acme") -> QuotaAnswer:
        return self.quota.check(subject, feature, Decimal(amount), self.now)

    def recounted(self, changes: list[LevelChange] | None = None) -> EntitledQuota:
        """A quota of the same events and terms, counted from the log; its changes go to `changes`."""
        return self._new([] if changes is None else changes)

    def put(self, terms: QuotaTerms) -> None:
        """Take other terms."""
        self.terms = terms
        self.quota.rebuild(terms)

    def _new(self, changes: list[LevelChange]) -> EntitledQuota:
        quota = EntitledQuota(self._since, changes.extend, lambda: self.now)
        quota.rebuild(self.terms, self.now)
        return quota

    def _since(self, since: datetime | None, subjects: Collection[str] | None) -> tuple[pl.LazyFrame, int]:
        usage = self._frame()
        self.read += [subjects]
        usage = usage if subjects is None else usage.filter(pl.col("subject").is_in(list(subjects)))
        return usage if since is None else usage.filter(pl.col("time") >= since), len(self.events)

    def _frame(self) -> pl.LazyFrame:
        return self._all().filter(~pl.col("sequence").is_in([place + 1 for place in self._void]))

    def _all(self) -> pl.LazyFrame:
        received = pl.Series("received_at", [e["got"] for e in self.events], dtype=pl.Datetime("us", "UTC"))
        return usage_frame(self.events, self._properties).with_columns(received)
