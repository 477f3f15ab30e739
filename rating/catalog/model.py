"""The catalog file as values: meters, features, prices, plans. What refers to what is checked in checks.py; two files
that mean the same may differ as values (in the order of a list), and have the same `version`."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field

from rating.catalog.adjustments import Adjustment
from rating.catalog.allowances import Allowance
from rating.catalog.canonical import canonical_document, canonical_json, content_version
from rating.catalog.closing import Closing
from rating.catalog.credits import Credit
from rating.catalog.entitlements import SomeEntitlement
from rating.catalog.feature_rules import Anomaly
from rating.catalog.literals import (
    FORMAT_NUMBER,
    SECTION,
    Currencies,
    Currency,
    Key,
    Names,
    PropertyName,
)
from rating.catalog.meters import Meter, looked_for_properties, numeric_properties, text_properties
from rating.catalog.part import Part
from rating.catalog.parts import Rounding, Version
from rating.catalog.policies import Policy
from rating.catalog.prefixes import PrefixTable
from rating.catalog.presets import Price
from rating.core.schema import PropertyType


class Feature(Part):
    """What a plan entitles to, as its customers know it."""

    meter: str | None = None
    """The meter that says how much of it was used; a feature that is there or not, or has a value, needs none."""
    name: str | None = None
    """What people call it."""
    expiring_days: int = Field(7, ge=0, le=365)
    """How many days before it ends a signal says that a grant of it does; 0: none does."""
    anomaly: Anomaly | None = None
    """When a signal says that a subject uses far more of it than usual."""


class Plan(Part):
    """What a customer subscribes to."""

    name: str | None = None
    """What people call it."""
    currency: Currency
    """The currency of its prices."""
    prices: Names = ()
    """Keys of prices; a trailing `*` stands for every price whose key begins so."""
    adjust: tuple[Adjustment, ...] = ()
    """What is added to the sum of all charge lines of a subscription or taken off, in this order."""
    rounding: Rounding = "half_away_from_zero"
    """How each of the plan's own adjustments is rounded, to the minor unit."""
    allowances: Annotated[dict[Key, Allowance], SECTION] = Field(default={})
    """Included units that several of its prices use, or that roll over, by a key of their own."""
    entitlements: Annotated[dict[str, SomeEntitlement], SECTION] = Field(default={})
    """What the plan gives, by key of the feature."""
    policies: tuple[Policy, ...] = ()
    """What is done when a level of a limit is crossed."""
    credits: Annotated[dict[Key, Credit], SECTION] = Field(default={})
    """Prepaid credits that the plan grants, by a key of their own."""


class Catalog(Part):
    """A whole catalog. Equal meaning, equal `version`, however the file was written."""

    tallystick: Annotated[Literal[1], FORMAT_NUMBER]
    """The version of this file format."""
    currencies: Currencies = Field(min_length=1)
    """The currencies in use (ISO 4217)."""
    meters: Annotated[dict[Key, Meter], SECTION] = Field(default={})
    """The meters by key."""
    prefixes: Annotated[dict[PropertyName, PrefixTable], SECTION] = Field(default={})
    """Dimensions that the longest prefix of a property decides, by the name of the dimension."""
    features: Annotated[dict[Key, Feature], SECTION] = Field(default={})
    """The features by key."""
    prices: Annotated[dict[Key, Annotated[Price, Field(discriminator="model")]], SECTION] = Field(default={})
    """The prices by key."""
    plans: Annotated[dict[Key, Plan], SECTION] = Field(default={})
    """The plans by key."""
    closing: Closing = Closing()
    """How billing periods are closed."""

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
        strings = {
            name for meter in self.meters.values() for name in (*text_properties(meter), *looked_for_properties(meter))
        }
        strings |= {table.property for table in self.prefixes.values()}
        kinds: Mapping[str, PropertyType] = {**dict.fromkeys(strings, "string"), **dict.fromkeys(numbers, "number")}
        return {name: kinds[name] for name in sorted(kinds) if name not in self.prefixes}


def sizes(price: Price) -> list[str]:
    """The numeric properties of events that a price reads by itself, beside its meter."""
    versions: Sequence[Version] = price.versions
    all_of_them = [part for version in versions for part in (version, *map(version.within, version.windows))]
    return [name for version in all_of_them for name in version.reads()]
