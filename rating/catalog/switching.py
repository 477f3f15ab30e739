"""From one catalog to another on a date: what was charged before it stays as it was.

A price that both have gets the versions of the other from the date on, behind its own. That is only the same if nothing
else of it changes, and if no plan does: the versions of a price have dates, plans and meters have none. What is new is
taken over, for nothing is charged by it until a subscription is changed to it. Worked example: 0.01 a call, and 0.02 in
the other catalog: on 1 December it has two versions, the second from that day on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rating.catalog.literals import instant_text
from rating.catalog.model import Catalog
from rating.catalog.parsing import load_catalog

_VERSIONS, _FROM = "versions", "effective_from"
_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Switched:
    """The catalog that charges by both, or why there is none, a sentence each."""

    catalog: Catalog | None
    problems: tuple[str, ...] = ()


def switched(old: Catalog, new: Catalog, at: datetime) -> Switched:
    """`old` until `at`, and `new` from then on."""
    before, after = old.document(), new.document()
    problems = tuple(_problems(before, after))
    if problems:
        return Switched(None, problems)
    prices = {
        key: _price(before["prices"][key], price, at) if key in before.get("prices", {}) else price
        for key, price in after.get("prices", {}).items()
    }
    return Switched(load_catalog({**after, "prices": prices} if prices else after))


def _problems(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for section in ("meters", "prefixes", "plans", "prices"):
        for key, part in before.get(section, {}).items():
            other = after.get(section, {}).get(key)
            if other is None:
                yield f"{section}.{key} is gone: leave it in, and end what uses it"
            elif _without_versions(part) != _without_versions(other):
                yield f"{section}.{key} is another one, and has no dates: give the new one a key of its own"


def _without_versions(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name not in (_VERSIONS, "name")}


def _price(old: Mapping[str, Any], new: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """The price with the old versions until `at`, and the new ones from then on."""
    if old[_VERSIONS] == new[_VERSIONS]:
        return dict(new)
    kept = [version for version in old[_VERSIONS] if _begins(version) < at]
    in_force = [version for version in new[_VERSIONS] if _begins(version) <= at][-1:]
    later = [version for version in new[_VERSIONS] if _begins(version) > at]
    begun = [{**version, _FROM: instant_text(at.astimezone(UTC))} for version in in_force]
    return {**new, _VERSIONS: [*kept, *begun, *later]}


def _begins(version: Mapping[str, Any]) -> datetime:
    text = version.get(_FROM)
    return _EVER if text is None else datetime.fromisoformat(text)
