"""`tallystick rate`: close a month, from the data directory or from usage files alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.closing import Due, close_due
from api.cli.failing import BAD_DATA, USAGE, Failure
from api.cli.lines import read_lines
from api.cli.options import (
    AsOf,
    Data,
    Decimals,
    FileFormat,
    IdColumn,
    Json,
    Only,
    Properties,
    SourceColumn,
    SubjectColumn,
    TimeColumn,
    TimeZone,
    TypeColumn,
    Url,
)
from api.cli.printing import document, grouped, note, progress
from api.cli.rated_events import media_of_file, write_rated_events
from api.cli.runs import show_report, show_run
from api.cli.service import reach

if TYPE_CHECKING:
    from api.cli.storeless import FileRun
    from rating.core.periods import Month

_ALONE = "Without a data directory"
_DUE = "With --due"


def rate(
    period: Annotated[str | None, typer.Option(help="The month to rate, such as 2026-10.")] = None,
    usage: Annotated[list[Path] | None, typer.Argument(help="Usage files to rate without a data directory.")] = None,
    catalog: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, rich_help_panel=_ALONE, help="The catalog file to rate by."),
    ] = None,
    plan: Annotated[
        str | None, typer.Option(rich_help_panel=_ALONE, help="Every subject is a customer of its own on this plan.")
    ] = None,
    subscriptions: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            rich_help_panel=_ALONE,
            help="A row for each subject: subscription, customer, subject, plan, time_zone, starts_at, ends_at.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(rich_help_panel=_ALONE, help="Write the charge lines: .parquet, .csv, .arrow or .json."),
    ] = None,
    rated_events: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Write each event with its share of its line: .parquet, .csv, .ndjson or .arrow."
        ),
    ] = None,
    id: IdColumn = None,
    source: SourceColumn = None,
    type: TypeColumn = None,
    subject: SubjectColumn = None,
    time: TimeColumn = None,
    property: Properties = None,
    only: Only = False,
    time_zone: TimeZone = None,
    decimals: Decimals = None,
    format: FileFormat = None,
    as_of: AsOf = None,
    due: Annotated[
        bool,
        typer.Option("--due", rich_help_panel=_DUE, help="Close every billing period whose end and grace are over."),
    ] = False,
    until: Annotated[
        str | None,
        typer.Option(rich_help_panel=_DUE, help="Close what ends by this instant; now less grace unless given."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(rich_help_panel=_DUE, help="At the first close: what ended by this instant is billed elsewhere."),
    ] = None,
    draft: Annotated[
        bool, typer.Option("--draft", rich_help_panel=_DUE, help="Keep the lines, and close nothing before `finalize`.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", rich_help_panel=_DUE, help="Show what would be posted first, and keep nothing.")
    ] = False,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Rate a month: every event, all customers at once. The same input gives the same lines and the same digest.

    --due closes what is due, for a scheduler: billing periods of any cycle whose end and grace are over. Their lines
    are final; what comes later is posted by the next close as adjustments. Nothing due is no error.

    With USAGE files and --catalog it needs no data directory; events that would not be accepted over HTTP are listed
    and not rated (exit code 65). --time-zone is then also where the month of --plan begins; UTC unless given.
    """  # fmt: skip
    if due:
        _refuse_beside_due(period=period, usage=usage, as_of=as_of, rated_events=rated_events)
        close_due(Due(until, since, draft, dry_run), data, url, json)
        return
    if period is None:
        raise Failure("say what to rate: --period 2026-10, or --due.", USAGE)
    month = parsed_month(period)
    if rated_events is not None:
        media_of_file(rated_events)
    if not usage:
        _refuse_options_of_files(catalog=catalog, plan=plan, subscriptions=subscriptions, out=out)
        _rate_directory(period, as_of, data, url, json, rated_events)
        return
    from api.cli.storeless import FileRun
    from api.cli.usage_files import opened

    if as_of is not None:
        raise Failure("--as-of goes with a data directory: usage files do not say when they were known.", USAGE)
    if catalog is None or (plan is None) == (subscriptions is None):
        raise Failure("usage files are rated by --catalog FILE and one of --plan KEY and --subscriptions FILE.", USAGE)
    mapping = (id, source, type, subject, time, property, only, time_zone, decimals)
    files = [opened(file, format, *mapping) for file in usage]
    run = FileRun(files, catalog, month, plan, subscriptions, time_zone or "UTC", out, rated_events)
    _rate_files(run, json)


def _rate_files(run: "FileRun", json: bool) -> None:
    from api.cli.storeless import rate_files

    result = rate_files(run, quiet=json)
    if json:
        document(result.as_json())
    else:
        for one in result.files:
            one.show()
        typer.echo(f"{run.month} by catalog {result.catalog_version}, code {result.code_version}")
        typer.echo(f"digest of its charge lines: {result.digest}")
        show_report(result.report)
        if run.out is not None:
            note(f"{result.report['lines']} charge lines are in {run.out}")
        if run.rated_events is not None:
            note(f"the rated events are in {run.rated_events}")
    if any(one.refused for one in result.files):
        raise typer.Exit(BAD_DATA)


def _refuse_beside_due(**given: object) -> None:
    found = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if found:
        raise Failure(f"--due closes all that is due: leave {', '.join(found)} out.", USAGE)


def parsed_month(period: str) -> "Month":
    """Raises Failure for what is no month."""
    from rating.core.periods import parse_month

    try:
        return parse_month(period)
    except ValueError as error:
        raise Failure(f"{error}.", USAGE) from error


def _rate_directory(
    period: str, as_of: str | None, data: Path | None, url: str | None, json: bool, rated_events: str | None
) -> None:
    with reach(data, url) as service:
        with progress(f"rating {period}", quiet=json):
            run = service.answer("POST", "/v1/rating-runs", json={"period": period, "as_of": as_of}).json()
        if rated_events is not None:
            shares = write_rated_events(service, run["id"], read_lines(service, run["id"]), rated_events)
            note(f"{grouped(shares)} shares of events are in {rated_events}")
    document(run) if json else show_run(run)


def _refuse_options_of_files(**given: object) -> None:
    unused = [f"--{name}" for name, value in given.items() if value is not None]
    if unused:
        raise Failure(
            f"{', '.join(unused)} goes with usage files: tallystick rate USAGE.parquet {unused[0]} ...", USAGE
        )
