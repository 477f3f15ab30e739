"""The plans of the quota machine (test_quota_machine.py), as its model has them and as a catalog."""

from datetime import UTC, datetime
from typing import Any

ZONE = "Europe/Madrid"
BEGIN = datetime(2026, 10, 24, 21, 30, tzinfo=UTC)  # half an hour before the day of 25 hours
AGREED_AT = datetime(2026, 10, 23, 8, tzinfo=UTC)
ANCHOR = datetime(2026, 8, 31, 9, tzinfo=UTC)  # billed from the last of each month on
METERS = {
    "calls": "a", "daily": "a", "hourly": "b", "rolling": "b", "life": "c", "roll": "c", "team": "d"
}  # fmt: skip
GRANTED = ["life", "roll", "team"]
GOING_ON = ["life", "roll"]  # by plans, into the next window or beside it: no window of hours may stand in
SMALL: dict[str, dict[str, Any]] = {
    "calls": {"limit": 60, "window": "month"},
    "daily": {"limit": 25, "window": "day", "enforcement": "grace", "grace": 5, "thresholds": ["50%"]},
    "hourly": {"limit": 10, "window": "hour", "enforcement": "soft", "thresholds": ["80%", "150%", "12"]},
    "rolling": {"limit": 30, "window": "rolling"},
    "life": {"limit": 15, "window": "lifetime", "thresholds": ["75%"], "welcome": {"amount": 5, "days": 3}},
    "roll": {"limit": 12, "window": "billing", "rollover": (2, 8), "carry": True},
    "team": {"limit": 40, "window": "month", "shared": True, "thresholds": ["50%"]},
}
BIG = {
    **{feature: {**given, "limit": 2 * given["limit"]} for feature, given in SMALL.items()},
    "hourly": {"limit": 20, "window": "day", "enforcement": "soft", "thresholds": ["80%"]},
    "rolling": {"limit": None, "window": "rolling"},
}
LATER = {  # of the second catalog
    "small": {**SMALL, "calls": {"limit": 45, "window": "month"}, "roll": {"limit": 5, "window": "month"}},
    "big": {feature: given for feature, given in BIG.items() if feature != "daily"},
}
CATALOGS = [{"small": SMALL, "big": BIG}, LATER]
POLICIES = [
    {"on": "exhausted", "feature": "team", "do": "suspend", "features": ["hourly"]},
    {"on": "threshold", "at": "50%", "feature": "daily", "do": "suspend", "features": ["rolling"], "until": "manual"},
]
SUBJECTS = ["a1", "a2", "g1"]
RULES = {"rolling": {"rolling": "1d", "step": "6h"}}


def written(plans: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The catalog of some plans."""
    meters = {m: {"event_type": m, "aggregation": "sum", "property": "n"} for m in set(METERS.values())}
    policies = {name: POLICIES if "daily" in given else POLICIES[:1] for name, given in plans.items()}
    made = {
        name: {
            "currency": "USD",
            "policies": policies[name],
            "entitlements": {f: _entitlement(given[f]) for f in given},
        }
        for name, given in plans.items()
    }
    known = {f: {"meter": meter} for f, meter in METERS.items()}
    return {"tallystick": 1, "currencies": ["USD"], "meters": meters, "features": known, "plans": made}


def _entitlement(given: dict[str, Any]) -> dict[str, Any]:
    limit = None if given["limit"] is None else str(given["limit"])
    made: dict[str, Any] = {"limit": limit, "window": RULES.get(given["window"], given["window"])}
    if "enforcement" in given:
        made["enforcement"] = {"grace": str(given["grace"])} if "grace" in given else given["enforcement"]
    if "rollover" in given:
        low, high = given["rollover"]
        made["rollover"] = {"minimum": str(low), "maximum": str(high)}
    if "welcome" in given:
        welcome = {"amount": str(given["welcome"]["amount"]), "lasts": f"{given['welcome']['days']}d", "priority": 10}
        made["grants"] = {"welcome": welcome}
    made |= {"overage": "carry"} if given.get("carry") else {}
    return made | {name: given[name] for name in ("thresholds", "shared") if name in given}
