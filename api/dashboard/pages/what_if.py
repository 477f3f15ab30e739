"""What if: amounts and tier bounds of the catalog in force turned, tried on real history by the simulation, and taken
along as a catalog file."""

from typing import Annotated, Any

import polars as pl
import yaml
from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.catalog_knobs import knobs, turned
from api.dashboard.charts import Chart, Series
from api.dashboard.forms import Form, form_of
from api.dashboard.rendering import HEADERS, PageRoute, page
from api.engine import Engine
from api.simulation import Asked, Simulated
from api.wiring import TheEngine
from rating.catalog import Catalog, load_catalog
from rating.catalog.diffing import diff
from rating.core.money import plain
from rating.core.periods import month_of
from rating.core.simulation import CUSTOMER_CHANGE
from store.errors import Refused

router = APIRouter(route_class=PageRoute, prefix="/catalog/what-if")

PRICES_MAX = 12
CUSTOMERS_DRAWN = 12
CUSTOMERS_LISTED = 100


@router.get("")
def what_if(request: Request, engine: TheEngine, price: Annotated[list[str] | None, Query()] = None) -> Response:
    if engine.status()["catalog"] is None:
        return page(request, "catalog_none.html")
    catalog = engine.in_force.catalog
    chosen = _chosen(catalog, price or [])
    if not chosen:
        chosen = [key for key in catalog.prices if knobs(catalog, key)][:1]
    month = month_of(engine.now(), "UTC")
    return page(
        request,
        "what_if.html",
        catalog=catalog,
        chosen=[(key, catalog.prices[key], knobs(catalog, key)) for key in chosen],
        others=[key for key in catalog.prices if key not in chosen],
        months=(str(month.before()), str(month)),
    )


def _chosen(catalog: Catalog, asked: list[str]) -> list[str]:
    return [key for key in dict.fromkeys(asked) if key in catalog.prices][:PRICES_MAX]


@router.post("")
async def simulate(request: Request, engine: TheEngine) -> Response:
    form = await form_of(request)
    return await run_in_threadpool(_simulated, request, engine, form)


def _simulated(request: Request, engine: Engine, form: Form) -> Response:
    other = _other(engine, form)
    changes = diff(engine.in_force.catalog, other)
    if not changes:
        raise Refused(["nothing is turned: change an amount or a bound first"])
    found = engine.simulate(Asked(other, form.get("from"), form.get("to"), {}))
    return page(request, "what_if_found.html", found=found, changes=changes, currencies=_currencies(found))


@router.post("/download")
async def download(request: Request, engine: TheEngine) -> Response:
    """The catalog with what is turned, as a file to look at and to apply."""
    other = _other(engine, await form_of(request))
    text = yaml.safe_dump(other.document(), sort_keys=False, allow_unicode=True)
    named = {"Content-Disposition": 'attachment; filename="catalog.yaml"'}
    return Response(text, media_type="application/yaml", headers={**HEADERS, **named})


def _other(engine: Engine, form: Form) -> Catalog:
    """Raises Refused, CatalogInvalid."""
    catalog = engine.in_force.catalog
    prices = _chosen(catalog, form.all("price"))
    given = {knob.name: form.get(knob.name) for key in prices for knob in knobs(catalog, key)}
    return load_catalog(turned(catalog, prices, given))


def _currencies(found: Simulated) -> list[dict[str, Any]]:
    """One entry a currency: what it came to, who pays how much more or less, and two charts."""
    return [
        {"total": row, "customers": _changed(found, row["currency"]), "charts": _charts(found, row["currency"])}
        for row in found.found.currencies.iter_rows(named=True)
    ]


def _changed(found: Simulated, currency: str) -> list[dict[str, Any]]:
    """The customers whose bill changes, the largest changes first, whichever way."""
    own = found.found.customers.filter(pl.col("currency") == currency, pl.col("difference") != 0)
    return own.sort(pl.col("difference").abs(), "customer", descending=[True, False]).head(CUSTOMERS_LISTED).to_dicts()


def _charts(found: Simulated, currency: str) -> list[Chart]:
    totals = found.found.totals.filter(pl.col("currency") == currency)
    sides = [Series(name, [plain(value) for value in totals[side]]) for name, side in _SIDES]
    months = Chart(f"months-{currency}", "Revenue by month", "bars", totals["period"].to_list(), sides, currency)
    changed = _changed(found, currency)[:CUSTOMERS_DRAWN]
    largest = pl.DataFrame(changed, schema=CUSTOMER_CHANGE).sort("difference", descending=True)
    series = [Series("Change", [plain(value) for value in largest["difference"]])]
    names = largest["customer"].to_list()
    who = Chart(f"who-{currency}", "Whose bill changes the most", "rows", names, series, currency, digits=2)
    return [months, who] if changed else [months]


_SIDES = (("In force", "before"), ("As turned", "after"))
