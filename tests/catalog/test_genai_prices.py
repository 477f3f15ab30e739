"""The imported price book charges what the package genai-prices itself calculates, for every model, at every time.

The catalog is evaluated here by a few lines of plain decimals over the parsed file, apart from the rating engine.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any

import pytest
from genai_prices.data import providers
from genai_prices.data_units import unit_data
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
    Usage,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rating.catalog import Catalog, compile_catalog, load_catalog, parse_catalog
from rating.catalog.genai_prices import MINIMUM_BILLED, ImportReport, import_genai_prices, render_document
from rating.catalog.presets import PerRequestPrice, UnitPrice
from tests.conftest import shared_path

PRECISION = 60
MODELS = [(provider, model) for provider in providers for model in provider.models]
UNITS = {key: frozenset(unit["dimensions"].items()) for key, unit in unit_data.items()}
PARTS = [key for key in UNITS if key != "requests"]
NOW = datetime(2026, 11, 22, 12, 34, 56, 789, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Book:
    """A parsed catalog with its prices by provider and model."""

    catalog: Catalog
    report: ImportReport
    prices: Mapping[tuple[str, str], list[UnitPrice | PerRequestPrice]]


def book_of(document: dict[str, Any], report: ImportReport) -> Book:
    catalog = load_catalog(document)
    prices = defaultdict(list)
    for price in catalog.prices.values():
        assert isinstance(price, (UnitPrice, PerRequestPrice))
        prices[price.match["provider"], price.match["model"]].append(price)
    return Book(catalog, report, prices)


IMPORTED = book_of(*import_genai_prices())


def amount(book: Book, provider: str, model: str, usage: Counts, at: datetime) -> Decimal:
    """What the catalog charges for one request."""
    with localcontext(prec=PRECISION):
        return sum((charge(book.catalog, price, usage, at) for price in book.prices[provider, model]), Decimal(0))


def charge(catalog: Catalog, price: UnitPrice | PerRequestPrice, usage: Counts, at: datetime) -> Decimal:
    quantity = sum(metered(catalog, meter, usage) for meter in price.meter_keys)
    version = [one for one in price.versions if one.effective_from is None or one.effective_from <= at][-1]
    window = next((one for one in version.time_of_day if holds(one.from_, one.to, at)), None)
    rate = window or version
    per = (window.per if window else None) or version.per
    if hasattr(rate, "unit_amount"):
        return rate.unit_amount * quantity / per
    size = usage.get(version.size, 0)  # type: ignore[union-attr]  # a version with tiers has a size
    tier = next(tier for tier in rate.tiers if tier.up_to is None or size <= tier.up_to)
    assert tier.unit_amount is not None
    return tier.unit_amount * quantity / per


def metered(catalog: Catalog, key: str, usage: Counts) -> int:
    meter = catalog.meters[key]
    if meter.aggregation == "count":
        return 1
    assert meter.property is not None
    added = sum(usage.get(name, 0) for name in (meter.property, *meter.add))
    return added - sum(usage.get(name, 0) for name in meter.subtract)


def holds(begin: time, end: time, at: datetime) -> bool:
    now = at.astimezone(UTC).time()
    return begin <= now < end if begin < end else now >= begin or now < end


def published_amount(provider: Provider, model: ModelInfo, usage: Counts, at: datetime) -> Decimal:
    """What the package calculates. Raises ValueError for usage that contradicts itself."""
    with localcontext(prec=PRECISION):
        return model.calc_price(Usage(**usage), provider, genai_request_timestamp=at).total_price


def comparable(value: Decimal) -> Decimal:
    """Prices by the hour are endless decimals: 40 places of them; all others are exact."""
    with localcontext(prec=200):
        return value.quantize(Decimal("1e-40")).normalize()


def reported(parts: Counts) -> dict[str, int]:
    """The usage that a provider reports when `parts` were used: every unit counts all that is within it."""
    return {
        key: total
        for key in PARTS
        if (total := sum(count for part, count in parts.items() if UNITS[key] <= UNITS[part]))
    }


def turning_points(model: ModelInfo) -> Iterator[datetime]:
    """Instants on both sides of every change of a model's prices, on several days."""
    steps = [] if isinstance(model.prices, ModelPrice) else [step.constraint for step in model.prices]
    days = [rule.start_date for rule in steps if isinstance(rule, StartDateConstraint)] + [NOW.date()]
    times = [time(0)] + [
        edge for rule in steps if isinstance(rule, TimeOfDateConstraint) for edge in (rule.start_time, rule.end_time)
    ]
    for day in days:
        for edge in times:
            at = datetime.combine(day, edge.replace(tzinfo=edge.tzinfo or UTC))
            yield from (at - MICROSECOND, at, at + timedelta(days=1))
    yield NOW


EVERY_PART = {part: 1_000 + 37 * number for number, part in enumerate(PARTS)}


@pytest.mark.parametrize("factor", [1, 11])
def test_every_model_costs_what_the_package_says_on_both_sides_of_every_change(factor: int) -> None:
    """All kinds of usage in one request: 49,000 input tokens and 544,000, which is above all but one of the bounds."""
    usage = reported({part: count * factor for part, count in EVERY_PART.items()})
    for provider, model in MODELS:
        for at in turning_points(model):
            expected = published_amount(provider, model, usage, at)
            assert comparable(amount(IMPORTED, provider.id, model.id, usage, at)) == comparable(expected), (
                model.id,
                at,
            )


BOUNDS = sorted(
    {
        (provider.id, model.id, tier.start)
        for provider, model in MODELS
        for step in ([model.prices] if isinstance(model.prices, ModelPrice) else [s.prices for s in model.prices])
        for price in vars(step).values()
        if isinstance(price, TieredPrices)
        for tier in price.tiers
    }
)


def test_a_request_of_exactly_the_bound_pays_the_lower_rate_and_one_token_more_the_higher() -> None:
    by_id = {(provider.id, model.id): (provider, model) for provider, model in MODELS}
    for provider_id, model_id, bound in BOUNDS:
        for tokens in (bound - 1, bound, bound + 1):
            usage = {"input_tokens": tokens, "cache_read_tokens": 1_000, "output_tokens": 777}
            expected = published_amount(*by_id[provider_id, model_id], usage, NOW)
            assert amount(IMPORTED, provider_id, model_id, usage, NOW) == expected, (model_id, tokens)


TESTED_MODELS = st.sampled_from([pair for pair in MODELS if (pair[0].id, pair[1].id) not in MINIMUM_BILLED])
INTERESTING = [pair for pair in MODELS if not isinstance(pair[1].prices, ModelPrice) and len(pair[1].prices) > 2]
INSTANTS = st.timedeltas(timedelta(0), timedelta(days=5 * 365)).map(
    lambda passed: datetime(2023, 1, 1, tzinfo=UTC) + passed
)
COUNTS = st.one_of(st.integers(0, 10), st.integers(0, 2_000_000))


@settings(max_examples=300)
@given(
    st.one_of(TESTED_MODELS, st.sampled_from(INTERESTING)), INSTANTS, st.dictionaries(st.sampled_from(PARTS), COUNTS)
)
def test_any_usage_at_any_time_costs_what_the_package_says(
    pair: tuple[Provider, ModelInfo], at: datetime, parts: Counts
) -> None:
    provider, model = pair
    usage = reported(parts)
    expected = published_amount(provider, model, usage, at)
    assert comparable(amount(IMPORTED, provider.id, model.id, usage, at)) == comparable(expected)


SOME_KEYS = [
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "input_audio_tokens",
    "web_searches",
]


@settings(max_examples=300)
@given(TESTED_MODELS, INSTANTS, st.dictionaries(st.sampled_from(SOME_KEYS), st.integers(0, 100_000)))
def test_usage_whose_overlaps_are_not_reported_costs_the_same_too(
    pair: tuple[Provider, ModelInfo], at: datetime, usage: Counts
) -> None:
    try:
        expected = published_amount(*pair, usage, at)
    except ValueError:
        assume(False)
    assert amount(IMPORTED, pair[0].id, pair[1].id, usage, at) == expected


def model_of(*steps: tuple[Any, dict[str, Any]]) -> tuple[Provider, ModelInfo]:
    """A model of our own, with steps of (constraint, prices)."""
    prices = [ConditionalPrice(constraint=constraint, prices=ModelPrice(**numbers)) for constraint, numbers in steps]
    model = ModelInfo(id="m", match=ClauseEquals("m"), prices=prices)
    return Provider(id="p", name="P", api_pattern="p", models=[model]), model


def amounts(*numbers: Any) -> dict[str, Any]:
    keys = ("input_mtok", "output_mtok", "cache_read_mtok", "web_searches_kcount")
    return {key: number for key, number in zip(keys, numbers, strict=False) if number is not None}


ONE, TWO, THREE = Decimal("1.10"), Decimal(2), Decimal(3)
LONG = TieredPrices(base=ONE, tiers=[Tier(start=1000, price=TWO), Tier(start=5000, price=THREE)])
FIRST, SECOND = StartDateConstraint(date(2026, 1, 1)), StartDateConstraint(date(2026, 6, 1))
NIGHT, NOON = TimeOfDateConstraint(time(22), time(6)), TimeOfDateConstraint(time(11), time(13, 30))
EAST = timedelta(hours=5, minutes=30)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([(None, amounts(ONE, TWO))], id="one step"),
        pytest.param([(FIRST, amounts(ONE)), (SECOND, amounts(TWO))], id="no step holds at first: the first one does"),
        pytest.param([(SECOND, amounts(ONE)), (FIRST, amounts(TWO))], id="a later step hides an earlier one"),
        pytest.param([(None, amounts(ONE)), (NIGHT, amounts(TWO)), (FIRST, amounts(THREE))], id="a date ends a window"),
        pytest.param([(FIRST, amounts(ONE)), (NIGHT, amounts(TWO))], id="a window at all times"),
        pytest.param([(NIGHT, amounts(ONE)), (NOON, amounts(TWO))], id="the first window also holds outside of all"),
        pytest.param([(None, amounts(ONE)), (NIGHT, amounts(TWO)), (NOON, amounts(THREE))], id="two windows"),
        pytest.param([(None, amounts(ONE)), (FIRST, amounts(ONE, TWO, TWO)), (SECOND, amounts(TWO))], id="come and go"),
        pytest.param([(None, amounts(None, TWO)), (NIGHT, amounts(ONE, TWO, None, THREE))], id="priced at night only"),
        pytest.param([(None, amounts(ONE)), (SECOND, amounts(LONG, LONG, TWO))], id="sizes come later"),
        pytest.param([(None, amounts(LONG, TWO)), (NIGHT, amounts(TWO, ONE))], id="no sizes at night"),
        pytest.param([(None, amounts(LONG)), (NOON, amounts(LONG, None, ONE))], id="a kind billed as its parent"),
    ],
)  # fmt: skip
def test_every_way_to_combine_dates_times_and_kinds(steps: list[tuple[Any, dict[str, Any]]]) -> None:
    provider, model = model_of(*steps)
    book = book_of(*import_genai_prices(providers=[provider]))
    for at in turning_points(model):
        for tokens in (500, 1_000, 1_001, 6_000):
            usage = {"input_tokens": tokens, "output_tokens": 70, "cache_read_tokens": 300, "web_searches": 3}
            assert amount(book, "p", "m", usage, at) == published_amount(provider, model, usage, at), (at, tokens)


def test_times_in_another_zone_become_utc() -> None:
    zone = timezone(EAST)
    provider, _ = model_of(
        (None, amounts(ONE)), (TimeOfDateConstraint(time(2, tzinfo=zone), time(9, tzinfo=zone)), amounts(TWO))
    )
    document, _ = import_genai_prices(providers=[provider])
    [version] = document["prices"]["p/m/input_tokens"]["versions"]
    assert [(window["from"], window["to"]) for window in version["time_of_day"]] == [("20:30", "03:30")]


def test_steps_that_change_nothing_are_no_versions() -> None:
    provider, _ = model_of((None, amounts(ONE, ONE)), (FIRST, amounts(ONE, TWO)), (SECOND, amounts(THREE, TWO)))
    document, report = import_genai_prices(providers=[provider])
    starts = {
        key: [version.get("effective_from") for version in price["versions"]]
        for key, price in document["prices"].items()
    }
    assert starts == {
        "p/m/input_tokens": [None, "2026-06-01T00:00:00Z"],
        "p/m/output_tokens": [None, "2026-01-01T00:00:00Z"],
    }
    assert report.versions == 4


def test_all_usage_is_in_exactly_one_meter() -> None:
    """The meters of one family add up to what is reported for the whole of it, whatever was used."""
    for part in PARTS:
        usage = reported({part: 5})
        counted = {key: metered(IMPORTED.catalog, key, usage) for key in IMPORTED.catalog.meters if key != "requests"}
        assert sorted(counted.values())[-2:] in ([0, 5], [0, 0])
        assert min(counted.values()) == 0


def test_the_report_counts_everything_that_the_package_has() -> None:
    report = IMPORTED.report
    without_price = [missing for missing in report.not_imported if missing.reason == "no_price"]
    assert report.models + len(without_price) == len(MODELS)
    assert report.prices == len(IMPORTED.catalog.prices)
    assert {(m.provider, m.model) for m in report.not_imported if m.reason == "minimum"} == MINIMUM_BILLED
    assert sum(m.reason == "context_variants" for m in report.not_imported) == sum(
        bool(m.price_variants) for _, m in MODELS
    )
    assert report.source.startswith("genai-prices ")
    assert len(report.warnings()) == 3


def test_further_dimensions_become_groups_of_every_price() -> None:
    document, _ = import_genai_prices(group_by=("minute", "project"), plan="by-minute")
    catalog = load_catalog(document)
    assert list(catalog.plans) == ["by-minute"]
    assert {price.group_by for price in catalog.prices.values()} == {("minute", "project")}  # type: ignore[union-attr]
    assert {meter.group_by for meter in catalog.meters.values()} == {("provider", "model", "minute", "project")}


@pytest.mark.parametrize("file_format", ["yaml", "json"])
def test_the_rendered_file_is_the_same_catalog_and_compiles(file_format: Any) -> None:
    document, report = import_genai_prices()
    text = render_document(document, report, format=file_format)
    catalog = parse_catalog(text, format=file_format)
    assert catalog.version == IMPORTED.catalog.version
    assert text.startswith("# Imported from genai-prices ") == (file_format == "yaml")
    book = compile_catalog(catalog)
    assert book.prices.height == report.prices
    assert {shape.match for shape in book.shapes} == {("model", "provider")}


def test_the_reference_price_book_says_the_same() -> None:
    """Every step of every model in the shared price book, read by its own rules, against the catalog's numbers."""
    shared = json.loads(shared_path("data", "llm", "price_book.json").read_text())
    compared = 0
    for provider in shared["providers"]:
        for model in provider["models"]:
            for at in moments(model["prices"]):
                step = step_at(model["prices"], at)
                for unit in set(step) & set(shared["units"]):
                    key = f"{provider['id']}/{model['id']}/{shared['units'][unit]['usage_key']}"
                    assert numbers_at(key, at) == published_numbers(step[unit], shared["units"][unit]["per"]), (key, at)
                    compared += 1
    assert compared > 6_000


def moments(steps: list[dict[str, Any]]) -> set[datetime]:
    days = [step["when"]["from_date_utc"] for step in steps if "from_date_utc" in (step["when"] or {})]
    return {
        datetime.fromisoformat(f"{day}T{hour:02}:15:00+00:00")
        for day in [*days, "2023-01-01"]
        for hour in (0, 2, 7, 17)
    }


def step_at(steps: list[dict[str, Any]], at: datetime) -> dict[str, Any]:
    return next((step for step in reversed(steps) if is_in_force(step["when"], at)), steps[0])


def is_in_force(when: dict[str, str] | None, at: datetime) -> bool:
    if when is None:
        return True
    if "from_date_utc" in when:
        return at.date().isoformat() >= when["from_date_utc"]
    begin, end = (time.fromisoformat(when[field]) for field in ("from_time", "to_time"))
    assert begin.tzinfo == end.tzinfo == UTC
    return holds(begin.replace(tzinfo=None), end.replace(tzinfo=None), at)


def published_numbers(price: Any, per: int) -> tuple[Any, ...]:
    if isinstance(price, str):
        return per, ((None, Decimal(price)),)
    amounts_by_tier = [price["base"], *(tier["price"] for tier in price["tiers"])]
    bounds = [*(tier["above_input_tokens"] for tier in price["tiers"]), None]
    return per, tuple(zip(bounds, map(Decimal, amounts_by_tier), strict=True))


def numbers_at(key: str, at: datetime) -> tuple[Any, ...]:
    price = IMPORTED.catalog.prices[key]
    assert isinstance(price, (UnitPrice, PerRequestPrice))
    version = [one for one in price.versions if one.effective_from is None or one.effective_from <= at][-1]
    window = next((one for one in version.time_of_day if holds(one.from_, one.to, at)), None)
    rate = window or version
    per = (window.per if window else None) or version.per
    if hasattr(rate, "unit_amount"):
        return per, ((None, rate.unit_amount),)
    return per, tuple((tier.up_to, tier.unit_amount) for tier in rate.tiers)
