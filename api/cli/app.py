"""The commands, put together. What is heavy is imported only when a command runs, so that `--help` is quick."""

import os
from pathlib import Path
from typing import Annotated

import typer

from api.cli import (
    audit,
    backfills,
    backups,
    catalogs,
    charges,
    check,
    closing,
    conformance,
    consume,
    credits,
    customers,
    demo,
    doctor,
    entitlements,
    events,
    ingesting,
    keys,
    leases,
    lines,
    lint,
    quota,
    rating,
    rejections,
    runs,
    serving,
    settings,
    shadow,
    simulate,
    states,
    subjects,
    subscriptions,
    usage,
    users,
    verify,
    webhooks,
)

app = typer.Typer(
    name="tallystick",
    help="Usage metering and rating: exact, durable, explainable to the single event.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tallystick {version('tallystick')}")
        raise typer.Exit


@app.callback()
def tallystick(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings in TOML; the environment wins.", show_envvar=False),
    ] = None,
) -> None:
    """Usage metering and rating: exact, durable, explainable to the single event."""
    if config is not None:
        os.environ["TALLYSTICK_CONFIG"] = str(config.absolute())  # where every command looks for it


catalogs.app.command()(lint.lint)
app.command()(demo.demo)
app.command()(serving.serve)
app.command()(ingesting.ingest)
app.command()(rating.rate)
app.command()(closing.finalize)
app.command()(simulate.simulate)
app.command()(runs.runs)
app.command()(verify.verify)
app.command()(charges.charges)
app.command()(lines.lines)
app.command()(lines.explain)
app.command()(check.check)
app.command()(usage.usage)
app.command()(quota.signals)
app.command()(doctor.doctor)
app.command()(settings.settings)
app.command()(backups.backup)
app.command()(backups.restore)
app.command()(conformance.conformance)
app.add_typer(quota.app, name="quota")
app.add_typer(consume.app, name="consume")
app.add_typer(entitlements.app, name="entitlements")
app.add_typer(events.app, name="events")
app.add_typer(rejections.app, name="rejections")
app.add_typer(backfills.app, name="backfill")
app.add_typer(catalogs.app, name="catalog")
app.add_typer(shadow.app, name="shadow")
app.add_typer(credits.app, name="credits")
app.add_typer(leases.app, name="leases")
app.add_typer(customers.app, name="customers")
app.add_typer(subscriptions.app, name="subscriptions")
app.add_typer(states.app, name="states")
app.add_typer(subjects.app, name="subjects")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(keys.app, name="keys")
app.add_typer(users.app, name="users")
app.add_typer(audit.app, name="audit")
