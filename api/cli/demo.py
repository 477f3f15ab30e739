"""`tallystick demo`: a day of LLM usage, from posting it to explaining a charge line."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli.options import Json


def demo(
    events: Annotated[int, typer.Option(min=1_000, help="How many usage events to post.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Another seed is another day.")] = 2026,
    keep: Annotated[Path | None, typer.Option(help="Keep the data directory here; it must not exist.")] = None,
    json: Json = False,
) -> None:
    """Post a day of LLM usage to a server of its own, close the month, show the charges, and check them."""
    from api.demo.story import tell

    if not tell(events=events, seed=seed, keep=keep, as_json=json):
        raise typer.Exit(1)
