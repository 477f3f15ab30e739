"""A price curve as SVG: what a quantity costs in total, and what a unit of it costs on average.

Coordinates are floats, for the eye alone: every amount comes from the engine and is printed from its decimal.
"""

from collections.abc import Sequence
from decimal import Decimal

Point = tuple[Decimal, Decimal]

_WIDTH, _HEIGHT = 320, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 26, 26, 34


def curve(totals: Sequence[Point], *, unit: str, currency: str, title: str, has_average: bool) -> str:
    """One or two panels side by side. `totals` are (quantity, exact amount), ascending in quantity."""
    panels = [_panel(totals, f"total, {currency}", unit, 0, "total")]
    if has_average:
        averages = [(quantity, amount / quantity) for quantity, amount in totals if quantity > 0]
        panels.append(_panel(averages, f"average, {currency} a unit", unit, _WIDTH, "average"))
    width = _WIDTH * len(panels)
    head = f'<svg class="curve" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" role="img"'
    return f'{head} width="{width}" height="{_HEIGHT}" aria-label="{title}">{_STYLE}{"".join(panels)}</svg>\n'


_STYLE = (
    "<style>.curve text{font:11px sans-serif;fill:#5c6470}.curve .axis{stroke:#9aa3ad;stroke-width:1}"
    ".curve .grid{stroke:#9aa3ad;stroke-opacity:.25}.curve .line{fill:none;stroke-width:2.2;stroke-linejoin:round}"
    ".curve .total{stroke:#3f51b5}.curve .average{stroke:#00897b}</style>"
)


def _panel(points: Sequence[Point], title: str, unit: str, offset: int, kind: str) -> str:
    across = _ceiling(max(quantity for quantity, _ in points))
    up = _ceiling(max(amount for _, amount in points))
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(quantity: Decimal) -> str:
        return f"{_LEFT + wide * float(quantity / across):.1f}"

    def y(amount: Decimal) -> str:
        return f"{_TOP + high - high * float(amount / up):.1f}"

    rows = [(up * part / 4) for part in range(5)]
    columns = [(across * part / 4) for part in range(5)]
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    grid = "".join(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y(row)}" y2="{y(row)}"/>' for row in rows)
    marks = "".join(f'<text x="{_LEFT - 6}" y="{y(row)}" dy="4" text-anchor="end">{_short(row)}</text>' for row in rows)
    feet = "".join(f'<text x="{x(at)}" y="{bottom + 14}" text-anchor="middle">{_short(at)}</text>' for at in columns)
    line = " ".join(f"{x(quantity)},{y(amount)}" for quantity, amount in points)
    names = f'<text x="{_LEFT}" y="14">{title}</text>'
    names += f'<text x="{right}" y="{_HEIGHT - 5}" text-anchor="end">{unit}</text>'
    axis = f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
    drawn = f'<polyline class="line {kind}" points="{line}"/>'
    return f'<g transform="translate({offset} 0)">{grid}{axis}{marks}{feet}{names}{drawn}</g>'


def _ceiling(largest: Decimal) -> Decimal:
    """The least of 1, 2, 2.4, 4, 5, 8 times a power of ten that is not below it; 1 where there is nothing."""
    if largest <= 0:
        return Decimal(1)
    power = Decimal(1).scaleb(largest.adjusted())
    steps = (Decimal(step) * power for step in ("1", "2", "2.4", "4", "5", "8", "10"))
    return next(step for step in steps if step >= largest)


def _short(number: Decimal) -> str:
    return f"{number.normalize():,f}"
