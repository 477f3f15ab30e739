"""How values are written for a person."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from api.dashboard import shown
from api.dashboard.charts import Chart, Series, spark
from api.dashboard.ingest_rate import IngestRate
from api.dashboard.kept import KeptAnswers
from rating.core.money import exact_sum


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", "0"),
        ("1234567.500", "1,234,567.5"),
        ("-1234.5", "\N{MINUS SIGN}1,234.5"),
        ("99999999999999999999999999999.123456789", "99,999,999,999,999,999,999,999,999,999.123456789"),
        (None, "\N{EN DASH}"),
    ],
)
def test_numbers_keep_every_digit(value: str | None, expected: str) -> None:
    assert shown.number(value) == expected


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("12.5", "USD", "12.50 USD"),
        ("12.50000125", "USD", "12.50000125 USD"),
        ("1200", "JPY", "1,200 JPY"),
        ("3", "KWD", "3.000 KWD"),
        ("-0.1", "EUR", "\N{MINUS SIGN}0.10 EUR"),
        ("1", "CREDITS", "1.00 CREDITS"),
    ],
)
def test_money_has_at_least_its_minor_unit(amount: str, currency: str, expected: str) -> None:
    assert shown.money(Decimal(amount), currency) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("999", "999"),
        ("1000", "1 k"),
        ("1234567", "1.23 M"),
        ("999499999", "999 M"),
        ("0.5", "0.5"),
        ("12.345", "12.3"),
    ],
)
def test_short_numbers_have_three_digits(value: str, expected: str) -> None:
    assert shown.short(Decimal(value)) == expected


def test_all_of_it_is_only_said_of_all_of_it() -> None:
    assert shown.percent(999, 1000) == "99.9 %"
    assert shown.percent(Decimal("999.999"), 1000) == "99.9 %"
    assert shown.percent(1000, 1000) == "100.0 %"
    assert shown.percent(1, 0) == "\N{EN DASH}"


def test_changes_have_a_sign() -> None:
    assert shown.change(Decimal(3), Decimal(2)) == "+50.0 %"
    assert shown.change(Decimal(1), Decimal(2)) == "\N{MINUS SIGN}50.0 %"
    assert shown.change(Decimal(1), Decimal(0)) == "new"


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (0, "0 s"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (timedelta(days=2, hours=5, minutes=59), "2 d 5 h"),
        (86_460, "1 d"),
    ],
)
def test_ages_have_two_units(span: float | timedelta, expected: str) -> None:
    assert shown.age(span) == expected


def test_sizes_are_binary() -> None:
    assert [shown.size(count) for count in (0, 1536, 1 << 30)] == ["0 B", "1.5 KiB", "1 GiB"]


def test_an_instant_says_utc_until_the_browser_knows_better() -> None:
    at = datetime(2026, 10, 5, 22, 30, tzinfo=UTC)
    assert shown.instant(at) == (
        '<time datetime="2026-10-05T22:30:00Z" title="2026-10-05T22:30:00Z" data-precision="minute">'
        "2026-10-05 22:30 UTC</time>"
    )


def test_a_name_cannot_end_the_script_that_holds_a_chart() -> None:
    chart = Chart("c", "</script><script>alert(1)</script>", "bars", ["&"], [Series("<!--", ["1"])])
    assert not set(chart.json()) & set("<>&")
    assert "\\u003c/script\\u003e" in chart.json()


def test_a_spark_goes_from_the_left_to_the_right_and_up() -> None:
    assert spark([0, 5, 10], width=100, height=28) == "0,26 50,14.5 100,3"
    assert spark([]) == ""


def test_sums_keep_more_digits_than_pythons_own() -> None:
    large, small = Decimal("99999999999999999999999999999"), Decimal("0.000000001")
    assert str(exact_sum([large, small])) == "99999999999999999999999999999.000000001"


def test_what_takes_long_is_asked_less_often() -> None:
    now, asked = [0.0], []

    def work() -> int:
        now[0] += 2.0  # seconds that it takes
        asked.append(now[0])
        return len(asked)

    kept = KeptAnswers(clock=lambda: now[0])
    assert kept.get("a", work, share=5) == 1
    now[0] += 9.0
    assert kept.get("a", work, share=5) == 1
    now[0] += 1.5
    assert kept.get("a", work, share=5) == 2
    assert kept.get("b", work, share=5) == 3


def test_an_answer_that_fails_is_not_kept() -> None:
    kept = KeptAnswers()
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)
    assert kept.get("a", lambda: 7) == 7


def test_the_rate_is_the_mean_of_the_last_seconds() -> None:
    rate = IngestRate()
    assert (rate.now, rate.by_second) == (0, [])
    for second, sequence in enumerate([0, 100, 300, 300, 700, 1000, 1000]):
        rate.note(float(second), sequence)
    assert rate.by_second == [100, 200, 0, 400, 300, 0]
    assert rate.now == (200 + 0 + 400 + 300 + 0) // 5
