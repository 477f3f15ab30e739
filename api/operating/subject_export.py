"""Everything that is known of one subject, in one document: for the person whose usage it is."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from api.engine import Engine
from api.event_list import shown_event
from api.frames import rows
from ingest.lift import completed
from ingest.rejections import Rejection, RejectionFilter
from ingest.schema import DAY, stored_schema
from rating.core.schema import USAGE_EVENT, property_column
from store.errors import NotFound
from store.subject_records import records_of

RUNS_TOGETHER = 100


def known_of(engine: Engine, subject: str) -> dict[str, Any]:
    """Its events, in the order of their acceptance, `counts` is false where they were corrected or replaced; refused
    events of it; the rows of the database that name it (who pays
    for it, its limits, leases and signals); and the charge lines of the customers who pay for it, of every run that is
    done. Raises NotFound for a subject of which nothing is known."""
    events = _events(engine, subject)
    records = records_of(engine.store.engine, subject)
    refused = [_refused(one) for one in engine.log.rejections.read(RejectionFilter(subject=subject))]
    if not (events.height or records or refused):
        raise NotFound("subject", subject)
    payers = sorted({row["customer"] for row in records.get("subjects", [])})
    return {
        "subject": subject,
        "events": [{**shown_event(row), "counts": row["counts"]} for row in events.iter_rows(named=True)],
        "rejections": refused,
        "records": records,
        "charge_lines": [line for payer in payers for line in _lines(engine, payer)],
    }


def _events(engine: Engine, subject: str) -> pl.DataFrame:
    """All events of the log, and those of committed backfills that count."""
    log, view, properties = engine.log, engine.log.view(), engine.log.declared
    schema = stored_schema(properties)
    del schema[DAY]
    names = [name for name in USAGE_EVENT if name in schema] + [property_column(name) for name in properties]
    behind = [completed(frame, properties).lazy() for frame in view.frames]
    taken = [frame.select(names) for frame in (*view.table.scan(schema, properties), *behind)]
    accepted = [frame.filter(pl.col("subject") == subject) for frame in taken]
    counted = log.scan(subjects=[subject], view=view).frame.select(names).collect()
    found = pl.concat([counted, *(frame.collect() for frame in accepted)]).unique("sequence").sort("sequence")
    return found.with_columns(counts=pl.col("sequence").is_in(counted["sequence"].implode()))


def _refused(rejection: Rejection) -> dict[str, Any]:
    """A refused event with its body as text."""
    told = {name: getattr(rejection, name) for name in ("sequence", "received_at", "code", "message", "source", "id")}
    return {**told, "body": rejection.body.decode(errors="replace"), "is_truncated": rejection.is_truncated}


def _lines(engine: Engine, customer: str) -> Iterator[dict[str, Any]]:
    """The charge lines of a customer, from the newest run to the oldest."""
    after: str | None = None
    while page := engine.store.runs.page(period=None, after=after, limit=RUNS_TOGETHER):
        for run in page:
            if run.status == "done":
                yield from rows(engine.rating.lines(run.id, customer=customer).collect())
        after = page[-1].id
