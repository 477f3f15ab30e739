"""The price book of the PyPI package genai-prices as a catalog: every provider, every model, every dated step.

The package prices a tree of units: `cache_read_tokens` are part of `input_tokens`, and a unit without a price is
billed as its nearest ancestor that has one. Metering wants every token counted by one meter, so each meter here counts
the *own* part of a unit: the property of that name less everything more specific. The own parts are a partition, the
same for all models; a price lists the meters that it bills, and the amounts equal the package's for every usage at
every time. It gives up nothing but readability: a model that prices input alike has one price for several meters.

Times: of a model's steps the last whose condition holds is in force, else the first. Between two dates that rule gives
a fixed division of the UTC day, and so a version with windows. A request-size tier begins strictly above its bound and
prices the whole request: the tiers (lower, upper] of model `per_request` with the size `input_tokens`.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from importlib.metadata import version as installed_version
from itertools import pairwise
from typing import Any, Literal

import yaml
from genai_prices.data import providers as published_providers
from genai_prices.types import ModelInfo, ModelPrice, Provider, StartDateConstraint, TieredPrices, TimeOfDateConstraint

from rating.catalog.genai_units import REQUESTS, Units, priced_units, steps_of
from rating.catalog.literals import instant_text, time_text
from rating.catalog.reading import Format

PACKAGE = "genai-prices"
LICENCE = "MIT licence, Pydantic Services Inc."
CURRENCY = "USD"
SOME_DAY = date(2000, 1, 1)
DIMENSIONS = ("provider", "model")
REQUEST_SIZE = "input_tokens"
MINIMUM_BILLED = {("groq", "whisper-large-v3"), ("groq", "whisper-large-v3-turbo")}

Document = dict[str, Any]
Reason = Literal["no_price", "context_variants", "minimum"]


@dataclass(frozen=True)
class NotImported:
    """Something that the package says about a model and the catalog does not."""

    provider: str
    model: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class ImportReport:
    """What was imported: counts of what is in the document, and what is missing from it."""

    source: str
    providers: int
    models: int
    prices: int
    versions: int
    not_imported: tuple[NotImported, ...]

    def warnings(self) -> list[str]:
        """One sentence for each kind of thing that is missing, with how often and examples; empty when nothing is."""
        by_reason: dict[Reason, list[NotImported]] = defaultdict(list)
        for missing in self.not_imported:
            by_reason[missing.reason].append(missing)
        return [_warning(reason, missing) for reason, missing in by_reason.items()]


WARNINGS: dict[Reason, str] = {
    "no_price": "{count} models have no published price: a run reports their usage as unpriced",
    "context_variants": "{count} models have other prices for some requests (batch, flex ...), not imported: all "
    "requests get the standard price",
    "minimum": "{count} models bill a minimum for each request, not imported: short requests get less than they cost",
}


def _warning(reason: Reason, missing: Sequence[NotImported]) -> str:
    examples = ", ".join(f"{one.provider}/{one.model}" for one in missing[:3])
    more = ", ..." if len(missing) > 3 else ""
    return f"{WARNINGS[reason].format(count=len(missing))} ({examples}{more})."


@dataclass(frozen=True)
class Rate:
    """What `per` units cost at one time of one day: one amount, or amounts by the size of the request."""

    amounts: tuple[Decimal, ...]
    bounds: tuple[int, ...]
    per: int


@dataclass(frozen=True)
class DatedRates:
    """The rates from midnight UTC of `start` (None: since ever); `segments` are (begin, rate) that divide the day."""

    start: date | None
    segments: tuple[tuple[time, Rate], ...]


def import_genai_prices(
    *, group_by: Sequence[str] = (), plan: str = "llm", providers: Iterable[Provider] | None = None
) -> tuple[Document, ImportReport]:
    """The published prices as a catalog document, with one plan that has them all.

    `group_by` are further properties of the events by whose values every price is rated apart (`("project",)`).
    `providers` are the installed package's unless given.
    """
    published = list(published_providers if providers is None else providers)
    units = Units(published)
    prices: Document = {}
    missing: list[NotImported] = []
    models = 0
    for provider in published:
        for model in provider.models:
            model_prices = _prices_of_model(provider, model, units, sorted(group_by))
            models += bool(model_prices)
            missing.extend(_not_imported(provider, model, bool(model_prices)))
            prices.update(model_prices)
    document = {
        "tallystick": 1,
        "currencies": [CURRENCY],
        "meters": _only_priced_requests(units.meters((*DIMENSIONS, *group_by)), prices),
        "prices": prices,
        "plans": {plan: _plan(prices)},
    }
    report = ImportReport(
        source=f"{PACKAGE} {installed_version(PACKAGE)} (PyPI, {LICENCE})",
        providers=len({key.partition("/")[0] for key in prices}),
        models=models,
        prices=len(prices),
        versions=sum(len(price["versions"]) for price in prices.values()),
        not_imported=tuple(missing),
    )
    return document, report


def render_document(document: Document, report: ImportReport, *, format: Format = "yaml") -> str:
    """The document as the text of a catalog file. YAML begins with comments that name the source; JSON has none."""
    if format == "json":
        return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    dumper = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper
    body = yaml.dump(document, Dumper=dumper, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
    comments = [
        f"Imported from {report.source}: {report.providers} providers, {report.models} models, {report.prices} prices.",
        *(f"Mind: {warning}" for warning in report.warnings()),
    ]
    return "".join(f"# {comment}\n" for comment in comments) + body


def _only_priced_requests(meters: Document, prices: Mapping[str, Any]) -> Document:
    """The meters, with that of requests bound to the models that charge for them: any event is a request, and without
    this those of every other model would be reported as unpriced."""
    matches = [price["match"] for price in prices.values() if price.get("meter") == REQUESTS]
    if matches:
        filters = [{"property": d, "in": sorted({match[d] for match in matches})} for d in DIMENSIONS]
        meters = meters | {REQUESTS: meters[REQUESTS] | {"filters": filters}}
    return meters


def _plan(prices: Mapping[str, Any]) -> Document:
    prefixes = dict.fromkeys(f"{key.partition('/')[0]}/*" for key in prices)
    return {"name": f"Published prices of {PACKAGE}", "currency": CURRENCY, "prices": list(prefixes)}


def _not_imported(provider: Provider, model: ModelInfo, has_price: bool) -> Iterable[NotImported]:
    if not has_price:
        yield NotImported(provider.id, model.id, "no_price", "no unit has a price")
    if model.price_variants:
        contexts = {f"{key}={value}" for variant in model.price_variants for key, value in variant.when.items()}
        yield NotImported(provider.id, model.id, "context_variants", ", ".join(sorted(contexts)))
    if (provider.id, model.id) in MINIMUM_BILLED:
        yield NotImported(provider.id, model.id, "minimum", "a request is billed as 10 seconds of audio at least")


def _prices_of_model(provider: Provider, model: ModelInfo, units: Units, group_by: list[str]) -> Document:
    """The catalog's prices of a model by key; none when nothing of it has a price."""
    priced = frozenset(units.close(unit for step in steps_of(model) for unit in priced_units(step)))
    prices: Document = {}
    for unit, meters in units.billed_as(priced).items():
        dated = _merged(_dated_rates(model, unit, units))
        is_by_size = any(rate.bounds for rates in dated for _, rate in rates.segments)
        prices[f"{provider.id}/{model.id}/{unit}"] = {
            **({"meter": meters[0]} if len(meters) == 1 else {"meters": meters}),
            "currency": CURRENCY,
            "model": "per_request" if is_by_size else "per_unit",
            "match": {"provider": provider.id, "model": model.id},
            **({"group_by": group_by} if group_by else {}),
            "versions": [_version(rates, is_by_size) for rates in dated],
        }
    return prices


def _dated_rates(model: ModelInfo, unit: str, units: Units) -> list[DatedRates]:
    """The rates of a unit between each two dates on which a step of the model begins."""
    constraints = [] if isinstance(model.prices, ModelPrice) else [step.constraint for step in model.prices]
    starts = sorted({rule.start_date for rule in constraints if isinstance(rule, StartDateConstraint)})
    edges = {edge for rule in constraints if isinstance(rule, TimeOfDateConstraint) for edge in _edges(rule)}
    begins = sorted({time(0), *edges})
    first_day = starts[0] - timedelta(days=1) if starts else SOME_DAY
    dated = []
    for start, day in [(None, first_day), *((start, start) for start in starts)]:
        instants = [datetime.combine(day, begin, UTC) for begin in begins]
        rates = [_rate(model.get_prices(instant), unit, units) for instant in instants]
        dated.append(DatedRates(start, _without_repeats(list(zip(begins, rates, strict=True)))))
    return dated


def _edges(rule: TimeOfDateConstraint) -> list[time]:
    """The UTC times of the day at which the rule begins and ceases to hold; a time without zone is UTC."""
    ends = [rule.start_time, rule.end_time]
    moments = [datetime.combine(SOME_DAY, end if end.tzinfo else end.replace(tzinfo=UTC)) for end in ends]
    return [moment.astimezone(UTC).time() for moment in moments]


def _rate(step: ModelPrice, unit: str, units: Units) -> Rate:
    """What a unit costs while a step is in force: nothing when neither it nor an ancestor has a price in it."""
    published = priced_units(step)
    billed_unit = units.nearest_priced(unit, frozenset(published))
    if billed_unit is None:
        return Rate((Decimal(0),), (), units.per(unit))
    price = published[billed_unit]
    if isinstance(price, TieredPrices):
        amounts = (price.base, *(tier.price for tier in price.tiers))
        return Rate(amounts, tuple(tier.start for tier in price.tiers), units.per(billed_unit))
    return Rate((price,), (), units.per(billed_unit))


def _without_repeats(segments: Sequence[tuple[time, Rate]]) -> tuple[tuple[time, Rate], ...]:
    """The segments without those that go on with the rate of the one before."""
    return tuple(
        (begin, rate) for index, (begin, rate) in enumerate(segments) if index == 0 or rate != segments[index - 1][1]
    )


def _merged(dated: Sequence[DatedRates]) -> list[DatedRates]:
    """The dated rates without dates on which nothing changes."""
    changes = [True, *(later.segments != earlier.segments for earlier, later in pairwise(dated))]
    return [rates for rates, is_change in zip(dated, changes, strict=True) if is_change]


def _version(rates: DatedRates, is_by_size: bool) -> Document:
    """A version: the rate that holds for most of the day, and a window for each part of the day that has another."""
    usual = _usual_rate(rates.segments)
    midnight = datetime.combine(rates.start, time(0)) if rates.start is not None else None
    windows = [
        {"from": time_text(begin), "to": time_text(end), "time_zone": "UTC", **_numbers(rate, is_by_size, usual.per)}
        for begin, end, rate in _spans(rates.segments)
        if rate != usual
    ]
    return {
        **({"effective_from": instant_text(midnight)} if midnight is not None else {}),
        **({"size": REQUEST_SIZE} if is_by_size else {}),
        **_numbers(usual, is_by_size, 1),
        **({"time_of_day": windows} if windows else {}),
    }


def _numbers(rate: Rate, is_by_size: bool, per_without_saying: int) -> Document:
    amounts = [f"{amount:f}" for amount in rate.amounts]
    per = {"per": rate.per} if rate.per != per_without_saying else {}
    if not is_by_size:
        return {"unit_amount": amounts[0], **per}
    tiers = [
        {"up_to": up_to, "unit_amount": amount} for amount, up_to in zip(amounts, [*rate.bounds, None], strict=True)
    ]
    return {"tiers": tiers, **per}


def _usual_rate(segments: Sequence[tuple[time, Rate]]) -> Rate:
    seconds: dict[Rate, float] = defaultdict(float)
    begins = [_since_midnight(begin).total_seconds() for begin, _ in segments]
    for begin, end, (_, rate) in zip(begins, [*begins[1:], 86_400.0], segments, strict=True):
        seconds[rate] += end - begin
    return max(seconds, key=lambda rate: seconds[rate])


def _since_midnight(moment: time) -> timedelta:
    return datetime.combine(SOME_DAY, moment, UTC) - datetime.combine(SOME_DAY, time(0), UTC)


def _spans(segments: Sequence[tuple[time, Rate]]) -> list[tuple[time, time, Rate]]:
    """The segments with their ends; the last one goes on over midnight when the first has the same rate."""
    begins = [begin for begin, _ in segments]
    spans = [(begin, end, rate) for (begin, rate), end in zip(segments, [*begins[1:], time(0)], strict=True)]
    if len(spans) > 1 and spans[0][2] == spans[-1][2]:
        return [*spans[1:-1], (spans[-1][0], spans[0][1], spans[0][2])]
    return spans
