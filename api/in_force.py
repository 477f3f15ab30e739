"""The catalog that is in force, and what is compiled from it."""

from dataclasses import dataclass

from rating.catalog import Catalog, compile_catalog, parse_catalog
from rating.core.book import Meter, PriceBook
from store.errors import NotFound, Refused


@dataclass(frozen=True)
class InForce:
    """A catalog and what is compiled from it; replaced whole, never changed."""

    catalog: Catalog
    book: PriceBook

    def meter(self, key: str) -> Meter:
        """Raises NotFound."""
        for meter in self.book.meters:
            if meter.key == key:
                return meter
        raise NotFound("meter", key)

    def meter_of(self, feature: str) -> Meter:
        """The meter of a feature. Raises Refused."""
        found = self.catalog.features.get(feature)
        if found is None:
            raise Refused([f"the catalog in force has no feature {feature!r}"])
        if found.meter is None:
            raise Refused(
                [f"the feature {feature!r} has no meter: nothing of it can be used up, a check says what it is"]
            )
        return self.meter(found.meter)


def compiled(document: str | None) -> InForce | None:
    """What a stored catalog is; nothing where there is none."""
    if document is None:
        return None
    catalog = parse_catalog(document, format="json")
    return InForce(catalog, compile_catalog(catalog))
