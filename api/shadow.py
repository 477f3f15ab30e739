"""A catalog beside the one in force: every month is rated by both, until it is switched to or dropped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from api.simulation import Asked
from rating.catalog import Catalog, parse_catalog
from rating.catalog.switching import switched
from rating.core.periods import month_of
from store import Store
from store.errors import Refused
from store.shadows import Shadow


@dataclass(frozen=True)
class Shadowing:
    """The catalog beside the one in force, of which there is one at most."""

    store: Store
    now: Callable[[], datetime]

    def put(self, catalog: Catalog, plans: Mapping[str, str]) -> Shadow:
        """Rate `catalog` beside the one in force from now on, in place of another."""
        return self.store.shadows.put(catalog.version, catalog.canonical_json().decode(), plans)

    def asked(self, first: str | None, last: str | None) -> Asked:
        """What is compared: the months since it was set, unless others are asked for. Raises NotFound."""
        shadow = self.store.shadows.get()
        since, now = (str(month_of(at, "UTC")) for at in (shadow.set_at, self.now()))
        return Asked(self._catalog(shadow), first or since, last or first or now, shadow.plans)

    def to_switch(self, in_force: Catalog, at: datetime) -> Catalog:
        """The catalog that charges as the one in force until `at`, and as the one beside it from then on. Raises
        NotFound, and Refused where there is no such catalog, or `at` is past."""
        shadow = self.store.shadows.get()
        if at < self.now():
            raise Refused([f"{at.isoformat()} is past, and what was charged since would change: name a later instant"])
        made = switched(in_force, self._catalog(shadow), at)
        if made.catalog is None:
            raise Refused(made.problems)
        return made.catalog

    def _catalog(self, shadow: Shadow) -> Catalog:
        return parse_catalog(self.store.catalogs.document(shadow.version), format="json")
