"""A line of the log is JSON or text, has the request id, and nothing that a customer sent."""

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest

from api.observing.logs import configure_logs
from api.observing.request_ids import current
from store.errors import DatabaseUnavailable, NotFound

SECRET = "zz-customer"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What `configure_logs` writes to; the handlers of the test run come back after it."""
    root, levels = logging.getLogger(), {name: logging.getLogger(name).level for name in ("", "api", "ingest")}
    handlers = list(root.handlers)
    for handler in handlers:  # else basicConfig closes them
        root.removeHandler(handler)
    yield io.StringIO()
    logging.captureWarnings(False)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    root.handlers[:] = handlers


def raises() -> None:
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise RuntimeError(f"about {SECRET}") from error


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_logger_and_request(stream: io.StringIO) -> None:
    configure_logs("info", "json", stream)
    token = current.set("req-1")
    logging.getLogger("api.x").info("done %d", 3, extra={"seconds": 0.5})
    current.reset(token)
    [line] = lines(stream)
    assert str(line.pop("timestamp")).endswith("Z")
    assert line == {"event": "done 3", "level": "info", "logger": "api.x", "request_id": "req-1", "seconds": 0.5}


def test_what_a_fault_says_is_left_out_and_where_it_was_is_not(stream: io.StringIO) -> None:
    configure_logs("info", "json", stream)
    try:
        raises()
    except RuntimeError as error:
        logging.getLogger("api.x").error("failed: %s", error, exc_info=error)
        logging.getLogger("api.x").error("refused: %s", NotFound("customer", SECRET))
        logging.getLogger("api.x").error("away: %s", DatabaseUnavailable("the database is away"))
    failed, refused, away = lines(stream)
    assert SECRET not in stream.getvalue()
    assert failed["event"] == "failed: RuntimeError"
    assert "KeyError" in str(failed["exception"])
    assert f"{__file__}:" in str(failed["exception"])
    assert (refused["event"], away["event"]) == ("refused: NotFound", "away: the database is away")


def test_at_debug_it_is_there(stream: io.StringIO) -> None:
    configure_logs("debug", "json", stream)
    try:
        raises()
    except RuntimeError:
        logging.getLogger("ingest.x").exception("failed")
    assert SECRET in stream.getvalue()


def test_text_is_for_people(stream: io.StringIO) -> None:
    configure_logs("info", "text", stream)
    logging.getLogger("ingest.x").warning("careful")
    assert "careful" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_libraries_say_warnings_and_no_more(stream: io.StringIO) -> None:
    """An HTTP client tells the address of each request: that of a webhook is a secret."""
    configure_logs("debug", "json", stream)
    logging.getLogger("httpx2").info("HTTP Request: POST https://example.com/secret")
    logging.getLogger("httpx2").warning("careful")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert [line["logger"] for line in lines(stream)] == ["httpx2", "py.warnings"]


@pytest.mark.parametrize(("level", "shown"), [("info", 2), ("warning", 1), ("error", 0)])
def test_the_level_is_a_setting(stream: io.StringIO, level: str, shown: int) -> None:
    configure_logs(level, "json", stream)
    logging.getLogger("api.x").info("a")
    logging.getLogger("api.x").warning("b")
    assert len(lines(stream)) == shown
