"""Pictures that are SVG of the page itself: bars of parts, steps of tiers, and spans on a line of time. A place or a
length is a percentage as text, only for the eye; the exact numbers stand beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

COLOURS = 8
_TENTH = Decimal("0.01")


@dataclass(frozen=True)
class Part:
    """A part of a bar from `x` on, `width` wide; `colour` is 1 to COLOURS."""

    x: str
    width: str
    colour: int


@dataclass(frozen=True)
class Spanned:
    """A span of a line of time, with what it is."""

    x: str
    width: str
    colour: int
    text: str
    start: datetime
    end: datetime | None
    is_now: bool


def parts(values: Sequence[Decimal]) -> list[Part]:
    """The values side by side, as shares of their sum; those below zero have no length."""
    lengths = [max(value, Decimal(0)) for value in values]
    whole = sum(lengths, Decimal(0))
    found, begun = [], Decimal(0)
    for place, length in enumerate(lengths):
        share = length * 100 / whole if whole else Decimal(0)
        found.append(Part(_text(begun), _text(share), place % COLOURS + 1))
        begun += share
    return found


def heights(values: Sequence[Decimal], top: int) -> list[str]:
    """How high each value is where the largest is `top` high; the smallest that is not zero can still be seen."""
    largest = max(values, default=Decimal(0))
    if largest <= 0:
        return ["0" for _ in values]
    return [_text(max(value * top / largest, Decimal(2)) if value > 0 else Decimal(0)) for value in values]


def spans(
    found: Sequence[tuple[str, datetime, datetime | None]], first: datetime, last: datetime, now: datetime
) -> list[Spanned]:
    """Spans (what, start, end or open) on the line from `first` to `last`; one name has one colour."""
    colours = {name: place % COLOURS + 1 for place, name in enumerate(dict.fromkeys(name for name, *_ in found))}
    drawn = []
    for name, start, end in found:
        begins, ends = max(start, first), min(end or last, last)
        if ends <= begins:
            continue
        x, width = share(begins, first, last), share(first + (ends - begins), first, last)
        is_now = start <= now and (end is None or now < end)
        drawn.append(Spanned(x, width, colours[name], name, start, end, is_now))
    return drawn


def share(at: datetime, first: datetime, last: datetime) -> str:
    """Where an instant is between two others, in percent."""
    whole = (last - first).total_seconds()
    return _text(Decimal((at - first).total_seconds() * 100 / whole)) if whole else "0"


def _text(value: Decimal) -> str:
    return str(value.quantize(_TENTH))
