"""Random subscriptions that change, their usage, and the frames that the core takes of them.

One example is a month, and several customers with a subscription or two each: they are rated side by side. What is
drawn lies about that month, at the places where calendars are hard: midnights and the hours in which clocks change, the
ends of months, 29 February, the turn of a year, the day that Samoa skipped.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import strategies as st

from rating.catalog import Catalog, compile_catalog, parse_catalog
from rating.core.book import PriceBook
from rating.core.periods import Month
from rating.core.rating import Rated, rate
from rating.core.schema import SUBJECT
from rating.core.service_periods import Due
from rating.core.subjects import Usage, interned
from rating.core.subscriptions import PLAN_ITEM, TERMS, subscriptions_of
from rating.core.timeline import CHANGE
from tests.frames import usage_frame
from tests.oracle import Event, Timeline

ZONES = [
    "UTC", "Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia",
    "America/Sao_Paulo", "America/Havana",
]  # fmt: skip
MONTHS = ["2011-12", "2012-01", "2018-11", "2024-02", "2024-03", "2026-03", "2026-04", "2026-10", "2026-12", "2027-02"]
"""Samoa has no 30 December 2011, Brazil no midnight on 4 November 2018; leap years; clocks forward and back, by an hour
and by half of one, in the north and in the south; the end of a year; a February of 28 days."""
CLOCKS = [time(0), time(0), time(0), time(2, 30), time(1, 45), time(12), time(23, 59, 59, 999_999)]
CYCLES = [
    ("day", 1), ("day", 10), ("week", 1), ("week", 2), ("month", 1), ("month", 1), ("month", 1), ("month", 2),
    ("quarter", 1), ("year", 1),
]  # fmt: skip
PLANS = ["basic", "pro", "team", "free"]
ADD_ONS = ["support", "extra"]


def _price(**of: Any) -> dict[str, Any]:
    versions = of.pop("versions", None) or [of.pop("version")]
    return {"currency": "USD", **of, "versions": versions}


def _by_months(first: Any, other: Any) -> list[Any]:
    """Two sets of numbers in turn, each from the 11th of a month on."""
    begins = [{"effective_from": f"{month}-11T05:00:00Z"} for month in MONTHS]
    return [first, *({**(first, other)[n % 2 == 0], **start} for n, start in enumerate(begins))]


TIERS = [{"up_to": 10, "unit_amount": "1.00", "flat_amount": "3"}, {"unit_amount": "0.123456"}]
_FEE = {"model": "flat"}
_SEAT = {"model": "flat", "per": "seat"}
_CALLS = {"meter": "calls"}
DOCUMENT: dict[str, Any] = {
    "tallystick": 1,
    "currencies": ["USD"],
    "meters": {
        "calls": {"event_type": "call", "aggregation": "sum", "property": "n"},
        "requests": {"event_type": "call", "aggregation": "count"},
        "peak": {"event_type": "call", "aggregation": "max", "property": "n"},
    },
    "prices": {
        "fee_seconds": _price(**_FEE, prorate="seconds", versions=_by_months({"amount": "30.00"}, {"amount": "47.11"})),
        "fee_days": _price(**_FEE, prorate="days", version={"amount": "31.00"}),
        "fee_even": _price(**_FEE, prorate="30_days", due="in_arrears", version={"amount": "19.99"}),
        "fee_whole": _price(
            **_FEE, due="in_arrears", versions=_by_months({"amount": "5.00"}, {"amount": "7.00"})
        ),
        "seat_days": _price(**_SEAT, prorate="days", version={"amount": "12.34"}),
        "seat_seconds": _price(
            **_SEAT, prorate="seconds", due="in_arrears", versions=_by_months({"amount": "9.00"}, {"amount": "8.00"})
        ),
        "seat_whole": _price(**_SEAT, version={"amount": "10.00"}),
        "seat_after": _price(**_SEAT, due="in_arrears", version={"amount": "11.00"}),
        "set_up": _price(model="one_time", version={"amount": "99.00"}),
        "brought": _price(model="one_time", due="with_plan", versions=_by_months({"amount": "3.00"}, {"amount": "4"})),
        "graduated": _price(
            **_CALLS, model="graduated", versions=_by_months({"tiers": TIERS}, {"tiers": [{"unit_amount": "0.7"}]})
        ),
        "prorated": _price(**_CALLS, model="graduated", prorate_tiers="days", version={"tiers": TIERS}),
        "volume": _price(**_CALLS, model="volume", version={"tiers": TIERS}),
        "unit": _price(
            **_CALLS,
            model="per_unit",
            versions=_by_months(
                {"unit_amount": "0.5", "adjust": [{"kind": "minimum", "amount": "4", "prorate": "seconds"}]},
                {"unit_amount": "0.25"},
            ),
        ),
        "own": _price(**_CALLS, model="per_unit", version={"unit_amount": "0.11"}),
        "packs": _price(meter="requests", model="package", version={"package_size": 3, "amount": "2"}),
        "peaks": _price(meter="peak", model="per_unit", version={"unit_amount": "0.3"}),
    },
    "plans": {
        "basic": {
            "currency": "USD",
            "prices": ["fee_seconds", "fee_whole", "graduated", "packs"],
            "adjust": [
                {"kind": "minimum", "amount": "60.00", "prorate": "days", "items": "all"},
                {"kind": "minimum", "amount": "40.00", "prorate": "days"},
            ],
        },
        "pro": {
            "currency": "USD",
            "prices": ["fee_days", "seat_days", "unit", "peaks", "brought"],
            "adjust": [{"kind": "discount", "percent": "10"}, {"kind": "maximum", "amount": "150"}],
        },
        "team": {
            "currency": "USD",
            "prices": ["fee_even", "seat_whole", "seat_after", "seat_seconds", "prorated", "brought"],
            "adjust": [{"kind": "commitment", "amount": "25", "overage_multiplier": "1.5", "prorate": "30_days"}],
        },
        "free": {
            "currency": "USD",
            "prices": ["volume"],
            "allowances": {"first": {"units": 7, "prices": ["volume"], "prorate": "seconds"}},
        },
        "support": {"currency": "USD", "prices": ["set_up", "fee_days"]},
        "extra": {
            "currency": "USD",
            "prices": ["seat_seconds", "own"],
            "adjust": [{"kind": "discount", "percent": "5", "of": "fees", "items": "all"}],
        },
    },
}  # fmt: skip
WINDOWS: dict[str, Any] = {
    **DOCUMENT,
    "prices": {
        **DOCUMENT["prices"],
        "graduated": _price(**_CALLS, model="graduated", on_change="continue", version={"tiers": TIERS}),
        "prorated": _price(**_CALLS, model="graduated", window={"interval": "year"}, version={"tiers": TIERS}),
    },
    "plans": {
        **DOCUMENT["plans"],
        "basic": {
            "currency": "USD",
            "prices": ["fee_seconds", "packs", "graduated"],
            "allowances": {"first": {"prices": ["packs"], "units": 2, "window": {"interval": "quarter"}}},
        },
    },
}
"""The same with tiers and included units that go on from period to period."""
_ROLLING = {"first": {"prices": ["volume", "packs"], "units": 9, "prorate": "days", "rollover_maximum": 5}}
_FREE = {"currency": "USD", "prices": ["volume", "packs"], "allowances": _ROLLING}
ROLLING: dict[str, Any] = {**WINDOWS, "plans": {**WINDOWS["plans"], "free": _FREE}}
"""And with some that roll over."""
CATALOG, LONG_CATALOG = (parse_catalog(json.dumps(one), format="json") for one in (DOCUMENT, ROLLING))


@dataclass(frozen=True)
class Example:
    """Some customers about a month."""

    month: str
    timelines: list[Timeline]
    events: list[Event]


@st.composite
def examples(draw: st.DrawFn, customers: int = 6, months: Sequence[str] = MONTHS) -> Example:
    month = draw(st.sampled_from(months))
    timelines: list[Timeline] = []
    events: list[Event] = []
    for number in range(draw(st.integers(min(2, customers), customers))):
        zone = draw(st.sampled_from(ZONES))
        own = [draw(timeline(month, f"c{number}", zone, place)) for place in range(draw(st.sampled_from([1, 1, 2])))]
        timelines += own
        events += draw(usage(month, f"s{number}", zone, own))
    return Example(month, timelines, events)


@st.composite
def timeline(draw: st.DrawFn, month: str, customer: str, zone: str, place: int) -> Timeline:
    days = instants(month, zone)
    starts_at = draw(days)
    later = days.map(lambda at: at if at > starts_at else starts_at + (starts_at - at) + timedelta(hours=1))
    interval, intervals = draw(st.sampled_from(CYCLES))
    return Timeline(
        key=f"{customer}-{place}",
        customer=customer,
        subjects=(f"s{customer[1:]}",),
        plan=draw(st.sampled_from(PLANS)),
        time_zone=zone,
        starts_at=starts_at,
        ends_at=draw(st.one_of(st.none(), st.none(), later)),
        interval=interval,
        intervals=intervals,
        anchor=draw(st.one_of(st.none(), anchors(zone), st.just(starts_at))),
        seats=draw(seats),
        trial_ends_at=draw(st.one_of(st.none(), st.none(), later)),
        changes=draw(changes(starts_at, later)),
    )


seats = st.sampled_from([Decimal(1), Decimal(2), Decimal(5), Decimal("2.5"), Decimal(0)])


@st.composite
def instants(draw: st.DrawFn, month: str, zone: str) -> datetime:
    """From ten weeks before a month to its end and a little more."""
    first = date.fromisoformat(f"{month}-01")
    day = draw(st.one_of(st.integers(-5, 35), st.integers(-70, 40), st.sampled_from([-1, 0, 9, 10, 27, 28, 29, 30])))
    wall = datetime.combine(first + timedelta(days=day), draw(st.sampled_from(CLOCKS)), ZoneInfo(zone))
    return wall.astimezone(UTC)


@st.composite
def anchors(draw: st.DrawFn, zone: str) -> datetime:
    day = draw(st.sampled_from([date(2024, 2, 29), *(date(2025, 1, number) for number in (15, 28, 29, 30, 31))]))
    return datetime.combine(day, draw(st.sampled_from(CLOCKS)), ZoneInfo(zone)).astimezone(UTC)


@st.composite
def changes(draw: st.DrawFn, starts_at: datetime, later: st.SearchStrategy[datetime]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for kind in draw(
        st.lists(st.sampled_from(["plan", "seats", "seats", "add-on", "pause", "prices", "cycle"]), max_size=4)
    ):
        at = draw(later)
        match kind:
            case "cycle":
                interval, intervals = draw(st.sampled_from(CYCLES))
                anchor = draw(st.sampled_from([None, at, starts_at]))
                made.append({"at": at, "cycle": {"interval": interval, "intervals": intervals, "anchor": anchor}})
            case "plan":
                made.append({"at": at, "plan": draw(st.sampled_from(PLANS)), "seats": draw(st.none() | seats)})
            case "seats":
                made.append({"at": at, "seats": draw(seats)})
            case "add-on":
                item = draw(st.sampled_from(ADD_ONS))
                made.append({"at": at, "item": item, "plan": item, "seats": draw(st.none() | seats)})
                made.append({"at": draw(later), "item": item, "state": draw(st.sampled_from(["ended", "active"]))})
            case "pause":
                item = draw(st.sampled_from([None, None, PLAN_ITEM]))
                made += [
                    {"at": at, "item": item, "state": "paused"},
                    {"at": draw(later), "item": item, "state": "active"},
                ]
            case "prices":
                own = [{"graduated": "own", "prorated": "own", "unit": "own"}, {"fee_days": "fee_even"}, {}]
                made.append({"at": at, "prices": draw(st.sampled_from(own))})
    return made


@st.composite
def usage(draw: st.DrawFn, month: str, subject: str, zone: str, timelines: list[Timeline]) -> list[Event]:
    """Some of it at the very instants at which something changes, and right before them."""
    edges = [change["at"] for one in timelines for change in one.changes] + [one.starts_at for one in timelines]
    beside = st.tuples(st.sampled_from(edges), st.sampled_from([0, -1])).map(
        lambda found: found[0] + timedelta(microseconds=found[1])
    )
    start = datetime.fromisoformat(f"{month}-01T00:00:00Z")
    within = st.integers(-12, 31 * 24 + 12).map(lambda hours: start + timedelta(hours=hours))
    times = draw(st.lists(st.one_of(within, within, instants(month, zone), beside), min_size=2, max_size=9))
    return [
        {"type": "call", "subject": subject, "time": at, "data": {"n": draw(st.sampled_from(QUANTITIES))}}
        for at in times
    ]


QUANTITIES = [Decimal(1), Decimal(4), Decimal("9.5"), Decimal(20), Decimal("0.000000001")]


def run(example: Example, due: Month | Due, catalog: Catalog = CATALOG) -> Rated:
    """What the engine makes of all customers at once."""
    return rate(*frames(example.timelines, example.events, catalog), due)


Frames = tuple[Usage, pl.DataFrame, pl.DataFrame, PriceBook]


def frames(timelines: Iterable[Timeline], events: Iterable[Event], catalog: Catalog) -> Frames:
    """Usage, subjects, subscriptions and prices, as `rate` takes them."""
    own = list(timelines)
    subjects = pl.DataFrame(
        [(subject, one.customer) for one in own for subject in one.subjects], schema=SUBJECT, orient="row"
    )
    subscriptions = subscription_frame(own)
    book = compile_catalog(catalog, subscriptions["plan"])
    return interned(usage_frame(events, catalog.declared_properties())), subjects.unique(), subscriptions, book


def subscription_frame(timelines: Sequence[Timeline]) -> pl.DataFrame:
    terms = [(*_named(one), *_cycle(one), one.plan, one.seats, *_ends(one)) for one in timelines]
    recorded = [(one.key, change) for one in timelines for change in one.changes]
    rows = [_change(key, number, change) for number, (key, change) in enumerate(recorded)]
    return subscriptions_of(
        pl.DataFrame(terms, schema=TERMS, orient="row"), pl.DataFrame(rows, schema=CHANGE, orient="row")
    )


def _named(one: Timeline) -> tuple[str, ...]:
    return one.key, one.customer, one.customer, one.time_zone


def _cycle(one: Timeline) -> tuple[Any, ...]:
    return in_months(one.interval, one.intervals, one.anchor)


def in_months(interval: str, intervals: int, anchor: datetime | None) -> tuple[str, int, datetime | None]:
    """A cycle as the core has it: a quarter is three months."""
    is_quarter = interval == "quarter"
    return "month" if is_quarter else interval, intervals * (3 if is_quarter else 1), anchor


def _ends(one: Timeline) -> tuple[datetime | None, ...]:
    return one.starts_at, one.trial_ends_at, one.ends_at


def _change(key: str, number: int, change: Any) -> dict[str, Any]:
    prices = change.get("prices")
    own = {"subscription": key, "sequence": number, "effective_at": change["at"], "recorded_at": change["at"]}
    own |= {"prices": None if prices is None else json.dumps(prices, sort_keys=True, separators=(",", ":"))}
    own |= (
        dict(zip(("interval", "intervals", "anchor"), in_months(**change["cycle"]), strict=True))
        if change.get("cycle")
        else {}
    )
    return {name: {"item": PLAN_ITEM, **change, **own}.get(name) for name in CHANGE}


def only(example: Example, customer: str) -> Example:
    """One customer of it, beside what the others have used."""
    return replace(example, timelines=[one for one in example.timelines if one.customer == customer])
