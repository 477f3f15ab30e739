"""`tallystick simulate`: another catalog tried on history, before anyone is charged by it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.catalogs import read_catalog
from api.cli.failing import USAGE, Failure
from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, money, note, progress, table
from api.cli.service import reach
from api.cli.writing import format_of, write_table

if TYPE_CHECKING:
    import polars as pl

SHOWN_MAX = 10
SIDES = ("before", "after", "difference", "%")


def simulate(
    catalog: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The catalog file to try.")],
    period: Annotated[str, typer.Option(metavar="MONTH[..MONTH]", help="2026-10, or 2026-01..2026-10.")],
    plan: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="Rate subscriptions of a plan by another one; may be repeated."),
    ] = None,
    solve: Annotated[
        str | None, typer.Option(metavar="PRICE", help="Find the amount of this price that earns as much as before.")
    ] = None,
    tolerance: Annotated[
        str, typer.Option(help="How far its revenue may be from that of before, in the price's currency.")
    ] = "0.01",
    customers: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write every customer who pays more or less: .parquet, .csv or .arrow."),
    ] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Rate history by another catalog beside the one in force: who pays more or less, and why. Writes nothing."""
    first, last = _months(period)
    file_format = None if customers is None else _format_of(customers)
    asked: dict[str, Any] = {"catalog": read_catalog(catalog).document(), "from": first, "to": last}
    asked |= {"plans": dict(map(mapping, plan or [])), "limit": 100 if customers is None else None}
    if solve is not None:
        asked["solve"] = {"price": solve, "tolerance": tolerance}
    with reach(data, url) as service, progress(f"simulating {period}", quiet=json):
        found = service.answer("POST", "/v1/simulations", json=asked).json()
    if customers is not None and file_format is not None:
        write_table(_changed(found), file_format, str(customers))
    if json:
        document(found)
        return
    show_simulation(found)
    if customers is not None:
        note(f"{grouped(len(found['losers']) + len(found['winners']))} customers are in {customers}")


def _months(period: str) -> tuple[str, str]:
    from api.cli.rating import parsed_month

    first, _, last = period.partition("..")
    return str(parsed_month(first)), str(parsed_month(last or first))


def _format_of(file: Path) -> str:
    found = format_of(file)
    if found == "json":
        raise Failure(f"{file.name}: --json has the customers as JSON; name a .parquet, .csv or .arrow file.", USAGE)
    return found


def mapping(text: str) -> tuple[str, str]:
    old, separator, new = text.partition("=")
    if not (old and separator and new):
        raise Failure(f"--plan {text}: write it as OLD=NEW.", USAGE)
    return old, new


def _changed(found: dict[str, Any]) -> "pl.DataFrame":
    """One row a customer and currency, with a column for each reason that there is; they sum to the difference."""
    import polars as pl

    from rating.core.schema import AMOUNT
    from rating.core.simulation import CUSTOMER_CHANGE

    names = sorted({row["reason"] for row in found["reasons"]})
    rows = [
        {**{name: row[name] for name in CUSTOMER_CHANGE}, **{name: row["reasons"].get(name, "0") for name in names}}
        for row in (*found["losers"], *reversed(found["winners"]))
    ]
    frame = pl.DataFrame(rows, schema=dict.fromkeys([*CUSTOMER_CHANGE, *names], pl.String))
    return frame.cast(pl.Schema([*CUSTOMER_CHANGE.items(), *((name, AMOUNT) for name in names)]))


def show_simulation(found: dict[str, Any]) -> None:
    typer.echo(f"{found['catalog_before']} (in force) and {found['catalog_after']}")
    totals = [(t["currency"], *_sides(t), t["customers"], t["more"], t["less"]) for t in found["totals"]]
    table("totals", ("currency", *SIDES, "customers", "pay more", "pay less"), totals, right=(*SIDES, "customers"))
    months = [(p["period"], p["currency"], *_sides(p), _recorded(p)) for p in found["periods"]]
    table("months", ("month", "currency", *SIDES, "its run"), months, right=(*SIDES, "its run"))
    reasons = [
        (r["reason"], money(r["amount"], r["currency"]), r["currency"], r["customers"]) for r in found["reasons"]
    ]
    table("why", ("reason", "difference", "currency", "customers"), reasons, right=("difference", "customers"))
    ranks = [(p["percentile"], _money(p["difference"], p), p["percent"], p["currency"]) for p in found["percentiles"]]
    table(
        "percentiles of customers", ("%", "difference", "percent", "currency"), ranks, right=("difference", "percent")
    )
    prices = [(p["price"] or p["kind"], *_sides(p), p["currency"]) for p in found["prices"]]
    table("revenue by price", ("price", *SIDES, "currency"), prices, right=SIDES)
    for title, name in (("largest increases", "losers"), ("largest decreases", "winners")):
        rows = [(c["customer"], *_sides(c), c["currency"], _why(c)) for c in found[name][:SHOWN_MAX]]
        table(title, ("customer", *SIDES, "currency", "why"), rows, right=SIDES)
    _show_notes(found)


def _show_notes(found: dict[str, Any]) -> None:
    for gone in found["unplanned"]:
        counts = f"{grouped(gone['subscriptions'])} subscriptions of {grouped(gone['customers'])} customers"
        typer.echo(
            f"not compared: {counts} are on plan {gone['plan']}, which the catalog does not have: --plan OLD=NEW"
        )
    known = {(u["plan"], u["meter"], u["group"]) for u in found["unpriced"]["before"]}
    for usage in found["unpriced"]["after"]:
        if (usage["plan"], usage["meter"], usage["group"]) not in known:
            used = f"{grouped(usage['quantity'])} of meter {usage['meter']} {usage['group']} on plan {usage['plan']}"
            typer.echo(f"without a price: {used}, {grouped(usage['events'])} events")
    if solved := found["solved"]:
        typer.echo(_told(solved))


def _told(solved: dict[str, Any]) -> str:
    """What came of a search."""
    if solved["problem"]:
        return f"{solved['price']}: no amount earns as much as before: {solved['problem']}"
    revenue, gap = (money(solved[name], solved["currency"]) for name in ("revenue", "gap"))
    amounts = f"{solved['field']} {solved['amount']} instead of {solved['amount_given']}"
    earned = f"{revenue} {solved['currency']}, {gap} from what it was"
    return f"{solved['price']}: {amounts} earns {earned} ({solved['ratings']} amounts tried)"


def _sides(row: dict[str, Any]) -> tuple[str | None, ...]:
    return (*(money(row[side], row["currency"]) for side in SIDES[:3]), row["percent"])


def _money(amount: str | None, row: dict[str, Any]) -> str | None:
    return None if amount is None else money(amount, row["currency"])


def _recorded(row: dict[str, Any]) -> str | None:
    return None if row["recorded"] is None else money(row["recorded"]["amount"], row["currency"])


def _why(row: dict[str, Any]) -> str:
    """The reasons, the largest first."""
    from decimal import Decimal

    ordered = sorted(row["reasons"].items(), key=lambda part: (-abs(Decimal(part[1])), part[0]))
    return ", ".join(f"{reason} {grouped(amount)}" for reason, amount in ordered)
