"""Give frames that were written before a property was declared its column, from the digits in `data`.

A value that the property's type cannot take becomes null; it stays in `data`, where the event's sender put it.
"""

from collections.abc import Mapping

import polars as pl

from ingest.decode.columns import property_values
from ingest.decode.json_body import read_data_texts, take_apart
from ingest.schema import CORRECTION, stored_schema
from rating.core.schema import PROPERTY_DTYPE, PropertyType, property_column, usage_event_schema


def completed(events: pl.DataFrame, properties: Mapping[str, PropertyType]) -> pl.DataFrame:
    """A journal record as the usage table holds its events: `stored_schema(properties)`."""
    late = {name: kind for name, kind in properties.items() if property_column(name) not in events.columns}
    lifted = lift(events, late) if late else events
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in CORRECTION.items() if name not in events.columns]
    return lifted.with_columns(absent).select(stored_schema(properties).names())


def as_usage(events: pl.DataFrame, properties: Mapping[str, PropertyType]) -> pl.DataFrame:
    """Screened events without a sequence, as they would be counted: `usage_event_schema(properties)`."""
    late = {name: kind for name, kind in properties.items() if property_column(name) not in events.columns}
    lifted = lift(events, late) if late else events
    return lifted.with_columns(sequence=pl.lit(0, pl.Int64)).select(usage_event_schema(properties).names())


def lift(events: pl.DataFrame, properties: Mapping[str, PropertyType]) -> pl.DataFrame:
    """`events` with a column for each of `properties`; where one is null or not there, the value that `data` holds."""
    for name, kind in properties.items():
        column = property_column(name)
        found = _from_data(events["data"], name, kind)
        events = events.with_columns(pl.coalesce(column, found) if column in events.columns else found)
    return events


def _from_data(data: pl.Series, name: str, kind: PropertyType) -> pl.Series:
    """The values of one property; only rows whose JSON has the key are read."""
    rows = data.str.contains(f'"{name}"', literal=True).fill_null(False).arg_true()
    column = pl.repeat(None, len(data), dtype=PROPERTY_DTYPE[kind], eager=True).alias(property_column(name))
    if not len(rows):
        return column
    objects, _ = read_data_texts(data.gather(rows).to_list())
    values, _ = take_apart(objects, (name,))
    typed, _ = property_values(name, kind, values[name])
    return column.scatter(rows, typed)
