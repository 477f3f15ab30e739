"""The catalog of the demonstration: published prices of some models, and what a reseller of them would add."""

from typing import Any

from rating.catalog.genai_prices import import_genai_prices

Document = dict[str, Any]

MODELS = (
    "openai/gpt-4o-mini",
    "openai/gpt-4o",
    "openai/gpt-5",
    "anthropic/claude-sonnet-4-5",  # another rate for requests of more than 200,000 tokens
    "anthropic/claude-haiku-4-5",
    "google/gemini-2.5-flash",
    "google/gemini-2.5-pro",  # the same
    "deepseek/deepseek-v4-flash",  # twice the rate at some hours of the day
    "mistral/mistral-large-2512",
)
UNPRICED_MODEL = "in-house/tally-9b"
"""Used by customers, with no price in any plan for single models: a run reports it."""

TOKENS = ("input_tokens", "cache_read_tokens", "output_tokens")
TOKENS_PER_EVENT = 12_000
"""About the mean of what the day's events use: limits are multiples of it, so that they fit any number of events."""

PLANS = ("starter", "team", "scale", "europe")
FEES = {"starter": "19", "team": "99", "scale": "499"}
LIMIT_EVENTS = {"starter": 800, "team": 8_000, "scale": 150_000, "europe": 3_000}  # of a day of 1,000,000


def demo_catalog(events: int) -> Document:
    """The catalog document for a day of so many events."""
    imported, _ = import_genai_prices()
    published = {key: _reduced(price) for key, price in imported["prices"].items() if _is_shown(key)}
    models = [f"{model}/*" for model in MODELS]
    plans = {
        **{plan: _plan(plan, "USD", [f"fee/{plan}", "tool-calls", *models], events) for plan in FEES},
        "europe": _plan("europe", "EUR", ["europe/*"], events),
    }
    return {
        "tallystick": 1,
        "currencies": ["USD", "EUR"],
        "meters": _meters(imported["meters"]),
        "features": {"tokens": {"meter": "tokens", "name": "Tokens of all models"}},
        "prices": {**published, **_own_prices()},
        "plans": plans,
    }


def _is_shown(key: str) -> bool:
    model, _, unit = key.rpartition("/")
    return model in MODELS and unit in TOKENS


def _reduced(price: Document) -> Document:
    """The price for the meters that the demonstration has."""
    meters = [meter for meter in price.get("meters", [price.get("meter")]) if meter in TOKENS]
    return {**{k: v for k, v in price.items() if k != "meters"}, "meter": meters[0]}


def _meters(imported: Document) -> Document:
    """The imported meters for text, and two more. Each counts what no more specific one does."""
    meters = {
        key: {
            **imported[key],
            "add": [name for name in imported[key].get("add", []) if name in TOKENS],
            "subtract": [name for name in imported[key].get("subtract", []) if name in TOKENS],
        }
        for key in TOKENS
    }
    of_requests = {"event_type": "llm.request", "aggregation": "sum"}
    return {
        **meters,
        "tool_calls": {**of_requests, "property": "tool_calls"},
        "tokens": {**of_requests, "property": "input_tokens", "add": ["output_tokens"]},
    }


def _own_prices() -> Document:
    fees = {f"fee/{plan}": _flat("USD", amount) for plan, amount in FEES.items()}
    tool_calls: list[Document] = [
        {"up_to": 1_000, "unit_amount": "0"},
        {"up_to": 20_000, "unit_amount": "0.004"},
        {"up_to": None, "unit_amount": "0.0025"},
    ]
    europe: list[Document] = [
        {"up_to": 50_000_000, "unit_amount": "2.10"},
        {"up_to": 500_000_000, "unit_amount": "1.80"},
        {"up_to": None, "unit_amount": "1.55"},
    ]
    return {
        **fees,
        "tool-calls": _tiered("graduated", "USD", {"meter": "tool_calls"}, tool_calls, 1),
        "europe/fee": _flat("EUR", "199"),
        "europe/input": _tiered("volume", "EUR", {"meters": ["input_tokens", "cache_read_tokens"]}, europe, 1_000_000),
        "europe/output": _per_unit("EUR", "output_tokens", {"unit_amount": "7.90", "per": 1_000_000}),
        "europe/tool-calls": _per_unit("EUR", "tool_calls", {"unit_amount": "0"}),
    }


def _flat(currency: str, amount: str) -> Document:
    return {"model": "flat", "currency": currency, "versions": [{"amount": amount}]}


def _per_unit(currency: str, meter: str, version: Document) -> Document:
    return {"meter": meter, "currency": currency, "model": "per_unit", "versions": [version]}


def _tiered(model: str, currency: str, metered: Document, tiers: list[Document], per: int) -> Document:
    return {**metered, "currency": currency, "model": model, "versions": [{"tiers": tiers, "per": per}]}


def _plan(plan: str, currency: str, prices: list[str], events: int) -> Document:
    limit = LIMIT_EVENTS[plan] * TOKENS_PER_EVENT * events // 1_000_000
    entitlements = {"tokens": {"limit": str(max(limit, 1_000)), "window": "month"}}
    return {"name": plan.capitalize(), "currency": currency, "prices": prices, "entitlements": entitlements}
