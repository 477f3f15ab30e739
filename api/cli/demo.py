"""`tallystick demo`: a day of LLM usage, from posting it to explaining a charge line."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli.options import Json


def demo(
    events: Annotated[int, typer.Option(min=1_000, help="How many usage events to post.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Another seed is another day.")] = 2026,
    keep: Annotated[Path | None, typer.Option(help="Keep the data directory here; it must not exist.")] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Leave a server with two months open, for the browser.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="With --serve; 0 takes a free one.")] = 8080,
    json: Json = False,
) -> None:
    """Post a day of LLM usage to a server of its own, close the month, show the charges, and check them. With --serve,
    two months up to now, and a dashboard to look at them."""
    if serve:
        from api.demo.serving import serve_demo

        return serve_demo(events=events, seed=seed, keep=keep, port=port)
    from api.demo.story import tell

    if not tell(events=events, seed=seed, keep=keep, as_json=json):
        raise typer.Exit(1)
