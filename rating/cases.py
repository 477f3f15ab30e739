"""Worked bills as data: a catalog, subscriptions, events and a month, and the charge lines that must come of them.

docs/conformance-suite.md is the format. Amounts are compared as exact decimals, never as floats; a line's identity is
its price and whatever else the case names. A case without a catalog is a ledger of prepaid credits alone, and no bill.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import yaml

from rating.catalog import compile_catalog, parse_catalog
from rating.core.book import PriceBook
from rating.core.credits.bills import Credits
from rating.core.credits.plans import plan_grants
from rating.core.credits.schema import GRANT
from rating.core.explain import explain
from rating.core.money import plain
from rating.core.periods import Month, parse_month
from rating.core.rating import Rated, rate
from rating.core.schema import SUBJECT, PropertyType, usage_event_schema
from rating.core.subjects import Usage, interned
from rating.core.subscriptions import PLAN_ITEM, TERMS, subscriptions_of
from rating.core.timeline import CHANGE

Case = Mapping[str, Any]

_SINCE = datetime(2020, 1, 1, tzinfo=UTC)
_TERMS = {"time_zone": "UTC", "starts_at": _SINCE, "interval": "month", "intervals": 1, "seats": 1}
_SUBSCRIPTION = {"key": "acme", "customer": "acme", "subjects": ["acme"], "plan": "plan"}
_GRANTED_AT = datetime(2026, 10, 1, tzinfo=UTC)
_GRANT = {
    "customer": "acme",
    "kind": "grant",
    "unit": "USD",
    "priority": 1,
    "created_at": _GRANTED_AT,
    "effective_at": _GRANTED_AT,
}
_COLUMNS = {
    "kind": "kind",
    "adjustment": "adjustment",
    "subscription": "subscription",
    "version": "price_version",
    "window": "window",
    "meter": "meter",
    "group": "group",
    "grant": "grant",
    "item": "item",
    "from": "service_start",
}
"""What a case calls the columns that tell the lines of a price apart."""


def read_cases(text: str) -> list[Case]:
    """The worked bills of one YAML file. Raises ValueError where it is no list of cases."""
    cases = yaml.safe_load(text)
    if not isinstance(cases, list) or not all(isinstance(case, dict) and "name" in case for case in cases):
        raise ValueError("a file of worked bills is a list of mappings, each with a `name`")
    return [case for case in cases if "catalog" in case]


def differences(case: Case) -> list[str]:
    """What comes out otherwise than the case says, one sentence each; nothing when the bill is right."""
    rated = rated_case(case)
    found = [problem for wanted in case["lines"] for problem in _line_differences(rated.lines, wanted)]
    if rated.lines.height != len(case["lines"]):
        found.append(f"{rated.lines.height} lines, expected {len(case['lines'])}")
    for name, frame in (
        ("unpriced", rated.unpriced),
        ("unsubscribed", rated.unsubscribed),
        ("unmetered", rated.unmetered),
    ):
        found += _report_differences(name, case.get(name, []), frame)
    bill = sum(rated.totals["rounded_amount"], Decimal(0))
    if "bill" in case and bill != Decimal(case["bill"]):
        found.append(f"the bill is {plain(bill)}, expected {case['bill']}")
    return found


def rated_case(case: Case) -> Rated:
    """The case, rated."""
    usage, subjects, subscriptions, book, month = terms_of(case)
    granted = [
        _frame(GRANT, map(_grant, case.get("grants", []))),
        plan_grants(book.credits, subscriptions, month, month),
    ]
    return rate(usage, subjects, subscriptions, book, month, credits=Credits(pl.concat(granted)))


def terms_of(case: Case) -> tuple[Usage, pl.DataFrame, pl.DataFrame, PriceBook, Month]:
    """What `rate` takes, but for the grants."""
    catalog = parse_catalog(yaml.safe_dump(case["catalog"]), format="yaml")
    rows = [{**_TERMS, **row} for row in case.get("subscriptions", [_SUBSCRIPTION])]
    owners = [(subject, row["customer"]) for row in rows for subject in row["subjects"]]
    subjects = pl.DataFrame(owners, schema=SUBJECT, orient="row").unique()
    subscriptions = subscriptions_of(_frame(TERMS, map(_terms, rows)), _frame(CHANGE, _changes(rows)))
    usage = interned(_usage(case["events"], catalog.declared_properties()))
    return usage, subjects, subscriptions, compile_catalog(catalog, subscriptions["plan"]), parse_month(case["month"])


def _frame(schema: pl.Schema, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    whole = [{name: row.get(name) for name in schema} for row in rows]
    return pl.DataFrame(whole, schema=schema, orient="row")


def _terms(row: Mapping[str, Any]) -> dict[str, Any]:
    own = {"subscription": row["key"], "billed_to": row["customer"], "seats": Decimal(row["seats"])}
    return {**row, **own}


def _changes(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """CHANGE of the `changes` of subscriptions, recorded in the order in which they are written."""
    every = [(row["key"], change) for row in rows for change in row.get("changes", [])]
    for sequence, (key, change) in enumerate(every):
        seats = None if change.get("seats") is None else Decimal(change["seats"])
        prices = None if change.get("prices") is None else json.dumps(change["prices"], sort_keys=True)
        own = {"effective_at": change["at"], "recorded_at": change["at"], "seats": seats, "prices": prices}
        own |= {"intervals": 1, **change["cycle"]} if "cycle" in change else {}
        yield {"item": PLAN_ITEM, **change, "subscription": key, "sequence": sequence, **own}


def _grant(given: Mapping[str, Any]) -> dict[str, Any]:
    numbers = [name for name, dtype in GRANT.items() if isinstance(dtype, pl.Decimal)]
    return {**_GRANT, **given, **{name: Decimal(given[name]) for name in numbers if name in given}}


def _usage(events: Iterable[tuple[Any, ...]], properties: Mapping[str, PropertyType]) -> pl.LazyFrame:
    """One row an event, ids and sequence by its position; only the declared properties are kept."""
    rows = [
        ("case", str(number), kind, subject, at, None, at, number, *_values(data, properties))
        for number, (at, subject, kind, data) in enumerate(events, start=1)
    ]
    return pl.LazyFrame(rows, schema=usage_event_schema(properties), orient="row")


def _values(data: Mapping[str, Any], properties: Mapping[str, PropertyType]) -> Iterator[Decimal | str | None]:
    for name, kind in properties.items():
        value = data.get(name)
        yield None if value is None else Decimal(value) if kind == "number" else value


def _line_differences(lines: pl.DataFrame, wanted: Mapping[str, Any]) -> Iterator[str]:
    found = lines.filter(pl.col("price").eq_missing(pl.lit(wanted.get("price"))))
    for name, column in _COLUMNS.items():
        if name in wanted:
            found = found.filter(pl.col(column).eq_missing(pl.lit(wanted[name])))
    told = ", ".join(f"{name} {wanted[name]}" for name in ("price", *_COLUMNS) if name in wanted)
    if found.height != 1:
        yield f"{found.height} lines with {told}, expected one"
        return
    line = found.row(0, named=True)
    got = {"rounded": line["rounded_amount"], **{name: line[name] for name in ("quantity", "amount", "events")}}
    for name, value in got.items():
        if name in wanted and Decimal(value) != Decimal(wanted[name]):
            shown = plain(Decimal(value))
            yield f"{told}: {name} is {shown}, expected {wanted[name]} ({wanted.get('how', 'no hand sum')})"
    if (last := explain(line)[-1].result.split()[0]) != plain(line["rounded_amount"]):
        yield f"{told}: its explanation ends with {last}, not with {plain(line['rounded_amount'])}"


def _report_differences(name: str, wanted: list[Mapping[str, Any]], frame: pl.DataFrame) -> Iterator[str]:
    rows = frame.rows(named=True)
    if len(rows) != len(wanted):
        yield f"{len(rows)} rows are {name}, expected {len(wanted)}"
    for row in wanted:
        if not any(all(_text(found[key]) == value for key, value in row.items()) for found in rows):
            yield f"nothing {name} is {dict(row)}"


def _text(value: Any) -> Any:
    return plain(value) if isinstance(value, Decimal) else value
