"""What a server logs: one line for each thing, JSON or text, with the id of the request that it was done for.

All of it comes through the `logging` of Python, ours and that of libraries, so there is one handler and one form
(structlog's). Logs are kept for long and read by many, so bodies, and what customers and subjects are called, must not
get into them (RELIABILITY S11). A message of ours names files, sequences, counts and ids that we made. What may hold
data is the message of an exception: but for those of disk and database, its type and the places it passed are logged,
and its message only at level debug.
"""

import logging
import sys
import traceback
from copy import copy
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from api.observing.request_ids import current
from ingest.errors import BackfillDamaged, CommitUnknown, DataDirectoryLocked, JournalDamaged, NotCommitted
from store.errors import DatabaseDamaged, DatabaseUnavailable

REQUESTS = "tallystick.requests"
OURS = ("tallystick", "api", "ingest", "store", "rating")
_SPEAKING = (
    OSError,
    ImportError,
    NotCommitted,
    CommitUnknown,
    JournalDamaged,
    BackfillDamaged,
    DataDirectoryLocked,
    DatabaseUnavailable,
    DatabaseDamaged,
)
"""Exceptions whose messages name files, modules and the database, and nothing that anybody sent."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def configure_logs(level: str, form: str, stream: TextIO | None = None) -> None:
    """Log to `stream`, stderr unless given; `form` is json, text, or auto: text on a terminal.

    Ours from `level` on, that of libraries from warnings on: some of them log addresses that are secrets.
    """
    stream = stream or sys.stderr
    is_text = form == "text" or (form == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        _Formatter(is_text=is_text, is_colored=is_text and stream.isatty(), shows_all=level == "debug")
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())
    logging.getLogger(REQUESTS).setLevel(logging.INFO)  # `log_requests` decides which there are


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """The records of `logging`, without what may be data."""

    def __init__(self, *, is_text: bool, is_colored: bool, shows_all: bool) -> None:
        shared = [structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, _with_extra, _with_request]
        stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
        super().__init__(
            foreign_pre_chain=[*shared, stamp],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.dev.ConsoleRenderer(colors=is_colored)
                if is_text
                else structlog.processors.JSONRenderer(sort_keys=True, ensure_ascii=True),
            ],
        )
        self._shows_all = shows_all

    def format(self, record: logging.LogRecord) -> str:
        own = copy(record)
        if not self._shows_all:
            own.args = _without_data(own.args)
        if own.exc_info and own.exc_info[1] is not None:
            own.exception = _told(own.exc_info, shows_all=self._shows_all)
        own.exc_info = own.exc_text = None
        return super().format(own)


def _with_extra(_logger: WrappedLogger, _name: str, fields: EventDict) -> EventDict:
    """What was given to `logging` as `extra`."""
    record = fields.get("_record")
    more = {name: value for name, value in vars(record).items() if name not in _STANDARD} if record else {}
    return {**fields, **more}


def _with_request(_logger: WrappedLogger, _name: str, fields: EventDict) -> EventDict:
    request_id = current.get()
    return fields if request_id is None else {"request_id": request_id, **fields}


def _without_data(args: Any) -> Any:
    """The arguments of a message; of exceptions that may hold data only what they are."""
    if isinstance(args, tuple):
        return tuple(safe_text(each) if isinstance(each, BaseException) else each for each in args)
    return args


def safe_text(error: BaseException) -> str:
    """The message of an exception that holds no data; the type of any other."""
    return str(error) if isinstance(error, _SPEAKING) else type(error).__name__


def _told(exc_info: _ExcInfo, *, shows_all: bool) -> str:
    """What was raised and where, of each exception behind it too."""
    if shows_all:
        return "".join(traceback.format_exception(*exc_info)).rstrip()
    lines: list[str] = []
    error: BaseException | None = exc_info[1]
    while error is not None:
        places = traceback.extract_tb(error.__traceback__)
        message = f": {error}" if isinstance(error, _SPEAKING) else ""
        lines.append(f"{type(error).__name__}{message}")
        lines += [f"  {place.filename}:{place.lineno} {place.name}" for place in reversed(places)]
        behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        lines += ["because of"] if behind is not None else []
        error = behind
    return "\n".join(lines)
