"""Catalog: the versions that came into force, what changed between two, and the prices and plans of one to be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from api.catalog_knobs import knobs
from api.dashboard.drawn import heights
from api.dashboard.rendering import PageRoute, page
from api.paths import anything
from api.wiring import TheEngine
from rating.catalog import Catalog
from rating.catalog.diffing import diff
from store.errors import NotFound

router = APIRouter(route_class=PageRoute)

PRICES_PAGE = 60
CHANGES_SHOWN = 500
STEPS_HIGH = 40
Version = Annotated[str, Query(max_length=100)]


@dataclass(frozen=True)
class TiersShown:
    """The tiers of a version as its document has them, and how high the price of a unit is in each."""

    rows: list[dict[str, Any]]
    heights: list[str]


@dataclass(frozen=True)
class PriceShown:
    """A price as its document has it; `newest` is its last version."""

    key: str
    document: dict[str, Any]
    newest: dict[str, Any]
    tiers: TiersShown | None

    @property
    def amount(self) -> tuple[str, str] | None:
        """What is most worth saying of a version without tiers, and which field it is."""
        named = ("unit_amount", "amount", "percent", "basis_points", "package_amount")
        return next(((self.newest[name], name) for name in named if isinstance(self.newest.get(name), str | int)), None)


@router.get("/catalog")
def catalog(
    request: Request,
    engine: TheEngine,
    version: Version = "",
    search: str = "",
    skip: Annotated[int, Query(ge=0, le=10**6)] = 0,
) -> Response:
    if engine.status()["catalog"] is None:
        return page(request, "catalog_none.html")
    found = engine.read_catalog(version or None)
    keys = [key for key in found.prices if search.lower() in key.lower()]
    prices = found.document().get("prices", {})
    return page(
        request,
        "catalog.html",
        catalog=found,
        plans=_plans(found),
        history=engine.store.catalogs.history(),
        is_current=found.version == engine.in_force.catalog.version,
        prices=[price_shown(key, prices[key]) for key in keys[skip : skip + PRICES_PAGE]],
        asked={"version": version, "search": search},
        skip=skip,
        more=max(len(keys) - skip - PRICES_PAGE, 0),
        page_size=PRICES_PAGE,
    )


@router.get(f"/catalog/prices/{anything('key')}")
def price(
    request: Request, engine: TheEngine, key: Annotated[str, Path(max_length=500)], version: Version = ""
) -> Response:
    found = engine.read_catalog(version or None)
    document = found.document().get("prices", {}).get(key)
    if document is None:
        raise NotFound("price", key)
    versions = [price_shown(key, {**document, "versions": [one]}) for one in reversed(document["versions"])]
    plans = [name for name, plan in found.plans.items() if any(_covers(pattern, key) for pattern in plan.prices)]
    can_be_tried = not version and bool(knobs(found, key))
    model: dict[str, Any] = {"document": document, "versions": versions, "plans": plans, "can_be_tried": can_be_tried}
    return page(request, "catalog_price.html", key=key, catalog=found, **model)


@router.get("/catalog/diff")
def difference(request: Request, engine: TheEngine, before: Version = "", after: Version = "") -> Response:
    """Without a version, the newest two that were in force one after the other."""
    history = engine.store.catalogs.history()
    if not history:
        return page(request, "catalog_none.html")
    new = after or history[0].version
    older = [one.version for one in history[1:] if one.version != new]
    old = before or next(iter(older), "")
    changes = diff(engine.read_catalog(old) if old else None, engine.read_catalog(new))
    names = list(dict.fromkeys(one.version for one in history))
    model: dict[str, Any] = {"changes": changes[:CHANGES_SHOWN], "count": len(changes), "names": names}
    return page(request, "catalog_diff.html", before=old, after=new, **model)


def price_shown(key: str, document: dict[str, Any]) -> PriceShown:
    newest = document["versions"][-1]
    return PriceShown(key, document, newest, tiers_shown(newest.get("tiers")))


def tiers_shown(rows: list[Mapping[str, Any]] | None) -> TiersShown | None:
    if not rows:
        return None
    starts = ["0", *(row.get("up_to") for row in rows)]
    shown = [{"from": row.get("from", start), **row} for row, start in zip(rows, starts, strict=False)]
    values = [next((row[name] for name in ("unit_amount", "percent", "amount") if row.get(name)), "0") for row in shown]
    return TiersShown(shown, heights([Decimal(value) for value in values], STEPS_HIGH))


def _plans(found: Catalog) -> list[dict[str, Any]]:
    documents = found.document().get("plans", {})
    counts = {
        key: sum(any(_covers(pattern, price) for pattern in plan.prices) for price in found.prices)
        for key, plan in found.plans.items()
    }
    return [{"key": key, "document": documents[key], "prices": counts[key]} for key in found.plans]


def _covers(pattern: str, price: str) -> bool:
    return price.startswith(pattern[:-1]) if pattern.endswith("*") else price == pattern
