"""Hypothesis strategies: catalogs of every pricing model, subscriptions in awkward zones, events at awkward times."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.oracle import Subscription

ZONES = ["UTC", "Europe/Madrid", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Kiritimati", "America/Lima"]
EDGES = [0, 1, 2, 10, 100]
NAMES = ["a", "b", "ü", 'q"uote']
MID_MONTH = datetime(2026, 10, 15, 11, 30, tzinfo=UTC)

money = st.decimals(0, 10, places=6).map(lambda d: format(d, "f"))
quantities = st.one_of(st.sampled_from([Decimal(e) for e in EDGES]), st.decimals(-5, 300, places=9))
instants = st.one_of(
    st.sampled_from(
        [
            datetime(2026, 10, 1, tzinfo=UTC),
            datetime(2026, 10, 31, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(2026, 9, 30, 22, tzinfo=UTC),
            MID_MONTH,
            MID_MONTH - timedelta(microseconds=1),
        ]
    ),
    st.timedeltas(timedelta(0), timedelta(days=34)).map(lambda after: datetime(2026, 9, 29, tzinfo=UTC) + after),
)


@st.composite
def tiers(draw: st.DrawFn) -> list[dict[str, Any]]:
    bounds = sorted(draw(st.sets(st.sampled_from(["0.5", "1", "2", "10", "99.999999999"]), max_size=3)), key=Decimal)
    return [
        {"up_to": bound, "unit_amount": draw(money), **draw(st.sampled_from([{}, {"flat_amount": "0.333"}]))}
        for bound in [*bounds, None]
    ]


@st.composite
def numbers(draw: st.DrawFn, model: str) -> dict[str, Any]:
    """The rate fields of a pricing model."""
    per = {"per": draw(st.sampled_from([1, 7, 1000]))}
    if model == "flat":
        return {"amount": draw(money)}
    if model == "per_unit":
        return {"unit_amount": draw(money), **per}
    if model == "package":
        return {"package_size": draw(st.sampled_from(["1", "2.5", "10"])), "amount": draw(money)}
    size = {"size": draw(st.sampled_from(["n", "m"]))} if model == "per_request" else {}
    return {"tiers": draw(tiers()), **size, **per}


@st.composite
def versions(draw: st.DrawFn, model: str) -> list[dict[str, Any]]:
    starts = draw(
        st.sampled_from([[None], [None, MID_MONTH], [MID_MONTH], [datetime(2026, 10, 2, tzinfo=UTC), MID_MONTH]])
    )
    made = [{**({"effective_from": at.isoformat()} if at else {}), **draw(numbers(model))} for at in starts]
    for version in made:
        if model != "flat" and draw(st.booleans()):
            version["time_of_day"] = draw(windows(model))
    return made


@st.composite
def windows(draw: st.DrawFn, model: str) -> list[dict[str, Any]]:
    zone = draw(st.sampled_from(ZONES))
    spans = draw(
        st.sampled_from([[("22:00", "06:00")], [("08:00", "12:00"), ("12:00", "18:30")], [("00:00", "23:59")]])
    )
    return [{"from": first, "to": last, "time_zone": zone, **draw(numbers(model))} for first, last in spans]


METER = {
    "count": {"event_type": "e", "aggregation": "count", "group_by": ["d", "f"]},
    "sum": {"event_type": "e", "aggregation": "sum", "property": "n", "group_by": ["d", "f"]},
    "net": {
        "event_type": "e",
        "aggregation": "sum",
        "property": "n",
        "add": ["m"],
        "subtract": ["k"],
        "group_by": ["d", "f"],
    },
    "some": {
        "event_type": "e",
        "aggregation": "sum",
        "property": "m",
        "group_by": ["d", "f"],
        "filters": [{"property": "d", "not_in": ["b"]}],
    },
}


@st.composite
def prices(draw: st.DrawFn, meters: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for meter in meters:
        matches = draw(
            st.sampled_from([[{}], [{"d": "a"}], [{"d": "a"}, {}], [{"d": "a", "f": "ü"}, {"d": "a"}, {}], []])
        )
        for number, match in enumerate(matches):
            model = draw(st.sampled_from(["per_unit", "graduated", "volume", "package", "per_request"]))
            made[f"{meter}-{number}"] = {
                "meter": meter,
                "currency": "EUR",
                "model": model,
                "match": match,
                "group_by": draw(st.sampled_from([[], ["f"]])) if "f" not in match else [],
                "rounding": draw(st.sampled_from(["half_away_from_zero", "half_even", "up", "down"])),
                "versions": draw(versions(model)),
            }
    if draw(st.booleans()):
        made["fee"] = {"currency": "EUR", "model": "flat", "versions": draw(versions("flat"))}
    return made


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    meters = sorted(draw(st.sets(st.sampled_from(sorted(METER)), min_size=1, max_size=3)))
    made = draw(prices(meters))
    return {
        "tallystick": 1,
        "currencies": ["EUR"],
        "meters": {key: METER[key] for key in meters},
        "prices": made,
        "plans": {
            "all": {"currency": "EUR", "prices": sorted(made)},
            "first": {"currency": "EUR", "prices": sorted(made)[:1]},
        },
    }


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    numbers_given = {k: draw(quantities) for k in draw(st.sets(st.sampled_from(["n", "m", "k"])))}
    dimensions = {k: draw(st.sampled_from(NAMES)) for k in draw(st.sets(st.sampled_from(["d", "f"])))}
    return {
        "type": draw(st.sampled_from(["e", "e", "e", "other"])),
        "subject": draw(st.sampled_from(["s1", "s2", "s3", "stranger"])),
        "time": draw(instants),
        "data": {**numbers_given, **dimensions},
    }


@st.composite
def subscriptions(draw: st.DrawFn) -> list[Subscription]:
    made = []
    for number in (1, 2, 3):
        start = draw(st.sampled_from([datetime(2020, 1, 1, tzinfo=UTC), MID_MONTH]))
        end = draw(st.sampled_from([None, datetime(2026, 10, 20, tzinfo=UTC)]))
        plan, zone = draw(st.sampled_from(["all", "first"])), draw(st.sampled_from(ZONES))
        made.append(Subscription(f"sub{number}", f"c{number}", (f"s{number}",), plan, zone, start, end))
    return made
