"""Making the parts of a run and storing them one after the other: what a crash breaks off is gone on with behind the
last part that was recorded."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar

import polars as pl

from api.due_parts import Posting
from api.progress import Progress
from api.run_sums import PartSums
from ingest.errors import CommitUnknown, DiskFull
from ingest.log import UsageLog
from rating.core.line_digest import LineDigest
from rating.disk import is_full
from rating.ledger_table import LedgerTable
from rating.line_table import LineTable
from rating.spans import span
from store import Store
from store.runs import Run

T = TypeVar("T")
Late: TypeAlias = Literal["adjust", "document"]
ADJUSTED: Late = "adjust"

AHEAD = 2
"""So many parts are rated while one is stored, and in memory beside it."""


@dataclass(frozen=True)
class Made:
    """The parts of a run that are stored. `document` is the digest of what was restated as a document of its own, null
    where there is none or it was done before."""

    parts: list[PartSums]
    digest: str
    document: str | None


def part_sums(posting: Posting, late: Late) -> PartSums:
    """What a part comes to."""
    return PartSums.of(posting, posting.lines(late), _document(posting, late))


def _document(posting: Posting, late: Late) -> pl.DataFrame:
    """CHARGE_LINE that belong to a document of their own."""
    return posting.restated if late == "document" else posting.restated.clear()


def made_ahead(works: Sequence[Callable[[], T]]) -> Generator[T]:
    """What each of `works` makes, in their order. While one is looked at the next AHEAD are being made, each by a
    thread: much of rating a part keeps one processor busy. Closed, it waits for them."""
    with ThreadPoolExecutor(AHEAD, thread_name_prefix="rating") as threads:
        made: deque[Future[T]] = deque()
        for work in works:
            made.append(threads.submit(copy_context().run, work))
            if len(made) > AHEAD:
                yield made.popleft().result()
        while made:
            yield made.popleft().result()


class Making:
    """Makes one run at a time; `progress` is that of the one that is being made, to be read at any time."""

    def __init__(self, store: Store, log: UsageLog, line_table: LineTable, ledger_table: LedgerTable) -> None:
        self.progress: Progress | None = None
        self._runs, self._log = store.runs, log
        self._line_table, self._ledger_table = line_table, ledger_table

    def make(self, run: Run, works: Sequence[Callable[[], Posting]], late: Late, document: str | None = None) -> Made:
        """Store what each of `works` posts as a part of `run`, but for those that are recorded with it; what is
        restated as one of the run `document`, where that is the rule: in front of the run, so that no crash loses it
        between them.

        A single part is recorded when the run is done. Raises DiskFull and CommitUnknown.
        """
        recorded = [PartSums.recorded(one) for one in (run.report or {}).get("parts", [])]
        own = document if late == "document" and run.kind != "draft" else None
        self.progress = Progress(run.id, len(works))
        try:
            return self._made(run, works, late, own, recorded)
        finally:
            self.progress = None

    def _made(
        self,
        run: Run,
        works: Sequence[Callable[[], Posting]],
        late: Late,
        document: str | None,
        parts: list[PartSums],
    ) -> Made:
        digest = LineDigest()
        for number in range(1, len(parts) + 1):
            digest.add(self._line_table.rows_of_part(run.id, number))
        for part in parts:
            self.progress = self._now().stored_before(part.lines)
        with closing(made_ahead(works[len(parts) :])) as postings:
            for posting in postings:
                lines = posting.lines(late)
                with span("store part", part=len(parts) + 1, lines=lines.height):
                    self._store_part(run, document, posting, lines, parts)
                digest.add(lines)
                parts.append(part_sums(posting, late))
                if len(works) > 1:
                    recorded = [one.record() for one in parts]
                    self._runs.note(replace(run, report={**(run.report or {}), "parts": recorded}))
                self.progress = self._now().stored(lines.height)
        return Made(parts, digest.hexdigest(), self._document_digest(document, parts))

    def _now(self) -> Progress:
        assert self.progress is not None
        return self.progress

    def _store_part(
        self, run: Run, document: str | None, posting: Posting, lines: pl.DataFrame, before: list[PartSums]
    ) -> None:
        number, entries = len(before) + 1, sum(part.entries for part in before)
        if document is not None and posting.restated.height:
            own = self._runs.start_once(replace(run, id=document, kind="restatement"))
            if own.status != "done":
                with self._failing_disk():
                    self._line_table.append(document, posting.restated, part=number)
        with self._failing_disk():
            if posting.ledger.height:
                ledger = posting.ledger.with_columns((pl.col("entry") + entries).cast(posting.ledger.schema["entry"]))
                self._ledger_table.append(run.id, ledger, part=number)
            self._line_table.append(run.id, lines, part=number)

    def _document_digest(self, document: str | None, parts: list[PartSums]) -> str | None:
        numbers = [number for number, part in enumerate(parts, 1) if part.restated.height]
        if document is None or not numbers or self._runs.get(document).status == "done":
            return None
        digest = LineDigest()
        for number in numbers:
            digest.add(self._line_table.rows_of_part(document, number))
        return digest.hexdigest()

    @contextmanager
    def _failing_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if is_full(error):
                raise DiskFull(f"there is no room for the charge lines: {error.strerror}; run it again") from error
            self._log.fail(error)
            raise CommitUnknown(
                f"the charge lines cannot be written: {error}; run it again after the restart"
            ) from error
