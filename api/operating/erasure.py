"""Erase a subject from a data directory that nobody serves, and prove what became of it.

Its name becomes a random pseudonym wherever it stood as a subject: in events, in the database, in committed backfills.
The undeclared `data` of its events and the reasons of its corrections go, and so does what was refused of it. Declared
properties, identities, times and the customer who pays stay: bills are made of them. So totals and charge lines are
what they were, which is checked here before anything is called done.

A file says that the work is under way. Until it has ended the directory cannot be opened, and the same call goes on
where one before has stopped: each step can be made again.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl

from api.engine import Engine
from api.settings import Settings
from ingest.backfill import DIRECTORY as BACKFILLS
from ingest.erasure import ErasedEvents, erase_events, erase_rejections, totals
from ingest.lock import ERASING, LOCK_FILE
from ingest.usage_table import UsageTable
from rating.catalog import parse_catalog
from rating.core.money import plain
from rating.core.schema import PropertyType
from rating.disk import Disk
from rating.line_table import damaged_lines
from store import Store, open_store
from store.errors import NotFound, Refused
from store.subject_records import forget_in_audit_log, forget_what_was_deleted, rename_subject

PROOFS = "erasures"
REMAINS = (
    "source, id, type, time and declared properties of the events, and 64 bits of a hash of each as it was sent: "
    "totals are made of them, and an event that is sent again is known",
    "the pseudonym, in the place of the name, and the customer who pays for it",
    "charge lines, ledgers and runs, as they were: they name the customer and no subject; rated again a run has the "
    "same lines, but `tallystick verify` notes that its customers have another digest than it recorded",
    "backups that were made before, and what receivers of webhooks, exports and logs outside have got",
)


@dataclass(frozen=True)
class Proof:
    """What became of a subject: counts of what was changed, what is counted of it before and after, where its name
    still stands, and what remains on purpose. It does not have the name."""

    pseudonym: str
    begun_at: str
    ended_at: str
    events: ErasedEvents
    records: Mapping[str, int]
    rejections: int
    totals_before: list[dict[str, Any]]
    totals_after: list[dict[str, Any]]
    runs_as_they_were: int
    name_found_in: list[str]
    remains: tuple[str, ...] = REMAINS


def erase(settings: Settings, subject: str, *, now: datetime, disk: Disk) -> Proof:
    """Erase a subject. Raises DataDirectoryLocked where a server runs, NotFound for a subject that has neither events
    nor a customer, Refused while a backfill is open."""
    data = settings.data
    if not (data / ERASING).exists():
        plan = _planned(settings, subject, now)
    else:
        plan = json.loads((data / ERASING).read_bytes())
        if plan["subject"] != subject:
            raise Refused(["the erasure of another subject was not finished: run that one again first"])
    with disk.lock(data / LOCK_FILE):
        disk.publish(data / ERASING, [json.dumps(plan).encode()])
        with closing(open_store(settings.database, disk=disk)) as store:
            proof = _erased(data, store, plan, disk, now)
        disk.make_directory(data / PROOFS)
        disk.publish(data / PROOFS / f"{plan['pseudonym']}.json", [json.dumps(asdict(proof), indent=1).encode()])
        disk.unlink(data / ERASING)
    return proof


def _planned(settings: Settings, subject: str, now: datetime) -> dict[str, Any]:
    """Move the journal to the table, and choose a name."""
    with closing(Engine.open(settings)) as engine:
        if opened := engine.backfills.status()["open"]:
            raise Refused([f"backfill {key} is open: commit or drop it first" for key in opened])
        engine.log.flush()
        has_payer = subject in engine.store.customers.subjects_frame()["subject"]
        if not (has_payer or engine.log.numbers_of([subject]).height):
            raise NotFound("subject", subject)
    return {"subject": subject, "pseudonym": f"erased-{uuid4().hex}", "begun_at": now.isoformat()}


def _erased(data: Path, store: Store, plan: Mapping[str, Any], disk: Disk, now: datetime) -> Proof:
    subject, pseudonym = plan["subject"], plan["pseudonym"]
    tables = [UsageTable(path, disk=disk) for path in _usage_tables(data)]
    properties = _declared(store, tables)
    runs = _whole_runs(data, store)
    before = [_counted(table, (subject, pseudonym), properties) for table in tables]
    everything = [totals(table, (), properties) for table in tables]
    done = sum((erase_events(table, subject, pseudonym, properties) for table in tables), ErasedEvents())
    after = [_counted(table, (subject, pseudonym), properties) for table in tables]
    assert before == after, f"what is counted of the subject was {before} and is {after}"
    for table, total in zip(tables, everything, strict=True):
        assert totals(table, (), properties).equals(total), "what is counted of all subjects has changed"
    for path in _caches(data):
        disk.remove_tree(path)
    rejections = erase_rejections(disk, data / "rejections", subject)
    records = rename_subject(store.engine, subject, pseudonym)
    if cleared := forget_in_audit_log(store.engine, subject):
        records["audit_log"] = cleared
    forget_what_was_deleted(store.engine)
    assert _whole_runs(data, store) == runs, "charge lines have changed"
    begun_at, ended_at = plan["begun_at"], now.isoformat()
    found = sorted(places_of(data, subject))
    return Proof(
        pseudonym, begun_at, ended_at, done, records, rejections, _flat(before), _flat(after), len(runs), found
    )


def _usage_tables(data: Path) -> list[Path]:
    return [path for path in (data / "usage", *sorted((data / BACKFILLS).glob("*/usage"))) if path.is_dir()]


def _caches(data: Path) -> list[Path]:
    """What has names and is made again from the tables."""
    return [path for path in (data / "subjects", *(data / BACKFILLS).glob("*/subjects")) if path.is_dir()]


def _declared(store: Store, tables: list[UsageTable]) -> dict[str, PropertyType]:
    """Every property that was ever declared."""
    found: dict[str, PropertyType] = {}
    for version in store.catalogs.history():
        found |= parse_catalog(store.catalogs.document(version.version), format="json").declared_properties()
    for table in tables:
        found |= table.properties()
    return found


def _whole_runs(data: Path, store: Store) -> dict[str, str | None]:
    """The digests of the runs that are done; the files of their lines are what was written."""
    damaged = list(damaged_lines(data / "lines"))
    assert not damaged, damaged
    runs: dict[str, str | None] = {}
    after: str | None = None
    while page := store.runs.page(period=None, after=after, limit=1000):
        runs |= {run.id: run.digest for run in page if run.status == "done"}
        after = page[-1].id
    return runs


def _counted(
    table: UsageTable, subjects: tuple[str, ...], properties: Mapping[str, PropertyType]
) -> list[dict[str, Any]]:
    """Totals as JSON has them."""
    return [
        {name: value if isinstance(value, (str, int)) or value is None else plain(value) for name, value in row.items()}
        for row in totals(table, subjects, properties).iter_rows(named=True)
    ]


def _flat(parts: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [row for part in parts for row in part]


def places_of(data: Path, name: str) -> Iterator[str]:
    """The files below `data` that have a name in them, Parquet files unpacked; with the column where there is one."""
    for path in sorted(path for path in data.rglob("*") if path.is_file() and path.name not in (LOCK_FILE, ERASING)):
        shown = str(path.relative_to(data))
        if path.suffix == ".parquet":
            yield from (f"{shown}: {column}" for column in _columns_with(path, name))
        elif name.encode() in path.read_bytes():
            yield shown


def _columns_with(path: Path, name: str) -> list[str]:
    frame = pl.scan_parquet(path, hive_partitioning=False)
    texts = [column for column, dtype in frame.collect_schema().items() if dtype == pl.String]
    if not texts:
        return []
    found = frame.select(pl.col(texts).str.contains(name, literal=True).any()).collect().row(0, named=True)
    return [column for column, is_there in found.items() if is_there]
