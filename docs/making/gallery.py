"""The gallery of price models: docs/gallery.md and its charts, from gallery.yaml and the engine's own numbers.

    python docs/making/gallery.py

One section for each price model of the catalog. Every amount is the engine's: a curve is one rating of many customers
of whom each has another quantity, and a worked bill is the explanation of its lines. A test makes the page again.
"""

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import yaml

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from charts import Point, curve

from rating.cases import rated_case
from rating.core.explain import explain
from rating.core.money import plain

DOCS = Path(__file__).parents[1]
POINTS = 40
"""So many equal parts a curve is drawn in, beside its edges."""

_AT = datetime(2026, 10, 5, 10, tzinfo=UTC)
_HEAD = """# Price model gallery

One section for each model that a catalog can name: what it is for, how it is written, its curve, and a worked bill.
Curves and bills are made by `python docs/making/gallery.py` from the engine's own numbers, with amounts in USD; the
left chart is what a quantity costs in total, the right one what a unit of it costs on average. What each field means
and what else a model can do, is on [the page of price models](pricing.md).
"""

Entry = Mapping[str, Any]


def entries() -> list[Entry]:
    found: list[Entry] = yaml.safe_load((DOCS / "making/gallery.yaml").read_text())
    return found


def pages() -> Iterator[tuple[Path, str]]:
    """Each file of the gallery, and its text."""
    sections = [_HEAD]
    for entry in entries():
        yield DOCS / "gallery" / f"{entry['model']}.svg", chart(entry)
        sections.append(section(entry))
    yield DOCS / "gallery.md", "\n".join(sections)


def section(entry: Entry) -> str:
    """The Markdown of one price model."""
    price = yaml.safe_dump(_price(entry), sort_keys=False, default_flow_style=None, width=100).rstrip()
    body = [
        f"## {entry['title']}",
        entry["for"],
        f"```yaml\n{price}\n```",
        f"![Cost by quantity: {entry['title']}](gallery/{entry['model']}.svg)",
        _worked(entry),
    ]
    return "\n\n".join(body) + "\n"


def chart(entry: Entry) -> str:
    """The SVG of one price model: amounts by quantity, or by the day on which a subscription begins."""
    title = f"Cost by quantity: {entry['title']}"
    unit = "first day in October" if "starts" in entry else _unit(entry)
    return curve(_totals(entry), unit=unit, currency="USD", title=title, has_average="starts" not in entry)


def _unit(entry: Entry) -> str:
    return f"{entry['curve']['of']} of one event" if entry["curve"]["of"] != "n" else str(entry["unit"])


def _totals(entry: Entry) -> list[Point]:
    """(quantity, exact amount) of a customer for each point of the curve, by one rating of them all."""
    if "starts" in entry:
        points = [Decimal(day) for day in range(1, 32)]
        subscriptions = [_customer(day, datetime(2026, 10, int(day), tzinfo=UTC)) for day in points]
        case = {**_case(entry, []), "subscriptions": subscriptions}
    else:
        points = _points(entry["curve"])
        given = [{entry["curve"]["of"]: plain(point), **entry["curve"].get("beside", {})} for point in points]
        events = [[_AT, plain(point), "used", data] for point, data in zip(points, given, strict=True)]
        case = {**_case(entry, events), "subscriptions": [_customer(point, None) for point in points]}
    billed = rated_case(case).lines.group_by("customer").agg(pl.col("amount").sum())
    amounts = dict(zip(billed["customer"], billed["amount"], strict=True))
    return [(point, amounts.get(plain(point), Decimal(0))) for point in points]


def _points(given: Mapping[str, Any]) -> list[Decimal]:
    whole = Decimal(given["to"])
    return sorted(
        {whole * part / POINTS for part in range(POINTS + 1)} | {Decimal(edge) for edge in given.get("edges", [])}
    )


def _customer(point: Decimal, starts_at: datetime | None) -> dict[str, Any]:
    key = plain(point)
    return {
        "key": key,
        "customer": key,
        "subjects": [key],
        "plan": "plan",
        **({"starts_at": starts_at} if starts_at else {}),
    }


def _worked(entry: Entry) -> str:
    """The worked bill: its events, and each charge line with the steps of its explanation."""
    events = [[_AT + timedelta(hours=hour), "acme", "used", data] for hour, data in enumerate(entry.get("bill", []))]
    case = _case(entry, events)
    if "starts" in entry:
        case["subscriptions"] = [{**_customer(Decimal(15), datetime(2026, 10, 15, tzinfo=UTC)), "key": "acme"}]
    rated = rated_case(case)
    shown = [", ".join(f"{name} {value}" for name, value in data.items()) for data in entry.get("bill", [])]
    used = f"of events with {'; '.join(shown)}" if shown else "of a subscription that begins on 15 October"
    rows = ["| step | arithmetic | result |", "|---|---|---:|"]
    for line in rated.lines.sort("line").iter_rows(named=True):
        rows += [f"| {step.name} | {_cell(step.text)} | {step.result} |" for step in explain(line)]
    (total,) = rated.totals["rounded_amount"]
    return f"Worked bill {used}:\n\n" + "\n".join(rows) + f"\n\n**Total: {plain(total)} USD**"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _case(entry: Entry, events: list[Any]) -> dict[str, Any]:
    return {
        "name": entry["title"],
        "month": "2026-10",
        "catalog": {
            "tallystick": 1,
            "currencies": ["USD"],
            "meters": _meter(entry),
            "prices": {"price": _price(entry)},
            "plans": {"plan": {"currency": "USD", "prices": ["price"]}},
        },
        "events": events,
        "lines": [],
    }


def _meter(entry: Entry) -> dict[str, Any]:
    if "starts" in entry:
        return {}
    aggregation = entry.get("aggregation", "sum")
    grouped = {"group_by": entry["group_by"]} if "group_by" in entry else {}
    of = {} if aggregation == "count" else {"property": "n"}
    return {"usage": {"event_type": "used", "aggregation": aggregation, **of, **grouped}}


def _price(entry: Entry) -> dict[str, Any]:
    metered = {} if "starts" in entry else {"meter": "usage"}
    return {
        **metered,
        "currency": "USD",
        "model": entry["model"],
        **entry.get("price", {}),
        "versions": [entry["version"]],
    }


def main() -> None:
    for path, text in pages():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
