"""The checks of policies: that each says one thing, of a level that there is, and names what there is."""

from collections.abc import Iterator
from decimal import Decimal

from rating.catalog.entitlements import Entitlement
from rating.catalog.left_out import LeftOut
from rating.catalog.model import Catalog
from rating.catalog.policies import ALL, EXHAUSTED, Policy
from rating.catalog.problems import Problem, listed, show


def check_policies(catalog: Catalog, left_out: LeftOut) -> Iterator[Problem]:
    """The problems of the policies of every plan."""
    for plan, terms in catalog.plans.items():
        for index, policy in enumerate(terms.policies):
            path = f"plans.{plan}.policies[{index}]"
            yield from _check_action(path, policy, catalog, left_out)
            for name in policy.features:
                if name != ALL and name not in catalog.features and not left_out.covers("features", name):
                    yield left_out.unknown(f"{path}.features", "feature", name, catalog.features)
            entitlement = terms.entitlements.get(policy.feature)
            if entitlement is None or not isinstance(entitlement.limit, Decimal):
                cure = "Name one of the plan's entitlements that has a limit."
                yield Problem(f"{path}.feature", show(policy.feature), "The plan gives no limit of this feature.", cure)
            else:
                yield from _check_level(path, policy, entitlement, catalog)


def _check_action(path: str, policy: Policy, catalog: Catalog, left_out: LeftOut) -> Iterator[Problem]:
    given = [name for name in ("suspend", "restrict", "allow_overage") if getattr(policy.do, name) is not None]
    if len(given) != 1:
        message = "A policy does one of `suspend`, `restrict` and `allow_overage`."
        yield Problem(f"{path}.do", "", message, "Give exactly one of them.")
    plan = policy.do.restrict
    if plan is not None and plan not in catalog.plans and not left_out.covers("plans", plan):
        yield left_out.unknown(f"{path}.do.restrict", "plan", plan, catalog.plans)


def _check_level(path: str, policy: Policy, entitlement: Entitlement, catalog: Catalog) -> Iterator[Problem]:
    if policy.on != "threshold" and policy.at is not None:
        is_exhausted = policy.on == "exhausted"
        message = "Exhausted is at 100% of the limit." if is_exhausted else "Only a threshold is at a level."
        yield Problem(f"{path}.at", show(policy.at), message, "Remove it, or write `on: threshold`.")
    elif policy.on == "anomaly" and catalog.features[policy.feature].anomaly is None:
        message = f"The feature `{policy.feature}` does not say what an anomaly is, so nothing would happen."
        yield Problem(f"{path}.on", "anomaly", message, "Add `anomaly` to the feature.")
    elif policy.on == "threshold" and policy.at is None:
        cure = f"Add `at`: {listed(entitlement.thresholds)}." if entitlement.thresholds else "Add `thresholds` to it."
        yield Problem(f"{path}.at", "", "Which threshold is missing.", cure)
    elif policy.on == "threshold" and policy.level not in (*entitlement.thresholds, EXHAUSTED):
        message = f"The entitlement of `{policy.feature}` has no such threshold, so nothing would happen."
        yield Problem(f"{path}.at", show(policy.at), message, "Add it to `thresholds` there.")
    if policy.until == "reset" and entitlement.window.calendar == "lifetime":
        message = "A lifetime never ends, so that this would never end."
        yield Problem(f"{path}.until", "reset", message, "Write `until: manual`.")
