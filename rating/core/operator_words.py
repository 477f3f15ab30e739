"""The operators of a chain in words: what each made of a quantity or an amount."""

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from rating.core.about import SharedAllowance, window_words
from rating.core.book import Step, Together
from rating.core.money import plain

Numbers = Mapping[str, str]
Operation = Mapping[str, Any]

TOGETHER: dict[Together, str] = {
    "group": "all lines of the group",
    "meter": "all groups of the meter",
    "meter_by_day": "all groups of the meter",
    "price": "all lines of the price",
    "price_by_day": "all lines of the price",
    "bands": "all bands of the price",
    "event": "all parts of an event",
}
"""The rows that share an allowance or tiers; each line has its own where that is not said."""


def worded(operation: Operation, unit: str, step: Step | None, allowance: SharedAllowance | None) -> str:
    """What the operator did to its number, to be done again by hand. `unit` is that of the number, if it has one;
    `step` is the operator's own, where it is known."""
    numbers = json.loads(operation["numbers"] or "{}")
    begun = plain(operation["before"]) + (f" {unit}" if unit else "")
    if operation["operator"] == "allow":
        return _allowed(begun, operation, numbers, step, allowance)
    if operation["operator"] == "credit":
        return f"{begun} less {_taken(operation)} that prepaid credits paid"
    if operation["operator"] == "tier":
        return ", ".join([begun, *_tiered(numbers)])
    if operation["operator"] == "partition":
        return f"{begun}, {_partitioned(operation, step)}"
    if operation["operator"] == "prorate":
        return f"{begun} x {served_part(numbers)}"
    words = "".join(_WORDS[operation["operator"]](numbers)).removeprefix(",").strip()
    if operation["level"] != "line":
        return f"{begun} in all, of each {operation['level']}: {words}"
    joined = " " if words[:1] in "x/+-" else ", "
    less = ", not less than nothing" if _is_cut(operation, numbers) else ""
    return f"{begun}{joined}{words}{less}"


def _tiered(numbers: Numbers) -> Iterator[str]:
    if "served" in numbers:
        yield f"in tiers whose bounds and flat amounts are x {served_part(numbers)}"
    if "window" in numbers:
        window = window_words(numbers["window"])
        is_first = numbers["earlier"] == "0"
        yield f"the first of the {window}" if is_first else f"behind {numbers['earlier']} of the same {window}"


def served_part(numbers: Numbers) -> str:
    """The part of the period that is served: 17 / 31 days of the period."""
    exponent, counted = (-6, "seconds") if numbers["by"] == "seconds" else (0, "days")
    served, whole = (plain(Decimal(numbers[name]).scaleb(exponent)) for name in ("served", "whole"))
    return f"{served} / {whole} {counted} of the period"


def _taken(operation: Operation) -> str:
    return plain(operation["before"] - operation["after"])


def _is_cut(operation: Operation, numbers: Numbers) -> bool:
    taken = Decimal(numbers.get("fixed", "0"))
    return bool(operation["operator"] == "compose" and operation["after"] == 0 and operation["before"] + taken < 0)


def _allowed(
    begun: str, operation: Operation, numbers: Numbers, step: Step | None, allowance: SharedAllowance | None
) -> str:
    taken = f"{begun} less {_taken(operation)} included"
    if not numbers or (step is not None and step.together == "plan"):
        return f"{taken} {_of_plan(allowance, numbers)}"
    most = []
    if "units" in numbers:
        of_part = f" x {served_part({**numbers, 'by': numbers['prorate']})}" if "served" in numbers else ""
        used = f", {numbers['earlier']} of them used before" if "earlier" in numbers else ""
        most.append(f"up to {numbers['units']}{of_part}{used}")
    if "count" in numbers:
        most.append(f"all of the first {_events(int(numbers['count']))}")
    while_both = "while either lasts" if numbers.get("either") == "true" else "while both last"
    said = f"{' and '.join(most)}, {while_both}" if len(most) > 1 else most[0]
    each = " each day" if operation["level"] == "day" else ""
    shared = f", shared by {TOGETHER[step.together]}" if step is not None and step.together in TOGETHER else ""
    return f"{taken}: {said}{each}{shared}"


def _of_plan(allowance: SharedAllowance | None, numbers: Numbers) -> str:
    if allowance is None:
        own = f": {numbers['units']}, {numbers['earlier']} of them used before" if numbers else ""
        return f"in an allowance of the plan{own}"
    prices = " and then ".join(allowance.prices)
    shared = f", shared by {prices}" if len(allowance.prices) > 1 else ""
    used = f", {numbers['earlier']} of them used before" if allowance.window is not None and numbers else ""
    part = f", {numbers['units']} for the part that is served" if allowance.by is not None and numbers else ""
    each = allowance.window or "period"
    said = f"in allowance {allowance.name} of the plan: {plain(allowance.units)} each {each}{part}{used}{shared}"
    if allowance.rollover_maximum:
        said += f", and up to {plain(allowance.rollover_maximum)} not used in the period before"
    own_units = Decimal(numbers.get("units", allowance.units))
    if allowance.rollover_maximum and allowance.used > own_units:
        said += f" (of {plain(allowance.used)} used in this one, {plain(allowance.used - own_units)} were from there)"
    return said


def _events(count: int) -> str:
    return f"{count} event{'' if count == 1 else 's'}"


def _partitioned(operation: Operation, step: Step | None) -> str:
    among = f" of {TOGETHER[step.together]}" if step is not None and step.together in TOGETHER else ""
    day = " of each day" if operation["level"] == "day" else ""
    if operation["level"] == "line" and operation["before"]:
        if operation["after"] == 0:
            return f"not the largest{among}: not charged"
        return f"the largest{among}: charged alone"
    return f"the largest{among}{day} only"


_CONVERTED = {"times_property": " x its {}", "instead_property": ", its {} instead", "factor": " x {}"}


def _weighted(numbers: Numbers) -> Iterator[str]:
    yield from (words.format(numbers[name]) for name, words in _CONVERTED.items() if name in numbers)
    if "divide_by" in numbers:
        yield f" / {numbers['divide_by']}"
    if "rounding" in numbers:
        yield {"up": ", a started one is whole", "down": ", whole ones only"}[numbers["rounding"]]
    if "first" in numbers:
        yield f", the first {numbers['first']} whole"
    if "increment" in numbers:
        yield f", {'then ' if 'first' in numbers else ''}in begun steps of {numbers['increment']}"
    if "increments" in numbers:
        starts, sizes = numbers["increments_from"].split(), numbers["increments"].split()
        for start, size in zip(starts, sizes, strict=True):
            kind = "exact" if size == "exact" else f"in begun increments of {size}"
            yield f", {kind}{'' if start == '0' else f' from {start} on'}"
    yield from _clamped(numbers)


def _clamped(numbers: Numbers) -> Iterator[str]:
    if "minimum" in numbers:
        yield f", at least {numbers['minimum']}"
    if "maximum" in numbers:
        yield f", at most {numbers['maximum']}"
    if "multiple" in numbers:
        yield f", rounded {numbers['rounding'].replace('_', ' ')} to multiples of {numbers['multiple']}"


def _composed(numbers: Numbers) -> Iterator[str]:
    if "percent" in numbers:
        above = f" of what is above {numbers['above']}" if "above" in numbers else ""
        yield f" {_signed(numbers['percent'])} %{above}"
    if "fixed" in numbers:
        yield f" {_signed(numbers['fixed'])}"


def _signed(number: str) -> str:
    return f"- {number[1:]}" if number.startswith("-") else f"+ {number}"


_WORDS: dict[str, Callable[[Numbers], Iterator[str]]] = {"weight": _weighted, "clamp": _clamped, "compose": _composed}
