"""`tallystick serve`: the server on a data directory."""

import json as json_module
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.failing import BAD_SETTINGS, FAILED, USAGE, Failure, failures_of_the_directory
from api.cli.options import Data, Json
from api.cli.printing import note
from api.cli.writing import write_bytes

if TYPE_CHECKING:
    from api.settings import Settings


def serve(
    data: Data = None,
    host: Annotated[
        str | None,
        typer.Option(help="The address to listen on.", show_default="127.0.0.1"),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="The port; 0 takes a free one.", show_default="8080"),
    ] = None,
    url_file: Annotated[Path | None, typer.Option(help="Write the URL to this file, once requests are taken.")] = None,
    json: Json = False,
) -> None:
    """Serve a data directory over HTTP until SIGTERM or Ctrl-C. With --json the first line of stdout says where."""
    with _settings_that_fail(), failures_of_the_directory():
        from api.access.unsafe import Unsafe
        from api.server import serve as serve_settings
        from api.settings import Settings

        given = {"data": data, "host": host, "port": port}
        settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # checked by pydantic

    def announce(url: str, settings: "Settings") -> None:
        if url_file is not None:
            write_bytes(f"{url}\n".encode(), str(url_file))
        where = str(settings.data.absolute())
        if json:
            print(json_module.dumps({"url": url, "data": where}), flush=True)
        else:
            print(f"Tallystick serves {where} at {url}", flush=True)
            note(f"API and its documentation: {url}/docs   stop with Ctrl-C")

    with failures_of_the_directory():
        try:
            serve_settings(settings, announce=announce)
        except ImportError as error:
            extra = "tracing" if (error.name or "").startswith("opentelemetry") else "envoy"
            what = {"tracing": "tracing needs", "envoy": "the rate limit service needs"}[extra]
            raise Failure(f"{what} more packages: pip install 'tallystick[{extra}]'", USAGE) from error
        except Unsafe as error:
            raise Failure(str(error), BAD_SETTINGS) from error
        except OSError as error:
            if error.filename is None:
                raise Failure(_not_listening(settings, error), FAILED) from error
            raise


@contextmanager
def _settings_that_fail() -> Iterator[None]:
    """A service manager must see that it is no use to start again."""
    try:
        yield
    except Failure as failure:
        code = BAD_SETTINGS if failure.exit_code == USAGE else failure.exit_code
        raise Failure(failure.message, code, failure.problems) from failure


def _not_listening(settings: "Settings", error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    at = f"{settings.host}:{settings.port}"
    return f"cannot listen at {at}: {error.strerror or error}. Use another --port; --port 0 takes a free one."
