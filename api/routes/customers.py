"""Customers and the subjects whose usage they pay for."""

from typing import Annotated

from fastapi import APIRouter, Body, Path

from api.documentation import problems
from api.models import BULK_MAX, CustomerIn, CustomerOut, CustomerPage, CustomerWithKey, Key, Stored
from api.paths import anything
from api.wiring import After, Limit, TheEngine
from store.customers import Customer

router = APIRouter(prefix="/v1/customers", tags=["customers"])

Many = Annotated[list[CustomerWithKey], Body(max_length=BULK_MAX)]


@router.post("", response_model=Stored, responses=problems(400, 409, 413, 507))
def put_customers(engine: TheEngine, customers: Many) -> Stored:
    """Add or replace many customers at once: all of them, or none when one is refused."""
    engine.put_customers([_customer(engine, customer.key, customer) for customer in customers])
    return Stored(stored=len(customers))


@router.get("", response_model=CustomerPage)
def list_customers(engine: TheEngine, after: After = None, limit: Limit = 100) -> CustomerPage:
    """Customers in the order of their keys."""
    page = engine.store.customers.page(after=after, limit=limit)
    following = page[-1].key if len(page) == limit else None
    return CustomerPage(items=[CustomerOut.model_validate(c) for c in page], next=following)


@router.put(f"/{anything('key')}", response_model=CustomerOut, responses=problems(400, 409, 413, 507))
def put_customer(engine: TheEngine, key: Annotated[Key, Path()], customer: CustomerIn) -> CustomerOut:
    """Add a customer or replace it, its subjects included."""
    engine.put_customers([_customer(engine, key, customer)])
    return CustomerOut.model_validate(engine.store.customers.get(key))


@router.get(f"/{anything('key')}", response_model=CustomerOut, responses=problems(404))
def read_customer(engine: TheEngine, key: Annotated[Key, Path()]) -> CustomerOut:
    return CustomerOut.model_validate(engine.store.customers.get(key))


def _customer(engine: TheEngine, key: str, given: CustomerIn) -> Customer:
    subjects = given.subjects if given.subjects is not None else [key]
    return Customer(key, given.name or key, given.time_zone, engine.now(), tuple(subjects), given.parent)
