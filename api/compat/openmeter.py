"""Meters and their usage as OpenMeter's client asks for them. A meter's id and slug are its key in the catalog."""

import ast
import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
import polars as pl
from fastapi import APIRouter, Body, Header, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.compat.models import USAGE_ANSWERS, MeterOfOpenMeter, UsageOfOpenMeter
from api.documentation import problems
from api.engine import Engine
from api.frames import CSV, JSON, json_response, media_of, rows
from api.paths import anything
from api.usage import UsageQuery
from api.windows import Window, window_end
from api.wiring import TheEngine
from rating.core.book import Filter, Meter
from store.errors import Refused

router = APIRouter(prefix="/api/v1/meters", tags=["openmeter"])

CUSTOMER = "customer_id"
FILTER_BYTES_MAX = 8 * 1024
_WINDOWS: dict[str, Window] = {"MINUTE": "minute", "HOUR": "hour", "DAY": "day", "MONTH": "month"}
_FILTER_MEMBER = re.compile(r"filterGroupBy\[(.+)\]")

Texts = list[str] | None
Filters = dict[str, list[str]]


class MeterQuestion(BaseModel):
    """What is asked of a meter; `from` is inclusive and `to` exclusive."""

    client_id: str | None = Field(None, alias="clientId")
    start: AwareDatetime | None = Field(None, alias="from")
    end: AwareDatetime | None = Field(None, alias="to")
    window_size: Literal["MINUTE", "HOUR", "DAY", "MONTH"] | None = Field(None, alias="windowSize")
    window_time_zone: str = Field("UTC", alias="windowTimeZone")
    subject: Texts = None
    filter_customer_id: Texts = Field(None, alias="filterCustomerId")
    group_by: Texts = Field(None, alias="groupBy")


class MeterQuestionBody(MeterQuestion):
    """The same as the body of a POST, with filters."""

    model_config = ConfigDict(extra="forbid")

    filter_group_by: Filters | None = Field(None, alias="filterGroupBy")


@router.get("", response_model=list[MeterOfOpenMeter])
def list_meters(
    engine: TheEngine,
    page: Annotated[int, Query(ge=1)] = 1,
    page_size: Annotated[int, Query(alias="pageSize", ge=1, le=1000)] = 100,
    order: Literal["ASC", "DESC"] = "ASC",
    order_by: Annotated[
        Literal["key", "name", "aggregation", "createdAt", "updatedAt"], Query(alias="orderBy")
    ] = "key",
) -> Response:
    """The meters of the catalog in force; it has none that are deleted."""
    field = {"key": "slug"}.get(order_by, order_by)
    meters = [_shown(meter, _applied_at(engine)) for meter in engine.in_force.book.meters]
    meters.sort(key=lambda meter: (meter[field], meter["slug"]), reverse=order == "DESC")
    return json_response(meters[(page - 1) * page_size : page * page_size])


@router.get(f"/{anything('key')}/query", response_model=UsageOfOpenMeter, responses=USAGE_ANSWERS)
def query_meter(
    request: Request,
    key: str,
    engine: TheEngine,
    question: Annotated[MeterQuestion, Query()],
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """Usage of a meter on [from, to): a row for each window and group that has some."""
    return _answer(engine, _query(key, question, _filters(request.query_params.multi_items())), question, accept)


@router.post(
    f"/{anything('key')}/query", response_model=UsageOfOpenMeter, responses={**USAGE_ANSWERS, **problems(400, 413)}
)
def query_meter_by_body(
    key: str,
    engine: TheEngine,
    question: Annotated[MeterQuestionBody | None, Body()] = None,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """The same with the question in the body; without one all of the meter's usage."""
    asked = question or MeterQuestionBody.model_validate({})
    return _answer(engine, _query(key, asked, asked.filter_group_by or {}), asked, accept)


@router.get(f"/{anything('key')}/subjects", response_model=list[str], responses=problems(404))
def list_subjects(
    key: str,
    engine: TheEngine,
    start: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to")] = None,
) -> Response:
    """The subjects that the meter has usage of."""
    return json_response(_values(engine, UsageQuery(key, start, end, group_by=("subject",))))


@router.get(f"/{anything('key')}/group-by/{{dimension}}/values", response_model=list[str], responses=problems(404))
def list_group_by_values(
    key: str,
    dimension: str,
    engine: TheEngine,
    start: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to")] = None,
) -> Response:
    """The values of a dimension that the meter has usage of."""
    return json_response(_values(engine, UsageQuery(key, start, end, group_by=(dimension,))))


@router.get(f"/{anything('key')}", response_model=MeterOfOpenMeter, responses=problems(404))
def read_meter(key: str, engine: TheEngine) -> Response:
    """One meter of the catalog in force."""
    return json_response(_shown(engine.in_force.meter(key), _applied_at(engine)))


def _answer(engine: Engine, query: UsageQuery, asked: MeterQuestion, accept: str | None) -> Response:
    """Values are exact: a JSON number with all its digits. Whether the client keeps them is up to the client."""
    media = media_of(accept, (JSON, CSV))
    frame = _windows(engine, query, engine.usage(query))
    if media == CSV:
        return _csv(frame, query)
    asked_for = {"from": asked.start, "to": asked.end, "windowSize": asked.window_size}
    given = {name: value for name, value in asked_for.items() if value is not None}
    return json_response({**given, "data": [_row(row, query) for row in rows(frame)]})


def _query(key: str, asked: MeterQuestion, filters: Filters) -> UsageQuery:
    """Subjects and customers that are filtered by are grouped by too, as OpenMeter does it."""
    where = {"subject": asked.subject, "customer": asked.filter_customer_id, **filters}
    named = ["customer" if name == CUSTOMER else name for name in asked.group_by or ()]
    filtered = [name for name in ("subject", "customer") if where[name]]
    return UsageQuery(
        key,
        asked.start,
        asked.end,
        group_by=tuple(dict.fromkeys([*named, *filtered])),
        window=_WINDOWS[asked.window_size] if asked.window_size else None,
        time_zone=asked.window_time_zone,
        where=tuple((name, tuple(values)) for name, values in where.items() if values),
    )


def _filters(parameters: Iterable[tuple[str, str]]) -> Filters:
    """`filterGroupBy[model]=big`, or a mapping as text: the Python client prints its dict. Raises Refused."""
    filters: Filters = {}
    for name, text in parameters:
        if name == "advancedMeterGroupByFilters":
            raise Refused(["advancedMeterGroupByFilters is not served here; use filterGroupBy"])
        if name == "filterGroupBy":
            for dimension, value in _mapping(text).items():
                filters.setdefault(dimension, []).append(value)
        elif member := _FILTER_MEMBER.fullmatch(name):
            filters.setdefault(member[1], []).append(text)
    return filters


def _mapping(text: str) -> dict[str, str]:
    """A mapping from text to text, in JSON or as Python prints it. Only literals are read; nothing is run."""
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text) if len(text) <= FILTER_BYTES_MAX else None
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, dict) and all(isinstance(item, str) for pair in found.items() for item in pair):
            return found
    raise Refused(["filterGroupBy is no mapping of dimensions to values; write filterGroupBy[model]=big"])


def _windows(engine: Engine, query: UsageQuery, frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with the `window_start` and `window_end` of each row; without windows that is the whole period."""
    if query.window is not None:
        end = window_end(pl.col("window_start"), query.window, query.time_zone)
        return frame.with_columns(window_end=end)
    start, end_at = _period(engine, query)
    return frame.with_columns(window_start=pl.lit(start), window_end=pl.lit(end_at))


def _period(engine: Engine, query: UsageQuery) -> tuple[datetime | None, datetime | None]:
    """From and to; where one is open, the minute of the first event that the meter may count, or after the last."""
    if query.start is not None and query.end is not None:
        return query.start, query.end
    meter = engine.in_force.meter(query.meter)
    events = engine.log.scan(start=query.start, end=query.end).frame.filter(pl.col("type") == meter.event_type)
    first = pl.col("time").min().dt.truncate("1m").alias("first")
    last = pl.col("time").max().dt.truncate("1m").dt.offset_by("1m").alias("last")
    found = events.select(first, last).collect().row(0, named=True)
    return query.start or found["first"], query.end or found["last"]


def _row(row: dict[str, Any], query: UsageQuery) -> dict[str, Any]:
    by_customer = {"customerId": row["customer"]} if "customer" in query.group_by else {}
    return {
        "value": orjson.Fragment(row["quantity"]),
        "windowStart": row["window_start"],
        "windowEnd": row["window_end"],
        "subject": row.get("subject"),
        **by_customer,
        "groupBy": {name: row[name] for name in query.group_by if name not in ("subject", "customer")},
    }


def _csv(frame: pl.DataFrame, query: UsageQuery) -> Response:
    groups = {name: CUSTOMER if name == "customer" else name for name in query.group_by}
    shown = frame.select("window_start", "window_end", *groups, pl.col("quantity").alias("value")).rename(groups)
    exact = pl.DataFrame(rows(shown.select("value"))) if shown.height else shown.select("value")
    text = shown.with_columns(exact.to_series().alias("value")).write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ")
    return Response(text, media_type=CSV)


def _values(engine: Engine, query: UsageQuery) -> list[str]:
    (dimension,) = query.group_by
    return engine.usage(query).get_column(dimension).drop_nulls().sort().to_list()


def _applied_at(engine: Engine) -> datetime:
    """When the catalog came into force that is: a meter has no history of its own."""
    return engine.store.catalogs.history()[0].applied_at


def _shown(meter: Meter, applied_at: datetime) -> dict[str, Any]:
    """`valueProperty` is left out where one property does not say it all; `description` does."""
    plain_sum = meter.aggregation == "sum" and len(meter.add) == 1 and not meter.subtract
    value = {"valueProperty": _path(meter.add[0])} if plain_sum else {}
    return {
        "id": meter.key,
        "slug": meter.key,
        "name": meter.key,
        "description": _description(meter),
        "aggregation": meter.aggregation.upper(),
        "eventType": meter.event_type,
        **value,
        "groupBy": {name: _path(name) for name in meter.group_by},
        "createdAt": applied_at,
        "updatedAt": applied_at,
    }


def _path(name: str) -> str:
    return f"$.{name}" if name.isidentifier() else f"$[{json.dumps(name)}]"


def _description(meter: Meter) -> str:
    terms = " + ".join(meter.add) + "".join(f" - {name}" for name in meter.subtract)
    what = f"{meter.aggregation} of {terms or meter.event_type}"
    return f"{what} where {' and '.join(map(_condition, meter.filters))}" if meter.filters else what


def _condition(rule: Filter) -> str:
    return f"{rule.property} {rule.operator.replace('_', ' ')} ({', '.join(rule.values)})"
