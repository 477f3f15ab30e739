"""Which columns of a file are the attributes of an event, and which are its properties."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ingest.errors import IngestError
from ingest.files.problems import FileProblem, meant

ATTRIBUTES = ("source", "id", "type", "subject", "time")
LEFT_OUT = frozenset({"specversion", "datacontenttype", "dataschema"})
"""Columns of other CloudEvents attributes: no properties, and not needed."""


class BadMapping(IngestError):
    """A mapping is written in a form that means nothing."""


@dataclass(frozen=True)
class Column:
    """The value of a column, row by row."""

    name: str


@dataclass(frozen=True)
class Constant:
    """One value for every row."""

    value: str


Origin = Column | Constant


@dataclass(frozen=True)
class ColumnMapping:
    """What the user said about a file.

    An attribute that is not in `attributes` is read from the column of its name. `properties` are by their name in the
    event; all other columns are properties under their own names, unless `only`.
    """

    attributes: Mapping[str, Origin] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    only: bool = False
    time_zone: str | None = None
    decimals: int | None = None


@dataclass(frozen=True)
class Resolved:
    """A mapping for the columns of a file. Without `id` in `attributes`, ids are made from the place in the file."""

    attributes: Mapping[str, Origin]
    properties: Mapping[str, str]  # name in the event -> column

    def columns_of_attributes(self) -> list[str]:
        return [origin.name for origin in self.attributes.values() if isinstance(origin, Column)]

    def columns(self) -> list[str]:
        """The columns that are read."""
        return list(dict.fromkeys([*self.columns_of_attributes(), *self.properties.values()]))


def parse_origin(text: str) -> Origin:
    """`COLUMN`, or `=CONSTANT`."""
    if text in ("", "="):
        raise BadMapping(f"{text!r} names nothing: write a COLUMN, or =CONSTANT for the same value in every row.")
    return Constant(text[1:]) if text.startswith("=") else Column(text)


def parse_property(text: str) -> tuple[str, str]:
    """`NAME=COLUMN`, or `COLUMN` where both are the same."""
    name, _, column = text.partition("=")
    if not name or (not column and "=" in text):
        raise BadMapping(f"{text!r} is no property: write NAME=COLUMN, or just COLUMN.")
    return name, column or name


def resolve(file: str, columns: list[str], wanted: ColumnMapping, *, made_source: str) -> Resolved:
    """Find every column that `wanted` names in the file. `made_source` is the source where ids are made too.

    Raises FileProblem for a column that is not there, and for an attribute that nothing gives.
    """
    attributes = {name: wanted.attributes.get(name, Column(name)) for name in ATTRIBUTES}
    if "id" not in wanted.attributes and "id" not in columns:
        del attributes["id"]
        if "source" not in wanted.attributes and "source" not in columns:
            attributes["source"] = Constant(made_source)
    for name, origin in attributes.items():
        if isinstance(origin, Column) and origin.name not in columns:
            raise FileProblem(_missing(file, name, origin.name, columns, is_said=name in wanted.attributes))
    for name, column in wanted.properties.items():
        if column not in columns:
            raise FileProblem(f"{file} has no column {column!r} for the property {name!r}. {meant(column, columns)}")
    return Resolved(attributes, _properties(columns, wanted, attributes.values()))


def _properties(columns: list[str], wanted: ColumnMapping, attributes: Iterable[Origin]) -> dict[str, str]:
    if wanted.only:
        return dict(wanted.properties)
    used = {origin.name for origin in attributes if isinstance(origin, Column)}
    used |= {*wanted.properties.values(), *ATTRIBUTES, *LEFT_OUT}
    others = {name: name for name in columns if name not in used and name not in wanted.properties}
    return {**wanted.properties, **others}


def _missing(file: str, attribute: str, column: str, columns: list[str], *, is_said: bool) -> str:
    if is_said:
        return f"{file} has no column {column!r} for --{attribute}. {meant(column, columns)}"
    constant = "" if attribute == "time" else f", or --{attribute} =VALUE for the same in every row"
    why = " It says where the ids are unique." if attribute == "source" else ""
    return f"{file} has no column {column!r}. Say --{attribute} COLUMN{constant}.{why} {meant(column, columns)}"
