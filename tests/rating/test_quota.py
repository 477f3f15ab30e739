"""Quota: the counter is the meter, the window is the customer's month, a crossing is reported once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Event
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.catalog import compile_catalog, parse_catalog
from rating.core.book import PriceBook
from rating.core.metering import metered_usage, summed_usage
from rating.core.quota.counting import Crossing
from rating.core.quota.seam import QUOTA_ANSWERED, QUOTA_ASKED
from rating.core.subscriptions import plain_subscriptions
from rating.live_quota import LiveQuota
from rating.month_terms import Terms
from tests.frames import SINCE, usage_frame

CATALOG = parse_catalog(
    """
tallystick: 1
currencies: [USD]
meters:
  tokens: {event_type: llm, aggregation: sum, property: tokens}
  calls: {event_type: llm, aggregation: count}
features: {tokens: {meter: tokens}, calls: {meter: calls}}
prices: {fee: {currency: USD, model: flat, versions: [{amount: 1}]}}
plans:
  small: {currency: USD, prices: [fee], entitlements: {tokens: {limit: "100", window: month}}}
  large: {currency: USD, prices: [fee], entitlements: {tokens: {limit: "100000", window: month}}}
""",
    format="yaml",
)
BOOK = compile_catalog(CATALOG)
TOKENS = next(meter for meter in BOOK.meters if meter.key == "tokens")
OCTOBER = datetime(2026, 10, 10, tzinfo=UTC)


def terms(book: PriceBook = BOOK, zone: str = "UTC", plan: str = "small", **dates: datetime | None) -> Terms:
    payers = pl.DataFrame({"subject": ["acme", "acme-eu"], "customer": ["c", "c"], "time_zone": [zone, zone]})
    row = ("sub", "c", plan, zone, dates.get("starts_at", SINCE), dates.get("ends_at"))
    return Terms(book, payers, plain_subscriptions([row]))


def event(tokens: Any, at: datetime = OCTOBER, subject: str = "acme") -> dict[str, Any]:
    return {"type": "llm", "subject": subject, "time": at, "data": {"tokens": tokens}}


class Meter:
    """A quota over a growing list of events, counted group by group as the writer does."""

    def __init__(self, given_terms: Terms) -> None:
        self.events: list[dict[str, Any]] = []
        self.crossings: list[Crossing] = []
        self.quota = LiveQuota(self.since, self.crossings.extend)
        self.quota.rebuild(given_terms)

    def since(self, since: datetime | None, _subjects: object) -> tuple[pl.LazyFrame, int]:
        usage = self.frame(0)
        return usage if since is None else usage.filter(pl.col("time") >= since), len(self.events)

    def frame(self, start: int) -> pl.LazyFrame:
        return usage_frame(self.events, CATALOG.declared_properties()).slice(start)

    def post(self, *events: dict[str, Any]) -> None:
        before = len(self.events)
        self.events.extend(events)
        self.quota.count(self.frame(before).collect())

    def used(self, at: datetime = OCTOBER) -> Decimal | None:
        return self.quota.check("acme", "tokens", Decimal(0), at).used


@pytest.mark.parametrize(
    ("used", "amount", "allowed", "reason"),
    [
        pytest.param("0", "100", True, "allowed", id="the whole limit at once"),
        pytest.param("99", "1", True, "allowed", id="the last unit"),
        pytest.param("99", "1.000000001", False, "would_exceed", id="a hair more than the last unit"),
        pytest.param("100", "0", False, "exhausted", id="nothing is left, and nothing is asked"),
        pytest.param("100.5", "1", False, "exhausted", id="past the limit"),
    ],
)
def test_an_amount_fits_up_to_the_limit(used: str, amount: str, allowed: bool, reason: str) -> None:
    meter = Meter(terms())
    meter.post(event(used))
    answer = meter.quota.check("acme", "tokens", Decimal(amount), OCTOBER)
    assert (answer.allowed, answer.reason) == (allowed, reason)
    assert answer.remaining == max(Decimal(100) - Decimal(used), Decimal(0))
    assert answer.resets_at == datetime(2026, 11, 1, tzinfo=UTC)


def test_all_subjects_of_a_customer_share_the_limit() -> None:
    meter = Meter(terms())
    meter.post(event(60), event(30, subject="acme-eu"), event(1000, subject="stranger"))
    assert meter.used() == 90


def test_the_month_is_the_customers() -> None:
    meter = Meter(terms(zone="Asia/Tokyo"))
    midnight = datetime(2026, 9, 30, 15, tzinfo=UTC)
    meter.post(event(5, at=midnight), event(7, at=midnight - timedelta(microseconds=1)))
    assert meter.used(midnight) == 5
    assert meter.used(midnight - timedelta(microseconds=1)) == 7


@pytest.mark.parametrize(
    ("subject", "feature", "message"),
    [
        ("stranger", "tokens", "no customer has this subject"),
        ("acme", "calls", "no plan of c includes calls"),
        ("acme", "nonsense", "no plan of c includes nonsense"),
    ],
)
def test_who_is_not_entitled_is_told_why(subject: str, feature: str, message: str) -> None:
    answer = Meter(terms()).quota.check(subject, feature, Decimal(1), OCTOBER)
    assert (answer.allowed, answer.reason, answer.message) == (False, "not_entitled", message)


def test_a_subscription_entitles_only_while_it_is_in_force() -> None:
    meter = Meter(terms(starts_at=OCTOBER, ends_at=OCTOBER + timedelta(days=1)))
    reasons = [meter.quota.check("acme", "tokens", Decimal(1), OCTOBER + timedelta(days=d)).reason for d in (-1, 0, 1)]
    assert reasons == ["not_entitled", "allowed", "not_entitled"]


def test_the_crossing_names_the_event_that_reached_the_limit_and_comes_once() -> None:
    meter = Meter(terms())
    meter.post(event(60), event(39))
    assert meter.crossings == []
    meter.post(event(0), event(1), event(50))
    meter.post(event(50))
    crossed = [(c.level, c.id, c.used, c.limit) for c in meter.crossings]
    assert crossed == [("100%", "3", 100, 100), ("negative", "4", 150, 100)]


def test_a_rebuild_finds_the_same_crossing_under_the_same_key() -> None:
    meter = Meter(terms())
    meter.post(event(60), event(60))
    meter.quota.rebuild(terms())
    before, after = meter.crossings[:2], meter.crossings[2:]
    assert before == after
    assert [(c.level, c.id) for c in before] == [("100%", "1"), ("negative", "1")]


def test_another_limit_is_another_crossing() -> None:
    meter = Meter(terms())
    meter.post(event(150))
    meter.quota.rebuild(terms(plan="large"))
    meter.post(event(100_000))
    assert len({(c.limit, c.level) for c in meter.crossings}) == len(meter.crossings) == 4
    assert meter.used() == 100_150


@given(
    at=st.datetimes(datetime(2026, 9, 28), datetime(2026, 10, 5)).map(lambda t: t.replace(tzinfo=UTC)),  # noqa: DTZ001
    zone=st.sampled_from(["UTC", "Pacific/Kiritimati", "America/Lima"]),
)
def test_a_rebuild_reads_from_the_earliest_open_window_on(at: datetime, zone: str) -> None:
    meter = Meter(terms(zone=zone))
    days = [datetime(2026, 8, 1, tzinfo=UTC) + timedelta(hours=6 * n) for n in range(4 * 80)]
    meter.post(*(event(1, day) for day in days))
    whole = meter.used(at)
    before = at - timedelta(days=2)
    whole_before = meter.used(before)
    meter.quota.rebuild(terms(zone=zone), at)
    assert (meter.used(at), meter.used(before)) == (whole, whole_before)
    compared = meter.quota.comparison()
    assert compared.height in (1, 2, 3)
    assert (compared["counted"] == compared["metered"]).all()


def test_events_that_a_rebuild_has_read_are_not_counted_again() -> None:
    meter = Meter(terms())
    meter.events.append(event(10))
    meter.quota.rebuild(terms())
    meter.quota.count(meter.frame(0).collect())
    assert meter.used() == 10


def test_events_of_a_month_that_a_rebuild_leaves_out_are_counted_though_it_has_read_them() -> None:
    """As the first group after a change of customers is: it is in the log when the counters are made again for it."""
    meter = Meter(terms())
    meter.events.append(event(150))
    meter.quota.rebuild(terms(), OCTOBER + timedelta(days=60))
    meter.quota.count(meter.frame(0).collect())
    assert {(crossing.id, crossing.used) for crossing in meter.crossings} == {("0", 150)}
    assert meter.used() == 150


def test_what_is_asked_again_is_what_was_worked_out_first() -> None:
    """A standing is kept for the next check: across events, corrections, the end of the month and other terms."""
    meter, step = Meter(terms(ends_at=OCTOBER + timedelta(days=40))), timedelta(days=10)
    for day in range(0, 60, 10):
        at = OCTOBER + timedelta(days=day)
        meter.post(event("30.000000001", at=at))
        again = Meter(terms(ends_at=OCTOBER + timedelta(days=40)))
        again.post(*meter.events)
        for amount in ("0", "1", "39.999999998", "39.9999999980000001", "200"):
            asked = ("acme", "tokens", Decimal(amount), at)
            known = meter.quota.check(*asked)
            assert known == meter.quota.check_at_once(*asked) == again.quota.check(*asked)
            assert (known.reason == "not_entitled") == (at >= OCTOBER + 4 * step)
    meter.quota.rebuild(terms(plan="large"))
    assert meter.quota.check("acme", "tokens", Decimal(200), OCTOBER).allowed


def test_many_checks_at_once_are_the_same_checks() -> None:
    meter = Meter(terms())
    meter.post(event("30.5"))
    meter.quota.hold("h", "acme", "tokens", Decimal(9), Decimal(9), OCTOBER)
    subjects, features = ("acme", "stranger", "acme-eu"), ("tokens", "calls", "nonsense")
    amounts = map(Decimal, ("0", "60.5", "60.500000001", "61", "1"))
    rows = [(subject, feature, amount) for amount in amounts for subject in subjects for feature in features]
    answers = [meter.quota.check(*row, OCTOBER) for row in rows]
    expected = [{name: getattr(answer, name) for name in QUOTA_ANSWERED} for answer in answers]
    asked = pl.DataFrame(rows, schema=QUOTA_ASKED, orient="row")
    assert meter.quota.check_many(asked, OCTOBER).to_dicts() == expected
    assert {"would_exceed", "allowed", "not_entitled"} == {answer.reason for answer in answers}
    nothing = meter.quota.check_many(asked.clear(), OCTOBER)
    assert (nothing.schema, nothing.height) == (QUOTA_ANSWERED, 0)


def test_a_check_beside_counting_sees_what_was_used_before_or_after() -> None:
    meter = Meter(terms(plan="large"))
    meter.post(event("0.5"))
    quota, seen = meter.quota, set[Decimal | None]()
    group = usage_frame([event("0.75") for _ in range(100)], CATALOG.declared_properties()).collect()
    done = Event()

    def ask() -> None:
        while not done.is_set():
            seen.add(quota.check("acme", "tokens", Decimal(1), OCTOBER).used)

    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(ask) for _ in range(2)]
        for number in range(300):
            first = 2 + 100 * number
            quota.count(group.with_columns(sequence=pl.int_range(first, first + 100, dtype=pl.Int64)))
        done.set()
        for each in asking:
            each.result(10)
    assert meter.used() == Decimal("22500.5")
    assert seen <= {Decimal("0.5") + 75 * number for number in range(301)}
    assert len(seen) > 1


AT = st.datetimes(datetime(2026, 9, 29), datetime(2026, 11, 2)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001
GROUPS = st.lists(st.lists(st.tuples(st.decimals(-5, 60, places=9), AT), max_size=5), max_size=6)


@given(groups=GROUPS, zone=st.sampled_from(["UTC", "Asia/Kathmandu", "America/Lima"]))
def test_counters_equal_a_metering_query_however_the_events_were_grouped(
    groups: list[list[tuple[Decimal, datetime]]], zone: str
) -> None:
    meter = Meter(terms(zone=zone))
    for group in groups:
        meter.post(*(event(tokens, at) for tokens, at in group))
    bill = metered_usage(summed_usage(meter.frame(0), [TOKENS], ["type"]), TOKENS, ["type"]).collect()["quantity"].sum()
    assert sum(meter.quota.counters().values(), Decimal(0)) == bill
    counted = meter.quota.counters()
    meter.quota.rebuild(terms(zone=zone))
    assert meter.quota.counters() == counted


@given(amounts=st.lists(st.integers(0, 40), max_size=12), cut=st.integers(0, 12))
def test_one_crossing_at_the_first_event_that_reaches_the_limit_and_one_beyond_it(amounts: list[int], cut: int) -> None:
    meter = Meter(terms())
    meter.post(*(event(n) for n in amounts[:cut]))
    meter.post(*(event(n) for n in amounts[cut:]))
    for level, at in (("100%", 100), ("negative", 101)):
        reached = [i for i in range(len(amounts)) if sum(amounts[: i + 1]) >= at]
        assert [c.id for c in meter.crossings if c.level == level] == [str(i) for i in reached[:1]]
