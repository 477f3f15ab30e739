"""The catalog file as values: meters, features, prices, plans. What refers to what is checked in checks.py; two files
that mean the same may differ as values (in the order of a list), and have the same `version`."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rating.catalog.canonical import canonical_document, canonical_json, content_version
from rating.catalog.literals import (
    FORMAT_NUMBER,
    SECTION,
    Amount,
    Currencies,
    Currency,
    Instant,
    Key,
    Names,
    Per,
    PositiveQuantity,
    PropertyName,
    PropertyNames,
    Quantity,
    SomeNames,
    TimeOfDay,
    TimeZone,
)
from rating.core.schema import PropertyType

Rounding = Literal["half_away_from_zero", "half_even", "up", "down"]


class Part(BaseModel):
    """A part of the file: fixed once read, without fields of its own making."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Filter(Part):
    """Keeps an event by one of its properties. Exactly one of `in`, `not_in` and `equals` is given."""

    property: PropertyName
    """The property of the event to look at."""
    in_: SomeNames | None = Field(None, alias="in")
    """Keep an event whose property is one of these."""
    not_in: SomeNames | None = None
    """Keep an event whose property is none of these, also when it has no such property."""
    equals: str | None = None
    """Keep an event whose property is this."""


class Meter(Part):
    """The rule that turns usage events of one type into a quantity."""

    event_type: str = Field(min_length=1, examples=["llm.request"])
    """The `type` of the events that are metered."""
    aggregation: Literal["count", "sum"]
    """`count` counts events; `sum` adds up `property` (and `add`, less `subtract`), an absent property being zero."""
    property: PropertyName | None = None
    """The numeric property that is summed. Not used by `count`."""
    add: PropertyNames = ()
    """Further numeric properties to add, event by event."""
    subtract: PropertyNames = ()
    """Numeric properties to take off, event by event."""
    filters: tuple[Filter, ...] = ()
    """Events must pass every filter to be metered."""
    group_by: PropertyNames = ()
    """The dimensions of the meter: properties by which usage can be told apart, matched and priced."""


class Feature(Part):
    """What a plan entitles to, as its customers know it."""

    meter: str
    """The meter that says how much of it was used."""
    name: str | None = None
    """What people call it."""


class Tier(Part):
    """A range (`from`, `up_to`] of quantity: its upper bound belongs to it."""

    from_: Quantity | None = Field(None, alias="from")
    """Where the tier begins, exclusive. Optional: it is the `up_to` of the tier before, or zero."""
    up_to: Quantity | None = None
    """The last quantity of the tier; null or absent in the last tier, which is open."""
    unit_amount: Amount | None = None
    """What `per` units cost in this tier."""
    flat_amount: Amount | None = None
    """What reaching this tier costs once, on top of its units."""


class TimeWindow(Part):
    """A part [`from`, `to`) of the local day with a rate of its own, chosen by the event's own time."""

    from_: TimeOfDay = Field(alias="from")
    """When the window begins, inclusive."""
    to: TimeOfDay
    """When it ends, exclusive. Before `from`: on the next day."""
    time_zone: TimeZone = "UTC"
    """Whose day it is, such as Europe/Madrid."""


class Version(Part):
    """The numbers of a price from `effective_from` until the next version."""

    effective_from: Instant = None
    """Since when it is in force: an instant with its zone, or a date (midnight UTC). The first may have none."""


class FlatVersion(Version):
    amount: Amount
    """The fee of one billing period."""


class UnitVersion(Version):
    unit_amount: Amount
    """What `per` units cost."""
    per: Per = 1
    """How many units `unit_amount` buys."""
    time_of_day: tuple["UnitWindow", ...] = ()
    """Times of the day with another rate."""


class UnitWindow(TimeWindow):
    unit_amount: Amount
    """What `per` units cost in this window."""
    per: Per | None = None
    """How many units `unit_amount` buys; the version's `per` unless given."""


class TieredVersion(Version):
    tiers: tuple[Tier, ...] = Field(min_length=1)
    """The tiers, from zero upwards without gaps; the last one is open."""
    per: Per = 1
    """How many units a tier's `unit_amount` buys."""
    time_of_day: tuple["TieredWindow", ...] = ()
    """Times of the day with other tiers."""


class TieredWindow(TimeWindow):
    tiers: tuple[Tier, ...] = Field(min_length=1)
    """The tiers in this window."""
    per: Per | None = None
    """How many units a tier's `unit_amount` buys; the version's `per` unless given."""


class PackageVersion(Version):
    package_size: PositiveQuantity
    """How many units one package holds."""
    amount: Amount
    """What one package costs; a started package is charged whole."""
    time_of_day: tuple["PackageWindow", ...] = ()
    """Times of the day with other packages."""


class PackageWindow(TimeWindow):
    package_size: PositiveQuantity
    """How many units one package holds in this window."""
    amount: Amount
    """What one package costs in this window."""


class PerRequestVersion(Version):
    size: PropertyName
    """The numeric property that measures one event and chooses its tier."""
    tiers: tuple[Tier, ...] = Field(min_length=1)
    """The tiers of `size`: the whole event is charged at the rate of the one tier that its size falls in."""
    per: Per = 1
    """How many units a tier's `unit_amount` buys."""
    time_of_day: tuple["PerRequestWindow", ...] = ()
    """Times of the day with other tiers."""


class PerRequestWindow(TimeWindow):
    tiers: tuple[Tier, ...] = Field(min_length=1)
    """The tiers of `size` in this window."""
    size: PropertyName | None = None
    """The property that measures one event; the version's `size` unless given."""
    per: Per | None = None
    """How many units a tier's `unit_amount` buys; the version's `per` unless given."""


class PricePart(Part):
    """What every price has."""

    currency: Currency
    """The currency of all its amounts, one of the catalog's `currencies`."""
    rounding: Rounding = "half_away_from_zero"
    """How a charge line is rounded, once, to the minor unit: `up` is away from zero, `down` is toward zero."""


class MeteredPrice(PricePart):
    """What every price of usage has. One of `meter` and `meters` is given."""

    meter: str | None = None
    """The meter whose quantity is priced."""
    meters: SomeNames | None = None
    """Several meters with the same price; each gets its own charge lines."""
    match: dict[str, str] = {}
    """Which usage it prices: values of the meter's dimensions. Of a plan's prices the one with the most values wins."""
    group_by: PropertyNames = ()
    """Dimensions of the meter whose values are each rated alone and get their own charge lines."""

    @property
    def meter_keys(self) -> tuple[str, ...]:
        """The meters that it prices."""
        return self.meters or ((self.meter,) if self.meter is not None else ())


class FlatPrice(PricePart):
    """A fee for each billing period: the version in force at the start of the period."""

    model: Literal["flat"]
    versions: tuple[FlatVersion, ...] = Field(min_length=1)
    """The fee and when it changed, oldest first."""


class UnitPrice(MeteredPrice):
    """Every unit costs the same."""

    model: Literal["per_unit"]
    versions: tuple[UnitVersion, ...] = Field(min_length=1)
    """The rate and when it changed, oldest first."""


class GraduatedPrice(MeteredPrice):
    """Each unit costs what the tier that it falls in says."""

    model: Literal["graduated"]
    versions: tuple[TieredVersion, ...] = Field(min_length=1)
    """The tiers and when they changed, oldest first."""


class VolumePrice(MeteredPrice):
    """All units cost what the tier of the period's whole quantity says."""

    model: Literal["volume"]
    versions: tuple[TieredVersion, ...] = Field(min_length=1)
    """The tiers and when they changed, oldest first."""


class PackagePrice(MeteredPrice):
    """Units are sold in packages; a started package is charged whole."""

    model: Literal["package"]
    versions: tuple[PackageVersion, ...] = Field(min_length=1)
    """The package and when it changed, oldest first."""


class PerRequestPrice(MeteredPrice):
    """Each event is charged whole at the rate of the tier that its own size falls in."""

    model: Literal["per_request"]
    versions: tuple[PerRequestVersion, ...] = Field(min_length=1)
    """The tiers and when they changed, oldest first."""


UsagePrice = UnitPrice | GraduatedPrice | VolumePrice | PackagePrice | PerRequestPrice
Price = FlatPrice | UsagePrice
UsageVersion = UnitVersion | TieredVersion | PackageVersion | PerRequestVersion
UsageWindow = UnitWindow | TieredWindow | PackageWindow | PerRequestWindow


class Entitlement(Part):
    """How much of a feature a plan gives."""

    limit: Quantity
    """The quantity that may be used in each window."""
    window: Literal["month"] = "month"
    """When the count starts again: each calendar month of the customer's time zone."""


class Plan(Part):
    """What a customer subscribes to."""

    name: str | None = None
    """What people call it."""
    currency: Currency
    """The currency of its prices."""
    prices: Names = ()
    """Keys of prices; a trailing `*` stands for every price whose key begins so."""
    entitlements: Annotated[dict[str, Entitlement], SECTION] = {}
    """What the plan gives, by key of the feature."""


class Catalog(Part):
    """A whole catalog. Equal meaning, equal `version`, however the file was written."""

    tallystick: Annotated[Literal[1], FORMAT_NUMBER]
    """The version of this file format."""
    currencies: Currencies = Field(min_length=1)
    """The currencies in use (ISO 4217)."""
    meters: Annotated[dict[Key, Meter], SECTION] = {}
    """The meters by key."""
    features: Annotated[dict[Key, Feature], SECTION] = {}
    """The features by key."""
    prices: Annotated[dict[Key, Annotated[Price, Field(discriminator="model")]], SECTION] = {}
    """The prices by key."""
    plans: Annotated[dict[Key, Plan], SECTION] = {}
    """The plans by key."""

    def document(self) -> dict[str, Any]:
        """The canonical document: a catalog file without anything that says nothing."""
        return canonical_document(self.model_dump(mode="json", by_alias=True, exclude_defaults=True))

    @cached_property
    def _canonical_json(self) -> bytes:
        return canonical_json(self.document())

    def canonical_json(self) -> bytes:
        """The canonical document as JSON with sorted keys: itself a catalog file with the same version."""
        return self._canonical_json

    @property
    def version(self) -> str:
        """`cat_` and 16 hexadecimal digits of the hash of the canonical JSON."""
        return content_version(self._canonical_json)

    def declared_properties(self) -> dict[str, PropertyType]:
        """The properties that meters and prices use, by name: the typed columns of the usage table."""
        numbers = {name for meter in self.meters.values() for name in numeric_properties(meter)}
        numbers |= {size for price in self.prices.values() for size in sizes(price)}
        strings = {name for meter in self.meters.values() for name in text_properties(meter)}
        kinds: Mapping[str, PropertyType] = {**dict.fromkeys(strings, "string"), **dict.fromkeys(numbers, "number")}
        return {name: kinds[name] for name in sorted(kinds)}


def numeric_properties(meter: Meter) -> list[str]:
    """The properties that a meter adds up."""
    return [*([meter.property] if meter.property is not None else []), *meter.add, *meter.subtract]


def text_properties(meter: Meter) -> list[str]:
    """The properties that a meter compares or groups by."""
    return [*(condition.property for condition in meter.filters), *meter.group_by]


def sizes(price: Price) -> list[str]:
    """The properties by which a per-request price measures one event."""
    if not isinstance(price, PerRequestPrice):
        return []
    windows = [window for version in price.versions for window in version.time_of_day]
    return [*(version.size for version in price.versions), *(window.size for window in windows if window.size)]
