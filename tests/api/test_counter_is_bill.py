"""After a day of any traffic, what is used of each entitlement is the quantity that the rating run bills."""

from decimal import Decimal
from random import Random
from typing import Any

import httpx2
import pytest

from api.engine import Engine
from api.settings import Settings
from tests.api.conftest import NOW, event
from tests.api.test_corrections import correct, replacement, void
from tests.api.test_events import post
from tests.api.test_rating import lines_of, rate

ZONES = ["UTC", "America/Los_Angeles", "Asia/Kathmandu", "Pacific/Apia"]
KIND = {"event_type": "llm.request"}
METERS: dict[str, Any] = {
    "calls": {**KIND, "aggregation": "count"},
    "tokens": {**KIND, "aggregation": "sum", "property": "input_tokens"},
    "big": {
        **KIND,
        "aggregation": "sum",
        "property": "input_tokens",
        "filters": [{"property": "model", "in": ["big"]}],
    },
    "large": {**KIND, "aggregation": "count", "filters": [{"property": "input_tokens", "at_least": "50"}]},
    "doubled": {
        **KIND,
        "aggregation": "sum",
        "expression": "2 * input_tokens",
        "properties": {"input_tokens": "number"},
    },
}
PRICES = {
    meter: {"meter": meter, "currency": "USD", "model": "per_unit", "versions": [{"unit_amount": "1"}]}
    for meter in METERS
}
FEATURES = {**{meter: meter for meter in METERS}, "soft": "doubled", "graced": "tokens"}  # and their meters
MONTH = {"limit": "1000", "window": "month"}
ENTITLEMENTS = {
    **dict.fromkeys(METERS, MONTH),
    "soft": {**MONTH, "enforcement": "soft"},
    "graced": {**MONTH, "enforcement": {"grace": "50"}, "thresholds": ["1%", "80%"]},
}
CATALOG = {
    "tallystick": 1,
    "currencies": ["USD"],
    "meters": METERS,
    "features": {feature: {"meter": meter} for feature, meter in FEATURES.items()},
    "prices": PRICES,
    "plans": {"all": {"currency": "USD", "prices": list(PRICES), "entitlements": ENTITLEMENTS}},
}


@pytest.mark.parametrize("seed", range(3))
def test_used_is_what_is_billed(client: httpx2.Client, engine: Engine, settings: Settings, seed: int) -> None:
    random = Random(seed)
    _sell(client)
    sent = _day(client, random)
    _correct_some(client, random, sent)
    billed = {(line["customer"], line["meter"]): line["quantity"] for line in lines_of(client, rate(client))}
    found = {(f"c{n}", feature): _used(engine, f"s{n}", feature) for n in range(len(ZONES)) for feature in FEATURES}
    assert found == {(key, feature): Decimal(billed.get((key, FEATURES[feature]), "0")) for key, feature in found}
    assert len(set(found.values())) > len(METERS)
    compared = client.get("/v1/quota/comparison").json()
    assert (compared["different"], compared["compared"] >= len(found)) == (0, True)
    engine.close()
    again = Engine.open(settings, now=lambda: NOW)
    assert {pair: _used(again, f"s{pair[0][1:]}", pair[1]) for pair in found} == found
    again.close()


def _sell(client: httpx2.Client) -> None:
    assert client.put("/v1/catalog", json=CATALOG).status_code == 200
    for number, zone in enumerate(ZONES):
        customer = {"subjects": [f"s{number}", f"other-{number}"], "time_zone": zone}
        assert client.put(f"/v1/customers/c{number}", json=customer).status_code == 200
        term = {"customer": f"c{number}", "plan": "all", "starts_at": "2026-01-01T00:00:00Z"}
        assert client.put(f"/v1/subscriptions/c{number}", json=term).status_code == 200


def _day(client: httpx2.Client, random: Random) -> list[dict[str, Any]]:
    """Groups of events around the beginning of October, of which some are sent again with later ones."""
    sent: list[dict[str, Any]] = []
    for group in range(6):
        events = [_event(random, f"{group}-{number}") for number in range(random.randint(0, 25))]
        again = random.sample(sent, min(len(sent), 5))
        assert post(client, *events, *again).json()["duplicates"] == len(again)
        sent += events
    return sent


def _event(random: Random, key: str) -> dict[str, Any]:
    number, minute = random.randrange(len(ZONES) + 1), random.randrange(48 * 60)
    subject = random.choice([f"s{number}", f"other-{number}"])
    data = {"model": random.choice(["big", "small"]), "input_tokens": random.choice([0, 7, 50, "0.000000001", 99.5])}
    day, hour = ("2026-09-30", "2026-10-01")[minute // 1440], minute % 1440 // 60
    return event(key, subject=subject, time=f"{day}T{hour:02d}:{minute % 60:02d}:00Z", data=data)


def _correct_some(client: httpx2.Client, random: Random, sent: list[dict[str, Any]]) -> None:
    named = [one["id"] for one in random.sample(sent, 10)]
    voids, replacements = (void(key) for key in named[:5]), (replacement(key, f"r-{key}", 3) for key in named[5:])
    answer = correct(client, *voids, *replacements).json()
    assert answer["accepted"] == 10, answer


def _used(engine: Engine, subject: str, feature: str) -> Decimal:
    used = engine.quota.check(subject, feature, Decimal(0), NOW).used
    assert used is not None
    return used
