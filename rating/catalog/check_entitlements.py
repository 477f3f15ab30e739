"""The checks of entitlements: that each is one kind of thing and says all that this kind needs and nothing else."""

from collections.abc import Iterator

from rating.catalog.check_meters import not_event_by_event
from rating.catalog.entitlements import HARD, UNLIMITED, Entitlement, QuotaWindow, Rollover
from rating.catalog.model import Catalog
from rating.catalog.problems import Problem, listed, show
from rating.core.quota.windows import steps

_METERED = ("window", "enforcement", "overage", "rollover", "priority", "shared", "thresholds", "grants")


def check_entitlements(catalog: Catalog) -> Iterator[Problem]:
    """The problems of what every plan gives, of features that there are."""
    for plan, terms in catalog.plans.items():
        yield from _check_credits(catalog, plan)
        for key, given in terms.entitlements.items():
            path = f"plans.{plan}.entitlements.{key}"
            yield from _check_kind(path, given)
            if given.kind == "metered":
                yield from _check_meter(catalog, path, key)
                yield from check_window(f"{path}.window", given.window)
                yield from _check_limit(path, given)
                yield from _check_rollovers(path, given)


def _check_credits(catalog: Catalog, plan: str) -> Iterator[Problem]:
    """Credits pay usage: their features have meters."""
    for key, credit in catalog.plans[plan].credits.items():
        for name in credit.features:
            if name in catalog.features and catalog.features[name].meter is None:
                path, message = f"plans.{plan}.credits.{key}.features", f"The feature `{name}` has no meter."
                yield Problem(path, show(name), message, "Add a `meter` to the feature, or remove it here.")


def _check_kind(path: str, given: Entitlement) -> Iterator[Problem]:
    said = {"included": given.included, "value": given.value, "limit": given.limit}
    kinds = [name for name, value in said.items() if value is not None]
    if not kinds:
        cure = 'Add `limit: "1000000"`, or null for no limit; of a feature that is there or not, write true.'
        yield Problem(f"{path}.limit", "", "`limit` is missing.", cure)
    elif len(kinds) > 1:
        yield Problem(path, "", f"An entitlement has one of {listed(kinds, 'and')}.", "Keep one of them.")
    elif given.kind != "metered":
        defaults = Entitlement.model_validate({})
        for name in _METERED:
            if getattr(given, name) != getattr(defaults, name):
                message = f"Only an entitlement with a limit has `{name}`."
                yield Problem(f"{path}.{name}", "", message, "Remove it, or write a `limit`.")


def _check_meter(catalog: Catalog, path: str, key: str) -> Iterator[Problem]:
    """A limit counts event by event."""
    feature = catalog.features.get(key)
    if feature is None:
        return
    if feature.meter is None:
        message = f"A limit counts usage, and the feature `{key}` has no meter."
        yield Problem(path, "", message, "Add a `meter` to the feature, or write true or a `value`.")
        return
    meter = catalog.meters.get(feature.meter)
    if meter is not None and (why := not_event_by_event(meter)):
        message = f"A limit counts event by event, and the meter `{feature.meter}` {why}."
        yield Problem(path, "", message, "Let the feature name a meter that counts or sums, as it is.")


def check_window(path: str, window: QuotaWindow) -> Iterator[Problem]:
    """The problems of a window with itself."""
    given = [name for name in ("calendar", "every", "rolling") if getattr(window, name) is not None]
    if len(given) != 1:
        yield Problem(path, "", "A window has one of `calendar`, `every` and `rolling`.", "Give exactly one of them.")
        return
    if given == ["rolling"]:
        yield from _check_steps(path, window)
    elif window.step is not None:
        yield Problem(f"{path}.step", show(window.step), "Only a rolling window has steps.", "Remove it.")
    if window.calendar is not None and window.anchor is not None:
        message = "The calendar says where its windows begin."
        yield Problem(f"{path}.anchor", "", message, "Remove it, or write `every` with an interval.")
    if window.calendar in ("billing", "lifetime") and window.time_zone is not None:
        message = f"The time zone of the customer says where `{window.calendar}` begins."
        yield Problem(f"{path}.time_zone", show(window.time_zone), message, "Remove it.")


def _check_steps(path: str, window: QuotaWindow) -> Iterator[Problem]:
    if window.step is None:
        cure = "Add `step`, such as a sixtieth of it: `{rolling: 1h, step: 1m}`."
        yield Problem(f"{path}.step", "", "A rolling window moves in steps.", cure)
        return
    try:
        steps(window.rule())
    except ValueError as error:
        message = f"{str(error)[:1].upper()}{str(error)[1:]}."
        yield Problem(f"{path}.step", show(window.step), message, "Write a step of which 1 to 366 are the whole.")


def _check_limit(path: str, given: Entitlement) -> Iterator[Problem]:
    grace = given.enforcement.grace
    if grace is not None and given.enforcement.is_ == "soft":
        message = "Above a soft limit anything is allowed: there is nothing to grant grace for."
        yield Problem(f"{path}.enforcement", "", message, "Keep one of `soft` and `grace`.")
    if given.limit != UNLIMITED:
        return
    said = {
        "enforcement": given.enforcement != HARD,
        "overage": given.overage == "carry",
        "rollover": given.rollover is not None,
        "shared": given.shared,
        "grants": bool(given.grants),
    }
    for name in (name for name, is_said in said.items() if is_said):
        message = f"Without a limit, `{name}` says nothing."
        yield Problem(f"{path}.{name}", "", message, "Remove it, or write a `limit`.")
    for index, threshold in enumerate(given.thresholds):
        if threshold.endswith("%"):
            message = "There is no limit that this could be a part of."
            yield Problem(f"{path}.thresholds[{index}]", show(threshold), message, "Write an amount.")


def _check_rollovers(path: str, given: Entitlement) -> Iterator[Problem]:
    goes_on = {"overage": given.overage == "carry", "rollover": given.rollover is not None}
    never_ends = given.window.rolling is not None or given.window.calendar == "lifetime"
    for name in (name for name, is_said in goes_on.items() if is_said and never_ends):
        message = "Such a window never ends, so that nothing goes into the next."
        yield Problem(f"{path}.{name}", "", message, "Remove it, or take another window.")
    lasting = {"grants": bool(given.grants), **({} if never_ends else goes_on)}
    for name in (name for name, is_said in lasting.items() if is_said and given.window.is_short):
        message = "Nothing goes from one window into the next where these are shorter than a day."
        yield Problem(f"{path}.{name}", "", message, "Remove it, or count days.")
    yield from _check_bounds(f"{path}.rollover", given.rollover)
    for key, grant in given.grants.items():
        yield from _check_bounds(f"{path}.grants.{key}.rollover", grant.rollover)


def _check_bounds(path: str, rollover: Rollover | None) -> Iterator[Problem]:
    if rollover is not None and rollover.minimum > rollover.maximum:
        yield Problem(f"{path}.minimum", show(str(rollover.minimum)), "It is above `maximum`.", "Correct one of them.")
