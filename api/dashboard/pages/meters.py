"""Meters: what one makes of the events, by window and group, beside the span before, and as a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.dashboard.charts import Chart, Series
from api.dashboard.rendering import PageRoute, is_partial, page
from api.dashboard.shown import change, number
from api.engine import Engine
from api.frames import ARROW, CSV, PARQUET
from api.usage import UsageQuery, filters
from api.usage_shown import UsageLaidOut, before, laid_out
from api.windows import Window
from api.wiring import TheEngine
from rating.core.book import Meter
from rating.core.metering import is_change
from rating.core.money import exact_sum, plain
from rating.core.periods import month_of
from store.customers import is_time_zone
from store.errors import Refused

Span = Literal["day", "week", "month30", "month", "before", "own"]
SPANS = {
    "day": "Last 24 hours",
    "week": "Last 7 days",
    "month30": "Last 30 days",
    "month": "This month",
    "before": "Last month",
    "own": "From … to",
}
_USUAL_WINDOW: dict[str, Window] = {"day": "hour", "week": "day", "month30": "day", "month": "day", "before": "day"}
DOWNLOADS = (("CSV", CSV, "csv"), ("Parquet", PARQUET, "parquet"), ("Arrow", ARROW, "arrows"))
ROWS_SHOWN = 200

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class Asked:
    """The form as it was sent, with what was left out filled in."""

    meter: str
    span: Span
    first: str
    last: str
    window: Window
    group: str
    where: str
    subject: str
    customer: str
    zone: str
    compare: bool

    def query(self, now: datetime) -> UsageQuery:
        """Raises Refused."""
        start, end = _bounds(self, now)
        groups = (self.group,) if self.group else ()
        where = filters(self.where.split()) if self.where else ()
        who = (self.subject or None, self.customer or None)
        return UsageQuery(self.meter, start, end, *who, groups, self.window, self.zone, where)


@router.get("/meters")
def meters(
    request: Request,
    engine: TheEngine,
    meter: str = "",
    span: Span = "month",
    first: Annotated[str, Query(alias="from")] = "",
    last: Annotated[str, Query(alias="to")] = "",
    window: Literal[Window, ""] = "",
    group: str = "",
    where: str = "",
    subject: str = "",
    customer: str = "",
    zone: str = "",
    compare: bool = False,
) -> Response:
    known = engine.in_force.book.meters if engine.status()["catalog"] else ()
    if not known:
        return page(request, "meters_none.html")
    chosen = meter or next((each.key for each in known if not is_change(each)), known[0].key)
    found = engine.in_force.meter(chosen)
    usual: Window = window or _USUAL_WINDOW.get(span, "day")
    grouped = group if group in dimensions(found) else ""  # that of the meter before means nothing here
    asked = Asked(chosen, span, first, last, usual, grouped, where, subject, customer, zone or "UTC", compare)
    model: dict[str, Any] = {"asked": asked, "meter": found, "dimensions": dimensions(found)}
    if not is_partial(request):
        return page(request, "meters.html", known=known, spans=SPANS, windows=get_args(Window), **model)
    return page(request, "meters_explored.html", **model, **_explored(engine, asked))


def _explored(engine: Engine, asked: Asked) -> dict[str, Any]:
    query = asked.query(engine.now())
    found = laid_out(engine, query)
    earlier = laid_out(engine, before(query)) if asked.compare else None
    return {
        "found": found,
        "earlier": earlier,
        "difference": _difference(found, earlier),
        "chart": usage_chart(found, earlier),
        "rows": _rows(found),
        "url": api_url(query),
        "downloads": DOWNLOADS,
    }


def usage_chart(found: UsageLaidOut, earlier: UsageLaidOut | None) -> Chart:
    """Bars by window, the groups on top of each other where they add up; the span before as a line."""
    query = found.query
    series = [Series(_name(group.name, query), _texts(group.quantities)) for group in found.groups]
    if found.rest is not None:
        series.append(Series(f"{found.groups_all - len(found.groups):,} others", _texts(found.rest.quantities), "rest"))
    if earlier is not None:
        series.append(Series("Before", _aligned(_sums(earlier), len(found.windows)), "before"))
    kind = "stacked" if found.adds_up else "line" if len(found.windows) > 1 and query.group_by else "bars"
    x = ["" if at is None else _iso(at) for at in found.windows]
    title = f"{query.meter} by {query.window}"
    return Chart("usage", title, kind, x, series, precision=query.window, time_zone=query.time_zone)  # type: ignore[arg-type] # one of Kind


def _sums(found: UsageLaidOut) -> list[Decimal | None]:
    """By window, over all groups; of a meter that does not add up, its largest group."""
    parts = [*found.groups, *([found.rest] if found.rest else [])] if found.adds_up else found.groups[:1]
    columns = zip(*(part.quantities for part in parts), strict=True)
    summed = [[value for value in column if value is not None] for column in columns]
    return [exact_sum(values) if values else None for values in summed]


def _aligned(values: Sequence[Decimal | None], length: int) -> list[str | None]:
    """As many as there are windows now; a month may have had fewer days."""
    return (_texts(values) + [None] * length)[:length]


def _rows(found: UsageLaidOut) -> list[tuple[str, str, str, int]]:
    """Name, quantity, share of the whole, events of each group."""
    parts = [*found.groups, *([found.rest] if found.rest else [])]
    return [(_name(part.name, found.query), number(part.total), part.total, part.events) for part in parts]  # type: ignore[misc]


def _difference(found: UsageLaidOut, earlier: UsageLaidOut | None) -> dict[str, Any] | None:
    if earlier is None:
        return None
    now, then = found.total or Decimal(0), earlier.total or Decimal(0)
    return {"before": then, "by": exact_sum([now, then.copy_negate()]), "said": change(now, then)}


def api_url(query: UsageQuery) -> str:
    """Where the API answers the same."""
    assert query.start is not None
    assert query.end is not None
    pairs = [("from", _iso(query.start)), ("to", _iso(query.end))]
    pairs += [(name, value) for name in ("subject", "customer", "window") if (value := getattr(query, name))]
    pairs += [("group_by", name) for name in query.group_by]
    pairs += [("where", f"{name}={value}") for name, values in query.where for value in values]
    pairs += [("time_zone", query.time_zone)] if query.time_zone != "UTC" else []
    return f"/v1/meters/{quote(query.meter, safe='')}/usage?{urlencode(pairs)}"


def _bounds(asked: Asked, now: datetime) -> tuple[datetime, datetime]:
    """The span, to the end of the hour that is now; days are those of the zone."""
    if not is_time_zone(asked.zone):
        raise Refused([f"{asked.zone[:80]!r} is no IANA time zone (like Europe/Madrid)"])
    zone = ZoneInfo(asked.zone)
    if asked.span == "own":
        last = asked.last or now.astimezone(zone).date().isoformat()
        return _midnight(asked.first or last, zone, "from"), _midnight(last, zone, "to", timedelta(days=1))
    month = month_of(now, asked.zone)
    if asked.span == "before":
        return month.before().bounds(zone)
    end = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    if asked.span == "month":
        return month.start(zone), end
    if asked.span == "day":
        return end - timedelta(days=1), end
    days = 7 if asked.span == "week" else 30
    first = now.astimezone(zone).date() - timedelta(days=days - 1)
    return _at_midnight(first, zone), end


def _midnight(text: str, zone: ZoneInfo, field: str, later: timedelta = timedelta(0)) -> datetime:
    try:
        return _at_midnight(date.fromisoformat(text) + later, zone)
    except (ValueError, OverflowError) as error:
        raise Refused([f"{field} is {text[:80]!r}: choose a day"]) from error


def _at_midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _texts(values: Sequence[Decimal | None]) -> list[str | None]:
    return [None if value is None else plain(value) for value in values]


def _name(values: Sequence[str | None], query: UsageQuery) -> str:
    if not query.group_by:
        return query.meter
    return ", ".join(value if value is not None else "(none)" for value in values)


def dimensions(meter: Meter) -> list[str]:
    """What a meter can be grouped by."""
    return [*meter.group_by, "customer", "subject"]
