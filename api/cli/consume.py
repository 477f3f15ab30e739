"""`tallystick consume`: events from a broker, acknowledged there when they are durable here."""

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.failing import BAD_DATA, TRY_AGAIN, UNAVAILABLE, USAGE, Failure
from api.cli.options import Data, Json, Url
from api.cli.printing import Bar, document, grouped, note, progress
from api.cli.service import Service, reach

if TYPE_CHECKING:
    from api.sources.nats import Consumed, Source

app = typer.Typer(help="Take events from a broker.", no_args_is_help=True)

NOT_NOW = (429, 503, 507)
UNFIT = (400, 413, 415)
BATCH_JSON = "application/cloudevents-batch+json"


@app.callback()
def consume() -> None:
    """Take events from a broker; each message is acknowledged when its event is durable here."""


@app.command("nats")
def consume_nats(
    stream: Annotated[str, typer.Option(help="The JetStream stream.")],
    durable: Annotated[str, typer.Option(help="The durable pull consumer; made when it is not there.")],
    server: Annotated[
        list[str] | None,
        typer.Option(envvar="NATS_URL", help="Of the broker; may be repeated.", show_default="nats://127.0.0.1:4222"),
    ] = None,
    subject: Annotated[str, typer.Option(help="Only these subjects, for a consumer that is made.")] = "",
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Messages that are in flight at most.")] = 1_000,
    ack_wait: Annotated[
        float, typer.Option(min=1, help="Seconds until a message comes again, for a consumer that is made.")
    ] = 30.0,
    until_empty: Annotated[bool, typer.Option("--until-empty", help="End when no message is left.")] = False,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Pull CloudEvents from NATS until SIGTERM or Ctrl-C.

    A message comes again until its event is durable here, and counts once however often it comes. One whose event is
    refused is terminated. Exit code 65 when that happened with --until-empty.
    """
    try:
        from api.sources.nats import Source
    except ModuleNotFoundError as error:
        raise Failure("NATS needs a package more: pip install 'tallystick[nats]'", USAGE) from error
    servers = tuple(server or ["nats://127.0.0.1:4222"])
    source = Source(servers, stream, durable, subject, batch, ack_wait, until_empty)
    started = time.monotonic()
    with reach(data, url, make=True) as service, progress(stream, quiet=json) as bar:
        total = asyncio.run(_consume(source, service, bar))
    _show(source, total, time.monotonic() - started, as_json=json)
    if until_empty and total.refused:
        raise typer.Exit(BAD_DATA)


async def _consume(source: "Source", service: Service, bar: Bar) -> "Consumed":
    from api.sources.nats import NotNow, Reporter, Unreachable
    from api.sources.nats import consume as consume_messages

    def show(total: "Consumed") -> None:
        bar.advance(total.messages / max(total.messages + total.pending, 1), f"{grouped(total.messages)} messages")

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        return await consume_messages(source, lambda body: _submit(service, body), stop, Reporter(show, note))
    except Unreachable as error:
        raise Failure(f"{error}.", UNAVAILABLE) from error
    except NotNow as error:
        raise Failure(f"{error}. What was not taken stays with the broker; run the same again.", TRY_AGAIN) from error


def _submit(service: Service, body: bytes) -> dict[str, Any]:
    """Post a batch. See `Submit` of api/sources/nats.py."""
    from api.sources.nats import NotNow, Unfit

    headers = {"Content-Type": BATCH_JSON}
    try:
        response = service.answer("POST", "/v1/events", content=body, headers=headers, also=(*NOT_NOW, *UNFIT, 422))
    except Failure as failure:
        if failure.exit_code == UNAVAILABLE:
            raise NotNow(failure.message) from failure
        raise
    answer: dict[str, Any] = response.json()
    if response.status_code in NOT_NOW:
        raise NotNow(str(answer.get("detail")), float(response.headers.get("Retry-After", 1)))
    if "events" not in answer:
        raise Unfit(str(answer.get("detail")))
    return answer


def _show(source: "Source", total: "Consumed", seconds: float, *, as_json: bool) -> None:
    names = ("messages", "accepted", "duplicates", "conflicts", "rejected")
    counts = {name: getattr(total, name) for name in names}
    if as_json:
        about = {"stream": source.stream, "durable": source.durable}
        document({**about, **counts, "seconds": round(seconds, 3), "problems": total.problems})
        return
    print(f"{source.stream}: " + ", ".join(f"{grouped(count)} {name}" for name, count in counts.items()))
    for problem in total.problems:
        note(f"  message {problem['sequence']}: {problem['code']}: {problem['message']}")
