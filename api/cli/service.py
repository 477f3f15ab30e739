"""How commands reach the engine: over HTTP where a server runs, in this process where none does. See api/client.py."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from api.cli.failing import BAD_DATA, FAILED, TRY_AGAIN, UNAVAILABLE, Failure, failures_of_the_directory

if TYPE_CHECKING:
    import httpx2

PAGE_ROWS = 1_000
_EXIT_CODES = {
    400: BAD_DATA,
    413: BAD_DATA,
    415: BAD_DATA,
    422: BAD_DATA,
    429: TRY_AGAIN,
    503: TRY_AGAIN,
    507: TRY_AGAIN,
}


class Service:
    """The HTTP interface, with failures for people."""

    def __init__(self, client: "httpx2.Client") -> None:
        self._client = client

    def answer(self, method: str, path: str, *, also: tuple[int, ...] = (), **request: Any) -> "httpx2.Response":
        """The answer, when its status is one of success or in `also`. Raises Failure with the problem it reports."""
        import httpx2

        try:
            response = self._client.request(method, path, **request)
        except httpx2.TransportError as error:
            raise Failure(
                f"no server answers at {self._client.base_url} ({str(error) or type(error).__name__}). Start it with "
                "`tallystick serve`, or say another --url.",
                UNAVAILABLE,
            ) from error
        if response.is_success or response.status_code in also:
            return response
        raise _failure(response)

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON that is there; parameters without a value are left out."""
        return self.answer("GET", path, params={k: v for k, v in parameters.items() if v is not None}).json()

    def pages(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list."""
        after: Any = None
        while True:
            page = self.get(path, **parameters, after=after, limit=PAGE_ROWS)
            yield from page["items"]
            if page["next"] in (None, after) or not page["items"]:
                return
            after = page["next"]


@contextmanager
def reach(data: Path | None, url: str | None, *, make: bool = False) -> Iterator[Service]:
    """The service on the data directory or at the URL. Only with `make` is a directory made that is not there."""
    with failures_of_the_directory():
        from api.client import connect
        from api.settings import Settings

        settings = Settings(data=data) if data is not None else Settings()
    if url is None and not make and not settings.data.is_dir():
        raise Failure(
            f"there is no data directory {settings.data}. Say another --data, or make it with `tallystick serve`, "
            "`tallystick catalog apply` or `tallystick ingest`."
        )
    with ExitStack() as stack:
        with failures_of_the_directory():
            client = stack.enter_context(connect(settings, url=url))
        yield Service(client)


def segment(key: str) -> str:
    """A key as a part of a path."""
    return quote(key, safe="")


def _failure(response: "httpx2.Response") -> Failure:
    code = _EXIT_CODES.get(response.status_code, FAILED)
    try:
        problem = response.json()
        detail = str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return Failure(f"the server answered {response.status_code} {response.reason_phrase}.", code)
    problems = problem.get("problems") or []
    if len(problems) == 1 and problems[0].get("message", "") in detail and "\n" not in detail:
        problems = []
    elif problems:
        detail = detail.splitlines()[0] if "\n" in detail else f"{len(problems)} things are wrong:"
    if problem.get("request_id"):
        detail += f" (request {problem['request_id']})"
    return Failure(detail, code, problems)
