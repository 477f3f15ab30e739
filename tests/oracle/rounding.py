"""What is shown of the exact amounts: each line by itself, or parts of a sum that is rounded once."""

from collections.abc import Iterable, Mapping
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from tests.oracle.arithmetic import EXACT, MINOR_DIGITS, MODES
from tests.oracle.lines import Document, Key, Line, Period, Subscription, id_of
from tests.oracle.usage import served

Kind = tuple[int, str]  # digits, mode


def kind_of(price: Any) -> Kind:
    digits = price.get("rounding_digits")
    return MINOR_DIGITS[price["currency"]] if digits is None else digits, price.get("rounding") or "half_away_from_zero"


def to(amount: Decimal, kind: Kind) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-kind[0]), rounding=MODES[kind[1]], context=EXACT)


def show(
    document: Document, lines: Mapping[Key, Line], subscriptions: Iterable[Subscription], month: str | Period
) -> None:
    by_key = {subscription.key: subscription for subscription in subscriptions}
    sums: dict[Any, list[tuple[str, Line]]] = {}
    for key, line in lines.items():
        price = document["prices"][key[1]]
        kind, place = kind_of(price), price.get("rounding_place", "line")
        line.rounded = to(line.amount, kind)
        if place in ("price", "subscription"):
            whole = (place, key[0], key[1] if place == "price" else price["currency"], kind)
            sums.setdefault(whole, []).append(
                (id_of(key, by_key[key[0]], month, served(by_key[key[0]], month)[0]), line)
            )
    for (_, _, _, kind), parts in sums.items():
        _share(kind, parts)


def _share(kind: Kind, parts: list[tuple[str, Line]]) -> None:
    """Round each part down, and give the units that are missing to the parts that lost most; among equals by id."""
    unit = Decimal(1).scaleb(-kind[0])
    whole = Decimal(0)
    for _, line in parts:
        whole = EXACT.add(whole, line.amount)
        line.rounded = line.amount.quantize(unit, rounding=ROUND_FLOOR, context=EXACT)
    missing = to(whole, kind) - sum((line.rounded for _, line in parts), Decimal(0))
    losers = sorted(parts, key=lambda part: (part[1].rounded - part[1].amount, part[0]))
    while missing > 0:
        losers.pop(0)[1].rounded += unit
        missing -= unit
