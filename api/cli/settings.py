"""`tallystick settings`: what is in force, and where it was said."""

from typing import Annotated

import typer

from api.cli.failing import failures_of_the_directory
from api.cli.options import Json
from api.cli.printing import document, table

Page = Annotated[bool, typer.Option("--page", help="The page of all settings (docs/settings.md), in Markdown.")]


def settings(page: Page = False, json: Json = False) -> None:
    """The settings in force, and where each was said: in the environment, in the file, or nowhere. No secrets."""
    with failures_of_the_directory():
        from api.operating import settings_shown
        from api.settings import Settings

        if page:
            typer.echo(settings_shown.page(), nl=False)
            return
        rows = settings_shown.shown(Settings())
    if json:
        document({row.name: {"value": row.value, "source": row.source} for row in rows})
    else:
        table("settings", ("setting", "value", "said in"), [(row.name, row.value, row.source) for row in rows])
