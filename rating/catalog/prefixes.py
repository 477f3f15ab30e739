"""Tables of prefixes in a catalog file: a dimension of usage that the longest matching prefix of a property decides."""

from collections.abc import Iterator, Mapping

import polars as pl
from pydantic import Field

from rating.catalog.literals import PropertyName
from rating.catalog.part import Part
from rating.catalog.problems import Problem, show
from rating.core import prefixes as core


class PrefixTable(Part):
    """Labels by prefix, such as the zones of telephone numbers. The key of the table is a dimension of usage: meters
    group by it or filter on it, and prices match it, as if it were a property of the events."""

    property: PropertyName
    """The property, a text, whose beginning is looked at."""
    labels: dict[str, tuple[str, ...]] = Field(min_length=1)
    """The prefixes of each label. The longest one that the property begins with decides; an empty one is that of every
    property. A property without any of them has no label."""


def compiled_prefixes(tables: Mapping[str, PrefixTable]) -> tuple[core.PrefixTable, ...]:
    """The tables as the core reads them, in the order of their dimensions."""
    return tuple(core.PrefixTable(key, tables[key].property, _rows(tables[key])) for key in sorted(tables))


def _rows(table: PrefixTable) -> pl.DataFrame:
    rows = sorted((prefix, label) for label, prefixes in table.labels.items() for prefix in prefixes)
    return pl.DataFrame(rows, schema=core.PREFIX, orient="row")


def check_prefixes(tables: Mapping[str, PrefixTable]) -> Iterator[Problem]:
    """A prefix has one label, and a table reads a property of the events."""
    for key, table in tables.items():
        label_of: dict[str, str] = {}
        for label, prefixes in table.labels.items():
            for prefix in prefixes:
                other = label_of.setdefault(prefix, label)
                if other != label:
                    message = f"The prefix {show(prefix)} has another label already, {show(other)}."
                    yield Problem(f"prefixes.{key}.labels.{label}", show(prefix), message, "Give it one label.")
        if table.property in tables:
            message = f"`{table.property}` is itself made by a table of prefixes."
            yield Problem(f"prefixes.{key}.property", show(table.property), message, "Name a property of the events.")
