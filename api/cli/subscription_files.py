"""Who pays for which subjects, from a file instead of a store: one row for each subject of each subscription."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli.failing import BAD_DATA, Failure
from api.cli.records import instant, read_records

if TYPE_CHECKING:
    import polars as pl

    from rating.catalog import Catalog

_NEEDED = ("subscription", "customer", "subject", "plan", "starts_at")
_OPTIONAL = ("time_zone", "ends_at", "billed_to", "interval", "intervals", "anchor", "seats", "trial_ends_at")
_INTERVALS = ("day", "week", "month", "year")
Problem = dict[str, str]


def read_subscriptions(path: Path, catalog: "Catalog") -> tuple["pl.DataFrame", "pl.DataFrame"]:
    """Frames of SUBJECT and SUBSCRIPTION. Raises Failure for what contradicts itself or the catalog."""
    import polars as pl

    from rating.core.schema import SUBJECT
    from rating.core.subscriptions import TERMS, subscriptions_of
    from rating.core.timeline import CHANGE

    rows = read_records(path, needed=_NEEDED, optional=_OPTIONAL)
    problems = [problem for number, row in enumerate(rows, start=1) for problem in _row_problems(number, row, catalog)]
    owners: dict[str, str] = {}
    terms: dict[str, dict[str, Any]] = {}
    for number, row in enumerate([] if problems else rows, start=1):
        problems += _contradictions(number, row, owners, terms)
    if problems:
        raise Failure(f"{path.name} says wrongly who pays:", BAD_DATA, problems)
    subjects = pl.DataFrame(list(owners.items()), schema=SUBJECT, orient="row")
    agreed = pl.DataFrame(list(terms.values()), schema=TERMS)
    return subjects, subscriptions_of(agreed, CHANGE.to_frame())


def known_plans(catalog: "Catalog") -> str:
    """What to write instead of a plan that is not there."""
    return f"Its plans are {', '.join(sorted(catalog.plans)[:10]) or 'none'}."


def _row_problems(number: int, row: dict[str, Any], catalog: "Catalog") -> Iterator[Problem]:
    from store.customers import is_time_zone

    where = f"row {number}"
    if row["plan"] not in catalog.plans:
        message = f"the catalog has no plan {row['plan']!r}"
        yield {"path": where, "message": message, "cure": known_plans(catalog)}
    if not is_time_zone(row.get("time_zone", "UTC")):
        message = f"{row['time_zone']!r} is no IANA time zone"
        yield {"path": where, "message": message, "cure": "Use one like Europe/Madrid."}
    if row.get("interval", "month") not in _INTERVALS:
        message = f"{row['interval']!r} is no interval"
        yield {"path": where, "message": message, "cure": f"Use {', '.join(_INTERVALS)}."}
    if not str(row.get("intervals", 1)).isdecimal() or int(row.get("intervals", 1)) == 0:
        message = f"intervals is {row['intervals']}"
        yield {"path": where, "message": message, "cure": "Write how many make a period: 1, 3."}
    if not _is_number(row.get("seats", 1)):
        yield {"path": where, "message": f"seats is {row['seats']}", "cure": "Write how many there are: 25."}


def _is_number(value: Any) -> bool:
    """Whether it is a number of seats: not below zero, up to 15 digits and 9 decimals."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return False
    return number.is_finite() and 0 <= number < 10**15 and round(number, 9) == number


def _contradictions(
    number: int, row: dict[str, Any], owners: dict[str, str], terms: dict[str, dict[str, Any]]
) -> list[Problem]:
    """Remember the row, and say where it contradicts an earlier one."""
    term = _terms(row)
    found = []
    if owners.setdefault(row["subject"], row["customer"]) != row["customer"]:
        message = f"subject {row['subject']!r} belongs to {owners[row['subject']]!r} already"
        found.append({"path": f"row {number}", "message": message, "cure": "A subject belongs to one customer."})
    if terms.setdefault(row["subscription"], term) != term:
        message = f"subscription {row['subscription']!r} has other terms in an earlier row"
        found.append(
            {"path": f"row {number}", "message": message, "cure": "Give each subscription the same in every row."}
        )
    return found


def _terms(row: dict[str, Any]) -> dict[str, Any]:
    """A row of TERMS."""
    return {
        "subscription": row["subscription"],
        "customer": row["customer"],
        "billed_to": row.get("billed_to", row["customer"]),
        "time_zone": row.get("time_zone", "UTC"),
        "interval": row.get("interval", "month"),
        "intervals": int(row.get("intervals", 1)),
        "anchor": _moment(row.get("anchor")),
        "plan": row["plan"],
        "seats": Decimal(str(row.get("seats", 1))),
        "starts_at": _moment(row["starts_at"]),
        "trial_ends_at": _moment(row.get("trial_ends_at")),
        "ends_at": _moment(row.get("ends_at")),
    }


def _moment(value: Any) -> datetime | None:
    text = instant(value)
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
