"""One spelling for every meaning: the canonical document of a catalog, its JSON and its version.

A document comes in as the model dumps it: scalars already in canonical text, defaults left out. Here goes what one
field alone cannot see: sets get an order, spellings that stand for others and numbers that repeat inherited ones go.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from rating.catalog.entitlements import canonical_entitlement
from rating.catalog.policies import canonical_policy

Document = dict[str, Any]


def canonical_document(dumped: Document) -> Document:
    """The document with one spelling for each meaning. Changes `dumped`, and returns it."""
    dumped["currencies"].sort()
    for meter in dumped.get("meters", {}).values():
        _canonical_meter(meter)
    for price in dumped.get("prices", {}).values():
        _canonical_price(price)
    for plan in dumped.get("plans", {}).values():
        _sort(plan, "prices")
        for allowance in plan.get("allowances", {}).values():
            _canonical_window(allowance.get("window", {}))
        for entitlement in plan.get("entitlements", {}).values():
            canonical_entitlement(entitlement)
        for policy in plan.get("policies", []):
            canonical_policy(policy)
        for credit in plan.get("credits", {}).values():
            _sort(credit, "features", "meters", "prices")
    return {section: content for section, content in dumped.items() if content != {}}


def _sort(part: Document, *fields: str) -> None:
    for field in fields:
        if field in part:
            part[field].sort()


def _canonical_meter(meter: Document) -> None:
    _sort(meter, "add", "subtract", "group_by", "series_by")
    for rules in (meter.get("filters", []), *meter.get("exclude", [])):
        for condition in rules:
            _canonical_filter(condition)
        rules.sort(key=canonical_json)
    meter.get("exclude", []).sort(key=canonical_json)
    if "removed_when" in meter:
        _canonical_filter(meter["removed_when"])
    if meter.get("carried") is (meter["aggregation"] in ("time_weighted", "rate_of_change")):
        del meter["carried"]
    if meter.get("time_unit") == {"time_weighted": "hour", "weighted_sum": "period"}.get(meter["aggregation"]):
        meter.pop("time_unit", None)


def _canonical_filter(condition: Document) -> None:
    if "equals" in condition:
        condition["in"] = [condition.pop("equals")]
    _sort(condition, "in", "not_in")


def _canonical_price(price: Document) -> None:
    _sort(price, "meters", "group_by")
    if len(price.get("meters", ())) == 1:
        [price["meter"]] = price.pop("meters")
    if "window" in price:
        price.pop("on_change", None)  # within a window everything goes on
        _canonical_window(price["window"])
    for version in price["versions"]:
        version.get("time_of_day", []).sort(key=lambda window: window["from"])
        for rate in _rates(version):
            for tier in rate.get("tiers", []):
                _canonical_tier(tier)
            if rate.get("per") == 1 and rate is version:
                del rate["per"]
        if price["model"] != "chain":  # its windows say all of their own
            _drop_inherited(version)


def _canonical_window(window: Document) -> None:
    if window.get("interval") == "quarter":
        window.update(interval="month", intervals=3 * window.get("intervals", 1))


def _rates(version: Document) -> Iterator[Document]:
    yield version
    yield from _windows(version)


def _windows(version: Document) -> list[Document]:
    return [*version.get("time_of_day", []), *version.get("bands", [])]


def _canonical_tier(tier: Document) -> None:
    tier.pop("from", None)  # checked to be the bound of the tier before
    if tier.keys().isdisjoint({"percent", "amount"}):
        tier.setdefault("unit_amount", "0")
    if tier.get("flat_amount") == "0":
        del tier["flat_amount"]


def _drop_inherited(version: Document) -> None:
    inherited = {"per": version.get("per", 1), "size": version.get("size")}
    for window in _windows(version):
        for field, value in inherited.items():
            if field in window and window[field] == value:
                del window[field]


def canonical_json(document: Document) -> bytes:
    """The document as UTF-8 JSON: keys sorted, no space."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def content_version(canonical: bytes) -> str:
    """The name of a catalog's content."""
    return f"cat_{hashlib.sha256(canonical).hexdigest()[:16]}"
