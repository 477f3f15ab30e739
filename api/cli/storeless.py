"""A rating run over usage files alone. The events go through a log of their own in a temporary directory: the same
decoding, the same verdicts and the same deduplication as over HTTP, and no memory for the whole of a large file."""

from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from api.cli.catalogs import read_catalog
from api.cli.failing import BAD_DATA, FAILED, USAGE, Failure
from api.cli.printing import progress
from api.cli.rated_events import write_frames
from api.cli.subscription_files import known_plans, read_subscriptions
from api.cli.usage_files import FileSum, bodies, summed
from api.cli.writing import format_of, write_table

if TYPE_CHECKING:
    import polars as pl

    from api.rating_inputs import RatingInputs
    from ingest.files import UsageFile
    from ingest.log import UsageLog
    from ingest.verdicts import BatchVerdict
    from rating.catalog import Catalog
    from rating.core.periods import Month
    from rating.core.subjects import Usage


@dataclass(frozen=True)
class FileRun:
    """What to rate: exactly one of `plan` and `subscriptions` says who pays."""

    files: list["UsageFile"]
    catalog: Path
    month: "Month"
    plan: str | None
    subscriptions: Path | None
    time_zone: str
    out: Path | None
    rated_events: str | None = None


@dataclass(frozen=True)
class FileRunResult:
    """What came of it."""

    period: str
    catalog_version: str
    code_version: str
    digest: str
    report: dict[str, Any]
    files: list[FileSum]

    def as_json(self) -> dict[str, Any]:
        named = ("period", "catalog_version", "code_version", "digest", "report")
        files = {"files": [one.as_json() for one in self.files], **summed(self.files)}
        return {**{name: getattr(self, name) for name in named}, "usage": files}


def rate_files(run: FileRun, *, quiet: bool) -> FileRunResult:
    """Admit the events of the files, rate the month, write the lines. Raises Failure for what the user can mend."""
    from api.rated_events import rated_events_of
    from rating.core.money import AmountOverflow
    from rating.run import code_version, report

    out_format = format_of(run.out) if run.out is not None else None
    catalog = read_catalog(run.catalog)
    _check_plan(run.plan, catalog)
    with TemporaryDirectory(prefix="tallystick-") as directory:
        log = _opened_log(Path(directory), catalog)
        try:
            sums = [_admit(log, file, quiet=quiet) for file in run.files]
            with progress(f"rating {run.month}", quiet=quiet):
                inputs = _inputs(log.scan().usage, run, catalog)
                rated = inputs.rated()
            if run.rated_events is not None:
                write_frames(rated_events_of(inputs, rated.lines), run.rated_events)
        except AmountOverflow as error:
            raise Failure(f"{error}.", FAILED) from error
        finally:
            log.close()
    if run.out is not None and out_format is not None:
        write_table(rated.lines, out_format, str(run.out))
    return FileRunResult(str(run.month), catalog.version, code_version(), rated.digest, report(rated), sums)


def _inputs(usage: "Usage", run: FileRun, catalog: "Catalog") -> "RatingInputs":
    from api.rating_inputs import RatingInputs
    from rating.catalog import compile_catalog
    from rating.core.credits.months import credits_of_plans

    if run.subscriptions is not None:
        subjects, subscriptions = read_subscriptions(run.subscriptions, catalog)
    else:
        subjects, subscriptions = _everyone(usage, str(run.plan), run.time_zone, run.month)
    book = compile_catalog(catalog)
    credits = credits_of_plans(book.credits, subscriptions, run.month)
    return RatingInputs(usage, subjects, subscriptions, book, run.month, credits)


def _opened_log(directory: Path, catalog: "Catalog") -> "UsageLog":
    from ingest.log import UsageLog

    return UsageLog.open(directory, properties=catalog.declared_properties())


def _admit(log: "UsageLog", file: "UsageFile", *, quiet: bool) -> FileSum:
    from api.frames import ARROW
    from ingest.errors import BodyTooLarge, IngestError, UnreadableBody

    total = FileSum(file.path)
    with progress(file.path.name, quiet=quiet) as bar:
        try:
            for body, rows, part in bodies(file):
                total.add(rows, _answer(_submitted(log, body, ARROW).result()))
                bar.advance(part, f"{total.events} events")
        except (UnreadableBody, BodyTooLarge) as error:
            raise Failure(f"{file.path.name}: {error}.", BAD_DATA) from error
        except IngestError as error:
            raise Failure(f"the temporary directory cannot take the events: {error}.", FAILED) from error
    return total


def _submitted(log: "UsageLog", body: bytes, content_type: str) -> "Future[BatchVerdict]":
    """Waits while the usage table is behind: there is nobody else to ask for room."""
    from ingest.errors import Overloaded

    while True:
        try:
            return log.submit(body, content_type)
        except Overloaded:
            log.flush()


def _answer(verdict: "BatchVerdict") -> dict[str, Any]:
    """A verdict in the words of the HTTP answer."""
    repeated = ("duplicate", "conflict")
    events = [{**asdict(e), "verdict": e.code if e.code in repeated else "rejected"} for e in verdict.events]
    counts = {"accepted": verdict.accepted, "duplicates": verdict.duplicate, "conflicts": verdict.conflict}
    return {**counts, "rejected": verdict.rejected, "events": events}


def _everyone(usage: "Usage", plan: str, time_zone: str, month: "Month") -> tuple["pl.DataFrame", "pl.DataFrame"]:
    """Each subject as its own customer, with one subscription from the start of the month."""
    import polars as pl

    from rating.core.schema import INSTANT, SUBJECT, SUBJECT_NUMBER
    from rating.core.subjects import with_names
    from rating.core.subscriptions import plain

    numbers = usage.events.select(SUBJECT_NUMBER).unique()
    names = with_names(numbers, usage.subjects).sort("subject").collect()["subject"]
    subjects = pl.DataFrame({"subject": names, "customer": names}, schema=SUBJECT)
    start = month.start(ZoneInfo(time_zone))
    given = subjects.select(
        pl.col("customer").alias("subscription"),
        "customer",
        pl.lit(plan).alias("plan"),
        pl.lit(time_zone).alias("time_zone"),
        pl.lit(start, dtype=INSTANT).alias("starts_at"),
        pl.lit(None, dtype=INSTANT).alias("ends_at"),
    )
    return subjects, plain(given)


def _check_plan(plan: str | None, catalog: "Catalog") -> None:
    if plan is not None and plan not in catalog.plans:
        raise Failure(f"the catalog has no plan {plan!r}. {known_plans(catalog)}", USAGE)
