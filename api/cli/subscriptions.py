"""`tallystick subscriptions`: which customer is on which plan, and when."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from api.cli.failing import USAGE, Failure
from api.cli.imports import File, import_records
from api.cli.options import AsOf, Data, Json, Url
from api.cli.printing import document, note, table
from api.cli.records import instant, read_records
from api.cli.service import reach, segment

app = typer.Typer(help="Which customer is on which plan, and when.", no_args_is_help=True)

Subscription = Annotated[str, typer.Argument(help="The subscription's key.")]
_INSTANTS = ("starts_at", "ends_at", "anchor", "trial_ends_at")
_NEEDED = ("key", "customer", "plan", "starts_at")
_OPTIONAL = ("ends_at", "interval", "intervals", "anchor", "seats", "trial_ends_at")
_ANCHORS = ("change", "calendar")
_WORDS = {"now": "now", "period-end": "period_end", "period_end": "period_end"}


class Interval(StrEnum):
    day = "day"
    week = "week"
    month = "month"
    quarter = "quarter"
    year = "year"


@app.command("list")
def list_subscriptions(
    customer: Annotated[str | None, typer.Option(help="Only those of this customer.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List subscriptions as they were agreed at first, in the order of their keys."""
    with reach(data, url) as service:
        found = list(service.pages("/v1/subscriptions", customer=customer))
    if json:
        document({"items": found})
        return
    columns = ("key", "customer", "plan", "starts_at", "ends_at")
    rows = [[*(s[c] for c in columns), _cycle(s), s["seats"], s["trial_ends_at"]] for s in found]
    title = f"{len(found)} subscriptions, as they were agreed at first"
    table(title, (*columns, "billed", "seats", "trial_ends_at"), rows, right=("seats",))


@app.command("put")
def put_subscription(
    key: Subscription,
    customer: Annotated[str, typer.Option(help="Whose it is.")],
    plan: Annotated[str, typer.Option(help="A plan of the catalog.")],
    starts_at: Annotated[str, typer.Option(help="2026-10-01 (midnight UTC), or an instant with its zone.")],
    ends_at: Annotated[str | None, typer.Option(help="Exclusive; an open end unless given.")] = None,
    interval: Annotated[Interval, typer.Option(help="Of its billing periods.")] = Interval.month,
    intervals: Annotated[int, typer.Option(min=1, help="How many of them make a billing period.")] = 1,
    anchor: Annotated[str | None, typer.Option(help="Where a billing period begins; on the calendar.")] = None,
    seats: Annotated[str, typer.Option(help="Of its plan.")] = "1",
    trial_ends_at: Annotated[str | None, typer.Option(help="Exclusive; nothing is charged before.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Add a subscription, or replace what was agreed at first. What it becomes later is a change of it."""
    instants = {"starts_at": starts_at, "ends_at": ends_at, "anchor": anchor, "trial_ends_at": trial_ends_at}
    body = {
        "customer": customer, "plan": plan, "interval": interval.value, "intervals": intervals, "seats": seats,
        **{name: instant(value) for name, value in instants.items()},
    }  # fmt: skip
    with reach(data, url) as service:
        stored = service.answer("PUT", f"/v1/subscriptions/{segment(key)}", json=body).json()
    document(stored) if json else note(
        f"subscription {key} is stored: {customer} is on {plan} from {stored['starts_at']}, billed {_cycle(stored)}"
    )


@app.command("import")
def import_subscriptions(file: File, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Add or replace the subscriptions of a file: key, customer, plan, starts_at; where they are needed also ends_at,
    interval, intervals, anchor, seats, trial_ends_at."""
    rows = read_records(file, needed=_NEEDED, optional=_OPTIONAL)
    import_records("/v1/subscriptions", [_as_taken(row) for row in rows], "subscriptions", data, url, json)


@app.command("change")
def change_subscription(
    key: Subscription,
    at: Annotated[str, typer.Option(help="now, period-end, or when: 2026-10-01, or an instant with its zone.")] = "now",
    plan: Annotated[str | None, typer.Option(help="Another plan, or that of an add-on.")] = None,
    seats: Annotated[str | None, typer.Option(help="Another number of seats.")] = None,
    item: Annotated[str | None, typer.Option(help="Of this add-on, instead of the plan; `plan` for it alone.")] = None,
    pause: Annotated[bool, typer.Option("--pause", help="Nothing is charged from then on.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="It goes on from then on.")] = False,
    end: Annotated[bool, typer.Option("--end", help="It ends then; of an add-on: it is removed.")] = False,
    renew: Annotated[bool, typer.Option("--renew", help="It is in force again from then on.")] = False,
    price: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="NEW in place of OLD, instead of all given before; may be repeated."),
    ] = None,
    own_prices: Annotated[bool, typer.Option("--own-prices", help="All prices are the plan's own again.")] = False,
    interval: Annotated[Interval | None, typer.Option(help="Of its billing periods from then on.")] = None,
    intervals: Annotated[int | None, typer.Option(min=1, help="How many of them make a billing period.")] = None,
    anchor: Annotated[
        str | None,
        typer.Option(help="Where a billing period begins: `change`, at this change; `calendar`; or an instant."),
    ] = None,
    id: Annotated[str | None, typer.Option("--id", help="Chosen by you: the same change again does nothing.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Change a subscription from an instant on, in the past or to come. What is recorded stays; it is taken back by
    another change at the same instant."""
    state = _state(pause=pause, resume=resume, end=end, renew=renew)
    of_item = {"plan": plan, "seats": seats, "prices": _prices(price, own_prices)}
    cycle = _another_cycle(interval, intervals, anchor)
    changes = _changes(_WORDS.get(at) or instant(at), item, of_item, {"state": state, "cycle": cycle}, id)
    with reach(data, url) as service:
        path = f"/v1/subscriptions/{segment(key)}/changes"
        answer = service.answer("POST", path, json=changes).json()
    if json:
        document(answer)
        return
    for change in answer["items"]:
        note(f"subscription {key} from {change['effective_at']} on: {_said(change)} ({change['id']})")


@app.command("show")
def show_subscription(
    key: Subscription, as_of: AsOf = None, data: Data = None, url: Url = None, json: Json = False
) -> None:
    """What holds when: the times in which nothing changes, the billing periods around now, and the changes recorded."""
    path, known = f"/v1/subscriptions/{segment(key)}", instant(as_of)
    with reach(data, url) as service:
        timeline = service.get(f"{path}/timeline", as_of=known)
        changes = list(service.pages(f"{path}/changes", as_of=known))
    if json:
        document({**timeline, "changes": changes})
        return
    payer = "" if timeline["billed_to"] == timeline["customer"] else f", paid by {timeline['billed_to']}"
    title = f"{key} of {timeline['customer']}{payer}: billed {_cycle(timeline)}, {timeline['time_zone']}"
    columns = ("from", "to", "item", "plan", "seats", "state")
    table(
        title,
        (*columns, "prices", "billed"),
        [[*(s[c] for c in columns), _pairs(s["prices"]), _cycle(s)] for s in timeline["segments"]],
        right=("seats",),
    )
    periods = [(name, timeline[f"{name}_period"]) for name in ("current", "next")]
    rows = [(name, period["period"], period["from"], period["to"]) for name, period in periods]
    table("billing periods", ("", "period", "from", "to"), rows)
    recorded = [[c["recorded_at"], c["effective_at"], c["item"] or "all", _said(c), c["id"]] for c in changes]
    table(f"{len(changes)} changes, as recorded", ("recorded", "from", "item", "change", "id"), recorded)


def _as_taken(row: dict[str, Any]) -> dict[str, Any]:
    instants = {name: instant(row[name]) for name in _INSTANTS if name in row}
    seats = {"seats": str(row["seats"])} if "seats" in row else {}
    return {**row, **instants, **seats}


def _state(*, pause: bool, resume: bool, end: bool, renew: bool) -> str | None:
    asked = {"--pause": pause, "--resume": resume, "--end": end, "--renew": renew}
    given = [name for name, is_given in asked.items() if is_given]
    if len(given) > 1:
        raise Failure(f"{' and '.join(given)} contradict each other. Say one of them.", USAGE)
    states = {"--pause": "paused", "--resume": "active", "--end": "ended", "--renew": "active"}
    return states[given[0]] if given else None


def _prices(pairs: list[str] | None, own_prices: bool) -> dict[str, str] | None:
    if pairs and own_prices:
        raise Failure("--price and --own-prices contradict each other. Say one of them.", USAGE)
    prices: dict[str, str] = {}
    for pair in pairs or ():
        price, equals, other = pair.partition("=")
        if not (price and equals and other):
            raise Failure(f"--price {pair} is no pair. Write the plan's price and the other: --price old=new.", USAGE)
        prices[price] = other
    return prices if pairs or own_prices else None


def _another_cycle(interval: Interval | None, intervals: int | None, anchor: str | None) -> dict[str, Any] | None:
    asked = {
        "interval": interval and interval.value,
        "intervals": intervals,
        "anchor": anchor if anchor in _ANCHORS else instant(anchor),
    }
    return {name: value for name, value in asked.items() if value is not None} or None


def _changes(
    at: str | None, item: str | None, of_item: dict[str, Any], of_all: dict[str, Any], key: str | None
) -> list[dict[str, Any]]:
    """One change, or two where the state is of all items and the rest of the plan."""
    given = {name: value for name, value in of_item.items() if value is not None}
    common = {name: value for name, value in of_all.items() if value is not None}
    if not given and not common:
        raise Failure(
            "that changes nothing. Say what: --plan, --seats, --price, --interval, --pause, --resume, --end.", USAGE
        )
    own = {"at": at, "item": item, "id": key}
    if "state" not in common or item is not None or not given:
        return [{**own, **given, **common}]
    return [{**own, **common, "id": key and f"{key}/state"}, {**own, **given}]


def _said(change: dict[str, Any]) -> str:
    """A change in words."""
    said = [f"{name} {change[name]}" for name in ("plan", "seats", "state") if change[name] is not None]
    if change["prices"] is not None:
        said.append(f"prices {_pairs(change['prices']) or 'of its own'}")
    if change["interval"] is not None:
        said.append(f"billed {_cycle(change)}")
    return ", ".join(said)


def _pairs(prices: dict[str, str]) -> str:
    return ", ".join(f"{price}={other}" for price, other in prices.items())


def _cycle(terms: dict[str, Any]) -> str:
    """How often, in words: every 3 months from 2026-01-31T00:00:00Z."""
    every = (
        f"every {terms['interval']}" if terms["intervals"] == 1 else f"every {terms['intervals']} {terms['interval']}s"
    )
    return every if terms["anchor"] is None else f"{every} from {terms['anchor']}"
