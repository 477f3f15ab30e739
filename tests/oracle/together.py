"""Prices whose lines depend on each other: matrices, groups, shared allowances, capacity, days by themselves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from typing import Any

from tests.oracle import chain, event_rounding, tiers
from tests.oracle.arithmetic import EXACT, units
from tests.oracle.counting import Counted, Numbers, total
from tests.oracle.models import amount_of

NOTHING = Decimal(0)
LineKey = tuple[str | None, str]  # meter, group
Counts = Mapping[LineKey, list[Counted]]
Amounts = dict[LineKey, Decimal]


def amounts(price: Any, numbers: Numbers, lines: Counts, day_of: Callable[[Counted], Any]) -> Amounts:
    """What each line of one version of a price comes to; `day_of` is the customer's day of an event."""
    if price["model"] == "chain":
        return chain.amounts(numbers, lines, day_of)
    if price["model"] == "allowance":
        return _allowance(price, numbers, lines, day_of)
    if price["model"] == "capacity":
        return _capacity(numbers, lines)
    found = dict.fromkeys(lines, NOTHING)
    for part in _days(lines, day_of) if price.get("rate_each") == "day" else [lines]:
        for key, amount in _part(price, numbers, part).items():
            found[key] = EXACT.add(found[key], amount)
    return found


def _part(price: Any, numbers: Numbers, lines: Counts) -> Amounts:
    """Of usage that is priced at once."""
    if price["model"] == "weighted_matrix":
        quantities = {key: EXACT.multiply(total(own), factor(numbers, key)) for key, own in lines.items()}
        return _filling(numbers, numbers.get("mode", "graduated"), quantities, cell_order(price))
    if price.get("groups") == "together":
        found: Amounts = {}
        for meter in {meter for meter, _ in lines}:
            quantities = {key: total(own) for key, own in lines.items() if key[0] == meter}
            found |= _filling(numbers, price["model"], quantities, lambda key: key[1])
        return found
    if price.get("groups") == "largest":
        return {key: _largest(price, numbers, lines, key) for key in lines}
    return {key: _alone(price, numbers, key, own) for key, own in lines.items()}


def _alone(price: Any, numbers: Numbers, key: LineKey, counted: Sequence[Counted]) -> Decimal:
    if price["model"] == "matrix":
        amount = _of_cell(numbers, key)["unit_amount"]
        return units(total(counted), amount, numbers.get("per", 1))
    if price["model"] == "blocks":
        return _blocks(numbers, total(counted))
    if price.get("rounding_place") == "event":
        return event_rounding.amount_of(price, numbers, counted)
    return amount_of(price["model"], numbers, counted)


def _of_cell(numbers: Numbers, key: LineKey) -> Any:
    """The cell of a line: the one that says most of its group, else the default."""
    group = chain.group_of(key)
    fitting = [cell for cell in numbers["cells"] if cell["match"].items() <= group.items()]
    return max(fitting, key=lambda cell: len(cell["match"]), default=numbers)


def factor(numbers: Numbers, key: LineKey) -> Decimal:
    return Decimal(_of_cell(numbers, key)["factor"])


def cell_order(price: Any) -> Callable[[LineKey], Any]:
    cells: list[Any] = []
    for version in price["versions"]:
        cells += [cell["match"] for cell in version["cells"] if cell["match"] not in cells]

    def place(key: LineKey) -> Any:
        group = chain.group_of(key)
        fitting = [(len(cell), -number) for number, cell in enumerate(cells) if cell.items() <= group.items()]
        return (-max(fitting)[1] if fitting else len(cells), key[1])

    return place


def _filling(numbers: Numbers, mode: str, quantities: Mapping[LineKey, Decimal], order: Callable[..., Any]) -> Amounts:
    """Lines that fill the tiers one after the other, or choose one tier together."""
    filled, found = NOTHING, {}
    everything = sum(quantities.values(), NOTHING)
    for key in sorted(quantities, key=order):
        quantity = quantities[key]
        if mode == "volume":
            tier = numbers["tiers"][tiers.tier_of(numbers["tiers"], everything)]
            flat = Decimal(tier.get("flat_amount", 0)) if quantity > 0 and filled == 0 else NOTHING
            found[key] = units(quantity, tier.get("unit_amount", 0), numbers.get("per", 1)) + flat
        else:
            row = chain.Row(key, None, None, {}, 1, quantity)
            found[key] = chain.charged({**numbers, "chain_tiers": numbers["tiers"], "tier_mode": mode}, row, filled)
        filled += max(quantity, NOTHING)
    return found


def _largest(price: Any, numbers: Numbers, lines: Counts, key: LineKey) -> Decimal:
    rivals = [other for other in lines if other[0] == key[0]]
    winner = max(sorted(rivals, key=lambda other: other[1]), key=lambda other: total(lines[other]))
    return _alone(price, numbers, key, lines[key] if key == winner else [])


def _blocks(numbers: Numbers, quantity: Decimal) -> Decimal:
    amount, start = NOTHING, NOTHING
    for tier in numbers["block_tiers"]:
        size, number = Decimal(tier["block_size"]), tier.get("blocks")
        end = max(quantity, start) if number is None else start + size * number
        is_its_tier = start < quantity <= end
        part = min(quantity, end) - start if numbers.get("mode") != "volume" else quantity if is_its_tier else NOTHING
        if part > 0:
            amount += (part / size).to_integral_value(ROUND_CEILING) * Decimal(tier["amount"])
        start = end
    return amount


def _capacity(numbers: Numbers, lines: Counts) -> Amounts:
    steps = numbers["capacity_tiers"]
    due: Amounts = {}
    for key, counted in lines.items():
        fitting = [tier for tier in steps if _holds(tier.get("up_to"), key[0], total(counted))]
        due[key] = Decimal(fitting[0]["amount"])
    found = dict.fromkeys(lines, NOTHING)
    for group in {group for _, group in lines}:
        own = [key for key in sorted(lines, key=str) if key[1] == group]
        dearest = max(own, key=lambda key: due[key])
        found[dearest] = due[dearest]
    return found


def _holds(limit: Any, meter: str | None, quantity: Decimal) -> bool:
    bound = limit.get(meter) if isinstance(limit, dict) else limit
    return bound is None or quantity <= Decimal(bound)


def _allowance(price: Any, numbers: Numbers, lines: Counts, day_of: Callable[[Counted], Any]) -> Amounts:
    by_day = numbers.get("every") == "day" or price.get("rate_each") == "day"
    left: dict[LineKey, list[Decimal]] = {key: [] for key in lines}
    for part in _days(lines, day_of) if by_day else [lines]:
        used = NOTHING
        for key in sorted(part, key=lambda key: (key[1], str(key[0]))):
            quantity = total(part[key])
            free = min(max(Decimal(numbers["included"]) - used, NOTHING), max(quantity, NOTHING))
            left[key].append(quantity - free)
            used += max(quantity, NOTHING) if numbers.get("shared") else NOTHING
    parts = left if price.get("rate_each") == "day" else {key: [sum(rows, NOTHING)] for key, rows in left.items()}
    return {key: sum((_above(numbers, row) for row in rows), NOTHING) for key, rows in parts.items()}


def _above(numbers: Numbers, quantity: Decimal) -> Decimal:
    if "unit_amount" in numbers:
        return units(quantity, numbers["unit_amount"], numbers.get("per", 1))
    by_tiers = tiers.in_one_tier if numbers.get("mode") == "volume" else tiers.tier_by_tier
    return by_tiers(numbers, quantity)


def _days(lines: Counts, day_of: Callable[[Counted], Any]) -> list[Counts]:
    """The lines of each day by themselves."""
    days: dict[Any, dict[LineKey, list[Counted]]] = {}
    for key, counted in lines.items():
        for event in counted:
            days.setdefault(day_of(event), {}).setdefault(key, []).append(event)
    return [days[day] for day in sorted(days)]


def less(counted: Sequence[Counted], free: Decimal) -> list[Counted]:
    """The events without the first `free` units of them, in the order of time."""
    found = []
    for event in sorted(counted, key=lambda one: (one.time, one.place)):
        taken = min(free, max(event.quantity, NOTHING))
        found.append(replace(event, quantity=event.quantity - taken))
        free -= taken
    return found
