"""The numbers of a price that may be tried otherwise: found in the canonical document, and put back into it."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from rating.catalog import Catalog
from rating.core.money import plain
from store.customers import refuse

FIELDS = ("unit_amount", "amount", "flat_amount", "percent", "basis_points", "up_to", "package_size", "free_units")
LENGTH_MAX = 40
Steps = tuple[str | int, ...]


@dataclass(frozen=True)
class Knob:
    """A number of the newest version of a price. `name` says where it is in the document; `value` is exact."""

    name: str
    price: str
    label: str
    value: str
    field: str
    steps: Steps

    @property
    def largest(self) -> str:
        """How far its slider goes."""
        return plain(Decimal(self.value) * 2 or Decimal(1))

    @property
    def step(self) -> str:
        """How far its slider goes at once: a hundredth of the value, whole for tier bounds that are."""
        value = Decimal(self.value)
        fine = value / 100 or Decimal("0.01")
        is_whole = self.field in ("up_to", "package_size", "free_units") and value == value.to_integral_value()
        return plain(max(fine.to_integral_value(), Decimal(1)) if is_whole else fine)


def knobs(catalog: Catalog, price: str) -> list[Knob]:
    """Those of a price, in the order of the document; none of an unknown one."""
    found = catalog.document().get("prices", {}).get(price)
    if not found:
        return []
    place = len(found["versions"]) - 1
    return [
        Knob(_name(price, steps), price, _label(steps), str(value), str(steps[-1]), ("prices", price, *steps))
        for steps, value in _numbers(found["versions"][place], ("versions", place))
    ]


def turned(catalog: Catalog, prices: Sequence[str], given: Mapping[str, str]) -> dict[str, Any]:
    """The document with the numbers that are `given` by the names of knobs of `prices`. Raises Refused."""
    document, problems = deepcopy(catalog.document()), []
    for knob in (each for price in prices for each in knobs(catalog, price)):
        text = given.get(knob.name, "").strip()
        if text in ("", knob.value):
            continue
        if not _is_number(text):
            problems.append(f"{knob.price}, {knob.label}: {text[:80]!r} is no plain decimal number")
            continue
        part: Any = document
        for step in knob.steps[:-1]:
            part = part[step]
        part[knob.steps[-1]] = text
    refuse(problems)
    return document


def _numbers(part: Any, steps: Steps) -> Iterator[tuple[Steps, Any]]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key in FIELDS and isinstance(value, str | int) and _is_number(str(value)):
                yield (*steps, key), value
            else:
                yield from _numbers(value, (*steps, key))
    elif isinstance(part, list):
        for place, value in enumerate(part):
            yield from _numbers(value, (*steps, place))


def _is_number(text: str) -> bool:
    try:
        return len(text) <= LENGTH_MAX and Decimal(text).is_finite() and "e" not in text.lower()
    except InvalidOperation:
        return False


def _name(price: str, steps: Steps) -> str:
    return "|".join(["prices", price, *map(str, steps)])


def _label(steps: Steps) -> str:
    """Like `tier 2, unit amount`."""
    words = []
    for step, behind in zip(steps[2:], [*steps[3:], None], strict=True):
        if isinstance(step, str):
            word = {"tiers": "tier", "time_of_day": "time of day", "bands": "band"}.get(step, step.replace("_", " "))
            words.append(f"{word} {behind + 1}" if isinstance(behind, int) else word)
    return ", ".join(words).capitalize()
