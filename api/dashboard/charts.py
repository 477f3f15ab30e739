"""A chart as values: what static/charts.js draws, and the table beside it that says the same in exact numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Literal

import orjson
from markupsafe import Markup

from rating.core.money import plain

Kind = Literal["bars", "stacked", "line", "area", "rows"]
"""`stacked` are bars on top of each other, `rows` are bars that lie."""
Role = Literal["value", "before", "limit", "rest"]
"""How a series is drawn: `before` is what it is compared with, `limit` a line not to be crossed, `rest` all others."""
Value = str | None
_IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


@dataclass(frozen=True)
class Series:
    """One value for each place of `x`, as plain decimals; null is none."""

    name: str
    values: Sequence[Value]
    role: Role = "value"


@dataclass(frozen=True)
class Chart:
    """`key` is its id in the page. `x` are names or, where `precision` says of what (minute, hour, day, month),
    instants. `unit` is behind each value; `digits` are shown at least (money)."""

    key: str
    title: str
    kind: Kind
    x: Sequence[str]
    series: Sequence[Series]
    unit: str = ""
    precision: str | None = None
    digits: int = 0
    time_zone: str | None = None  # of the windows; the viewer's, where there is none

    def json(self) -> Markup:
        """For a script element of type application/json: nothing in it can end the element."""
        return Markup(orjson.dumps(asdict(self)).decode().translate(_IN_SCRIPT))  # escaped just here

    @property
    def is_empty(self) -> bool:
        return not any(value is not None for one in self.series for value in one.values)

    @property
    def rows(self) -> list[tuple[str, list[Value]]]:
        """The rows of the table beside it."""
        return [(x, [one.values[place] for one in self.series]) for place, x in enumerate(self.x)]


def spark(values: Sequence[Decimal | int], width: int = 120, height: int = 28) -> str:
    """The points of a small line (SVG polyline) through `values`, the first at the left."""
    if not values:
        return ""
    top = max(*values, 1) if len(values) > 1 else max(values[0], 1)
    step = Decimal(width) / max(len(values) - 1, 1)
    drawn = height - 3
    return " ".join(
        f"{plain((step * place).quantize(Decimal('0.1')))},"
        f"{plain((drawn - Decimal(value) / Decimal(top) * (drawn - 2) + 1).quantize(Decimal('0.1')))}"
        for place, value in enumerate(values)
    )
