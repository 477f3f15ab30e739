"""What commands print: one JSON document, or tables for people; notes and progress go to stderr."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 200
"""Rich cuts tables to 80 columns where there is no terminal; a pipe has room."""


def document(value: Any) -> None:
    """The one JSON document of a command with --json."""
    print(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None, default=str))


def note(text: str) -> None:
    """Something beside the answer."""
    print(text, file=sys.stderr)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
    """A table on stdout; columns named in `right` hold numbers. Prints nothing but the title when there is no row."""
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    console.print(escape(title), style="bold", soft_wrap=True)
    shown = Table(box=None, pad_edge=False, header_style="dim")
    numbers = set(right)
    for column in columns:
        shown.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(escape("" if cell is None else str(cell)) for cell in row))
    if shown.row_count:
        console.print(shown)


def grouped(number: object) -> str:
    """A number with thousands apart: 1,234,567.5."""
    whole, point, fraction = str(number).partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(digits):,}{point}{fraction}" if digits.isdecimal() else str(number)


def money(amount: object, currency: str) -> str:
    """An amount with all digits of the currency's minor unit: 1,234.50."""
    import iso4217

    digits = iso4217.Currency(currency).exponent or 0
    whole, _, fraction = str(amount).partition(".")
    return grouped(f"{whole}.{fraction.ljust(digits, '0')}" if digits else str(amount))


def _console() -> "Console":
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


class Bar(Protocol):
    """Where a command says how far it is."""

    is_shown: bool

    def advance(self, done: float, note: str = "") -> None:
        """`done` is the part of the work that is done, from 0 to 1."""


class _Silent:
    is_shown = False

    def advance(self, done: float, note: str = "") -> None:
        return


class _Shown:
    is_shown = True

    def __init__(self, progress: Any, task: Any) -> None:
        self._progress, self._task = progress, task

    def advance(self, done: float, note: str = "") -> None:
        self._progress.update(self._task, completed=done, note=note)


@contextmanager
def progress(title: str, *, quiet: bool) -> Iterator[Bar]:
    """A bar on stderr, gone when the work is done; nothing when `quiet` or where stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as shown:
        yield _Shown(shown, shown.add_task(title, total=1.0, note=""))
