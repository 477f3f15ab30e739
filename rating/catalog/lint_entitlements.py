"""What entitlements say that hardly comes about: levels that nothing reaches, orders that a name decides, windows of
plans that do not go together."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import combinations

from rating.catalog.entitlements import Entitlement, QuotaWindow
from rating.catalog.findings import Finding, warning
from rating.catalog.literals import decimal_text
from rating.catalog.model import Catalog, Plan
from rating.catalog.policies import ALL
from rating.catalog.problems import listed, show


def entitlement_findings(catalog: Catalog) -> Iterator[Finding]:
    """The findings in what every plan gives, and between plans that give the same feature."""
    for key, plan in catalog.plans.items():
        for feature, given in plan.entitlements.items():
            path = f"plans.{key}.entitlements.{feature}"
            yield from _thresholds(path, given, _more_allowed(plan, feature))
            yield from _burn_order(path, given)
    for feature in catalog.features:
        yield from _windows(catalog.plans, feature)


def _more_allowed(plan: Plan, feature: str) -> Decimal:
    """What policies of the plan allow above the limit."""
    of_it = (one for one in plan.policies if {feature, ALL} & {*(one.features or (one.feature,))})
    return max((one.do.allow_overage for one in of_it if one.do.allow_overage is not None), default=Decimal(0))


def _thresholds(path: str, given: Entitlement, more_allowed: Decimal) -> Iterator[Finding]:
    """Thresholds above all that may be used. Grants raise the limit, so that where a plan has some any may be met."""
    if not isinstance(given.limit, Decimal) or given.enforcement.is_ == "soft" or given.grants:
        return
    most = given.limit + (given.enforcement.grace or Decimal(0)) + more_allowed
    for index, threshold in enumerate(given.thresholds):
        level = given.limit * int(threshold[:-1]) / 100 if threshold.endswith("%") else Decimal(threshold)
        if level > most:
            message = (
                f"No more than {decimal_text(most)} may be used: only events that nobody asked for come to "
                f"{decimal_text(level)}."
            )
            cure = "Lower it, or make the limit `soft` or give it more `grace`."
            yield warning("threshold_above_limit", f"{path}.thresholds[{index}]", show(threshold), message, cure)


def _burn_order(path: str, given: Entitlement) -> Iterator[Finding]:
    """Grants that begin and end together, of which one keeps or renews what the other does not."""
    for (left, one), (right, other) in combinations(sorted(given.grants.items()), 2):
        begin_together = (one.priority, one.lasts) == (other.priority, other.lasts)
        if begin_together and (one.recurs, one.rollover) != (other.recurs, other.rollover):
            message = f"It has the priority and the end of `{left}`, so that their keys decide which is burnt first."
            cure = "Give the one that is to be burnt first a smaller `priority`."
            yield warning("priority_tie", f"{path}.grants.{right}.priority", show(str(other.priority)), message, cure)


def _windows(plans: Mapping[str, Plan], feature: str) -> Iterator[Finding]:
    """Plans whose limits count in other windows: added up, all count in the window of one of them."""
    by_window: dict[str, list[str]] = {}
    for key, plan in plans.items():
        given = plan.entitlements.get(feature)
        if given is not None and isinstance(given.limit, Decimal):  # without a limit a window decides nothing
            by_window.setdefault(_shown(given.window), []).append(key)
    if len(by_window) > 1:
        said = listed([f"{', '.join(keys)}: {window}" for window, keys in by_window.items()], "and")
        message = (
            f"Plans count it in other windows ({said}). Where two of them are in force for a customer, one as an "
            "add-on, their limits are added up in the window of the plan that was there first."
        )
        cure = "Let plans that go together have one window, or give the add-on `grants` instead of a limit."
        yield warning("windows_differ", f"features.{feature}", "", message, cure)


def _shown(window: QuotaWindow) -> str:
    said = window.model_dump(mode="json", exclude_defaults=True)
    return ", ".join(str(value) if name == "calendar" else f"{name} {value}" for name, value in said.items())
