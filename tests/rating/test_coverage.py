"""Who pays, and who does not: unsubscribed usage against a plain loop, also for subjects with several subscriptions."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from rating.core.coverage import unsubscribed_usage
from rating.core.periods import Month
from rating.core.schema import INSTANT, SUBJECT
from rating.core.subjects import interned, with_numbers
from rating.core.subscriptions import plain_subscriptions

START = datetime(2026, 10, 1, tzinfo=UTC)
DAYS = st.integers(-3, 34)
TERMS = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), DAYS, st.none() | DAYS), max_size=6)
EVENTS = st.lists(st.tuples(st.sampled_from(["a", "b", "b2", "c", "stranger"]), DAYS), max_size=30)
CUSTOMER_OF = {"a": "a", "b": "b", "b2": "b", "c": "c"}


def day(number: int) -> datetime:
    return START + timedelta(days=number)


@given(terms=TERMS, events=EVENTS)
def test_an_event_outside_every_subscription_of_its_customer_is_reported(
    terms: list[tuple[str, int, int | None]], events: list[tuple[str, int]]
) -> None:
    terms = [(c, start, end) for c, start, end in terms if end is None or end > start]
    rows = [(f"s{i}", c, "p", "UTC", day(s), None if e is None else day(e)) for i, (c, s, e) in enumerate(terms)]
    rows_of_usage = [(s, day(n)) for s, n in events]
    usage = interned(pl.LazyFrame(rows_of_usage, schema={"subject": pl.String, "time": INSTANT}, orient="row"))
    subjects = with_numbers(pl.DataFrame(list(CUSTOMER_OF.items()), schema=SUBJECT, orient="row"), usage)
    subscriptions = plain_subscriptions(rows)
    got = unsubscribed_usage(usage, subjects, subscriptions, Month(2026, 10)).collect()
    expected: dict[str, int] = {}
    for subject, n in events:
        mine = [(s, e) for c, s, e in terms if c == CUSTOMER_OF.get(subject)]
        if 0 <= n < 31 and not any(s <= n and (e is None or n < e) for s, e in mine):
            expected[subject] = expected.get(subject, 0) + 1
    assert dict(got.select("subject", "events").iter_rows()) == expected
    assert dict(got.select("subject", "customer").iter_rows()) == {s: CUSTOMER_OF.get(s) for s in expected}
