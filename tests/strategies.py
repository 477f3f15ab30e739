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
def tiers(draw: st.DrawFn, amount: str = "unit_amount") -> list[dict[str, Any]]:
    """Tiers of which each says this of itself, and some a flat amount."""
    flat = [{}, {"flat_amount": "0.333"}] if amount != "amount" else [{}]
    bounds = sorted(draw(st.sets(st.sampled_from(["0.5", "1", "2", "10", "99.999999999"]), max_size=3)), key=Decimal)
    return [{"up_to": bound, amount: draw(money), **draw(st.sampled_from(flat))} for bound in [*bounds, None]]


PER = st.sampled_from([1, 7, 1000])
CONVERT = st.fixed_dictionaries(
    {},
    optional={
        "multiply_by": st.sampled_from(["1", "1.5", "1000"]),
        "divide_by": st.sampled_from(["4", "1000"]),
        "rounding": st.sampled_from(["exact", "up", "down"]),
    },
)
FREE = {"free_units": st.sampled_from(["0", "0.5", "100"])}
PREPARED = {"convert": CONVERT, **FREE}
LIMITS: dict[str, st.SearchStrategy[Any]] = {
    "minimum_per_event": st.sampled_from(["0", "0.25", "3"]),
    "maximum_per_event": st.sampled_from(["3", "12.5"]),
}
BROUGHT = ["amount_property", "unit_amount_property"]
STANDING = {**PREPARED, "flat_when_unused": st.booleans()}
TIERED = st.fixed_dictionaries({"tiers": tiers(), "per": PER}, optional=STANDING)
STAIRS = st.fixed_dictionaries({"tiers": tiers("amount")}, optional=STANDING)
SHARES = st.fixed_dictionaries({"tiers": tiers("percent")}, optional=STANDING)
PACKAGE = {"package_size": st.sampled_from(["1", "2.5", "10", "3"])}
PACKED = {"rounding": st.sampled_from(["up", "down", "exact"]), **FREE}
SHARE = {
    "fixed_amount": money,
    "free_events": st.integers(0, 4),
    **FREE,
    "free_while": st.sampled_from(["both", "either"]),
    **LIMITS,
}

NUMBERS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "flat": st.fixed_dictionaries({"amount": money}),
    "one_time": st.fixed_dictionaries({"amount": money}),
    "per_unit": st.fixed_dictionaries({"unit_amount": money, "per": PER}, optional={**PREPARED, **LIMITS}),
    "graduated": TIERED,
    "volume": TIERED,
    "stairstep": STAIRS,
    "graduated_percentage": SHARES,
    "volume_percentage": SHARES,
    "package": st.fixed_dictionaries({**PACKAGE, "amount": money}, optional=PACKED),
    "tiered_package": st.fixed_dictionaries(
        {**PACKAGE, "tiers": tiers()},
        optional={**PACKED, "mode": st.sampled_from(["graduated", "volume"]), "flat_when_unused": st.booleans()},
    ),
    "per_request": st.fixed_dictionaries({"tiers": tiers(), "per": PER, "size": st.sampled_from(["n", "m"])}),
    "percentage": st.fixed_dictionaries({"percent": money}, optional=SHARE),
    "basis_points": st.fixed_dictionaries({"basis_points": money}, optional=SHARE),
    "dynamic": st.fixed_dictionaries(
        {},
        optional={"multiplier": st.sampled_from(["1", "1.25", "0"]), "per": st.sampled_from([1, 100]), **LIMITS},
    ).flatmap(lambda made: st.sampled_from([{**made, said: name} for said in BROUGHT for name in ("n", "k")])),
}
"""What a version of a price says, by its model."""

OF_WINDOW: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "per_unit": st.fixed_dictionaries({"unit_amount": money, "per": PER}),
    "graduated": st.fixed_dictionaries({"tiers": tiers(), "per": PER}),
    "volume": st.fixed_dictionaries({"tiers": tiers(), "per": PER}),
    "package": st.fixed_dictionaries({**PACKAGE, "amount": money}),
    "per_request": NUMBERS["per_request"],
}
"""What a time of the day says."""

TIMED = sorted(OF_WINDOW)
"""The models that know times of the day."""

ADJUSTMENTS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"kind": st.sampled_from(["minimum", "maximum"]), "amount": money}),
        st.fixed_dictionaries({"kind": st.sampled_from(["discount", "surcharge"]), "percent": money}),
        st.fixed_dictionaries({"kind": st.sampled_from(["discount", "surcharge"]), "amount": money}),
        st.fixed_dictionaries(
            {"kind": st.just("commitment"), "amount": money},
            optional={"overage_multiplier": st.sampled_from(["1", "1.25"]), "true_up": st.booleans()},
        ),
    ).flatmap(lambda made: st.sampled_from([made, {**made, "of": "usage"}, {**made, "of": "fees"}])),
    max_size=3,
)


@st.composite
def versions(draw: st.DrawFn, model: str) -> list[dict[str, Any]]:
    starts = draw(
        st.sampled_from([[None], [None, MID_MONTH], [MID_MONTH], [datetime(2026, 10, 2, tzinfo=UTC), MID_MONTH]])
    )
    made = [{**({"effective_from": at.isoformat()} if at else {}), **draw(NUMBERS[model])} for at in starts]
    for version in made:
        if model in TIMED and draw(st.booleans()):
            version.update(draw(st.one_of(windows(model).map(_of_day), bands(model))))
        if draw(st.integers(0, 3)) == 0:
            version["adjust"] = draw(ADJUSTMENTS)
    return made


@st.composite
def windows(draw: st.DrawFn, model: str) -> list[dict[str, Any]]:
    zone = draw(st.sampled_from(ZONES))
    spans = draw(
        st.sampled_from([[("22:00", "06:00")], [("08:00", "12:00"), ("12:00", "18:30")], [("00:00", "23:59")]])
    )
    return [{"from": first, "to": last, "time_zone": zone, **draw(OF_WINDOW[model])} for first, last in spans]


def _of_day(made: list[dict[str, Any]]) -> dict[str, Any]:
    return {"time_of_day": made}


HOURS = ["00:00", "01:45", "02:15", "08:00", "18:30", "22:00", "23:59:59.5"]


@st.composite
def bands(draw: st.DrawFn, model: str) -> dict[str, Any]:
    """Up to four bands of one zone, which may overlap."""
    zone = draw(st.sampled_from(ZONES))
    made = [
        {**conditions, "time_zone": zone, **draw(OF_WINDOW[model])}
        for conditions in draw(st.lists(BAND, min_size=1, max_size=4))
        if conditions.get("from") is None or conditions.get("from") != conditions.get("to")
    ]
    return {"bands": [band for band in made if band.keys() & CONDITIONS]}


CONDITIONS = {"from", "to", "weekdays", "month_days", "months", "years", "holidays"}
BAND = st.fixed_dictionaries(
    {},
    optional={
        "from": st.sampled_from(HOURS[1:]),
        "to": st.sampled_from(HOURS[1:]),
        "weekdays": st.lists(st.sampled_from(["mon", "wed", "fri", "sat", "sun"]), min_size=1, unique=True),
        "month_days": st.lists(st.sampled_from([1, 2, 15, 25, 30, 31]), min_size=1, unique=True),
        "months": st.lists(st.sampled_from([1, 9, 10, 11]), min_size=1, unique=True),
        "years": st.lists(st.sampled_from([2025, 2026]), min_size=1, unique=True),
        "holidays": st.lists(st.sampled_from(["2026-10-04", "2026-10-12", "2026-12-25"]), min_size=1, unique=True),
        "weight": st.integers(-1, 2),
    },
)


CURRENCIES = ["EUR", "JPY", "KWD", "CLF"]
"""Of 2, 0, 3 and 4 digits."""
PLACES = ["line", "line", "event", "price", "subscription"]
BY_EVENT = {
    *("per_unit", "percentage", "basis_points", "graduated", "graduated_percentage"),
    *("volume", "volume_percentage", "stairstep"),
}
"""The models of which each event can be rounded."""


@st.composite
def roundings(draw: st.DrawFn, model: str) -> dict[str, Any]:
    """Where, how and to how many digits the lines of a price are rounded."""
    place = draw(st.sampled_from([place for place in PLACES if place != "event" or model in BY_EVENT]))
    digits = draw(st.sampled_from([{}, {}, {"rounding_digits": 0}, {"rounding_digits": 3}]))
    mode = draw(st.sampled_from(["half_away_from_zero", "half_even", "up", "down"]))
    return {"rounding_place": place, "rounding": mode, **digits}


def _fitting(version: dict[str, Any], price: dict[str, Any]) -> dict[str, Any]:
    """A price that is rated by groups, or rounded by events, charges nothing without usage; packages have no events."""
    by_event = price["rounding_place"] == "event"
    left_out = {"flat_when_unused"} if by_event or price["group_by"] else set()
    made = {name: value for name, value in version.items() if name not in left_out}
    if by_event and made.get("convert", {}).get("rounding", "exact") != "exact":
        made["convert"] = {**made["convert"], "rounding": "exact"}
    return made


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
def prices(draw: st.DrawFn, meters: list[str], currency: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for meter in meters:
        matches = draw(
            st.sampled_from([[{}], [{}], [{"d": "a"}], [{"d": "a"}, {}], [{"d": "a", "f": "ü"}, {"d": "a"}, {}], []])
        )
        for number, match in enumerate(matches):
            model = draw(st.sampled_from(sorted(NUMBERS.keys() - {"flat", "one_time"})))
            group_by = draw(st.sampled_from([[], ["f"]])) if "f" not in match else []
            price: dict[str, Any] = {"meter": meter, "currency": currency, "model": model, "match": match}
            price |= {"group_by": group_by, **draw(roundings(model))}
            made[f"{meter}-{number}"] = {**price, "versions": [_fitting(it, price) for it in draw(versions(model))]}
    if draw(st.booleans()):
        due = draw(st.sampled_from([{}, {"due": "in_arrears"}]))
        fee = {"currency": currency, **draw(roundings("flat"))}
        made["fee"] = {**fee, "model": "flat", "versions": draw(versions("flat")), **due}
        made["set-up"] = {"currency": currency, "model": "one_time", "versions": draw(versions("one_time"))}
    return made


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    meters = sorted(draw(st.sets(st.sampled_from(sorted(METER)), min_size=1, max_size=2)))
    currencies = draw(st.tuples(st.sampled_from(CURRENCIES), st.sampled_from(CURRENCIES)))
    made = draw(prices(meters, currencies[0]))
    first = {f"first-{key}": {**made[key], "currency": currencies[1]} for key in sorted(made)[:1]}
    adjust = {"adjust": draw(ADJUSTMENTS)} if draw(st.booleans()) else {}
    return {
        "tallystick": 1,
        "currencies": sorted(set(currencies)),
        "meters": {key: METER[key] for key in meters},
        "prices": {**made, **first},
        "plans": {
            "all": {"currency": currencies[0], "prices": sorted(made), **adjust},
            "first": {"currency": currencies[1], "prices": sorted(first)},
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


INCREMENTS = st.sampled_from([None, "1", "6", "60", "0.5"])
CALL_RATES = st.one_of(
    st.fixed_dictionaries(
        {"unit_amount": money}, optional={"first_increment": st.sampled_from(["30", "60"]), "increment": INCREMENTS}
    ),
    st.lists(st.tuples(money, INCREMENTS), min_size=1, max_size=3).map(
        lambda rates: {
            "tiers": [
                {"up_to": end, "unit_amount": amount, "increment": increment}
                for end, (amount, increment) in zip([*["45", "600"][: len(rates) - 1], None], rates, strict=True)
            ]
        }
    ),
)
CALL_EXTRAS = st.fixed_dictionaries(
    {},
    optional={
        "connect_fee": money,
        "minimum_per_event": st.sampled_from(["0.25", "3"]),
        "maximum_per_event": st.sampled_from(["3", "12.5"]),
        "round_each": st.fixed_dictionaries(
            {
                "mode": st.sampled_from(["half_away_from_zero", "half_even", "up", "down"]),
                "decimals": st.sampled_from([-1, 0, 2, 4]),
            }
        ),
    },
)


@st.composite
def call_versions(draw: st.DrawFn, zone: str) -> list[dict[str, Any]]:
    """Versions of a price of calls, whose bands are in `zone`."""
    free = draw(st.sampled_from([{}, {"free_units": "100"}]))
    made = []
    starts: list[list[datetime | None]] = [[None], [None, MID_MONTH]]
    for at in draw(st.sampled_from(starts)):
        spans = [it for it in draw(st.lists(BAND, max_size=3)) if it.keys() & CONDITIONS]
        whole = [it for it in spans if it.get("from", "00:00") != it.get("to", "none")]
        bands = [{**it, "time_zone": zone, **draw(CALL_RATES), **draw(CALL_EXTRAS)} for it in whole]
        own = {**draw(CALL_RATES), **draw(CALL_EXTRAS), **free, "per": draw(st.sampled_from([1, 10]))}
        made.append({**({"effective_from": at.isoformat()} if at else {}), **own, "bands": bands})
    return made
