"""Backfills from opening to commit and back: the order of steps between the log, its staged logs and the records.

A step is recorded in the relational store, and counts from the moment it is; what a crash leaves behind before or after
that is put right at the next start.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any
from uuid import uuid4

import polars as pl

from api.access.audit import about
from ingest.backfill import DIRECTORY, BackfillPlace, with_candidate
from ingest.backfill_effect import Effect, effect_of
from ingest.backfill_range import BackfillRange
from ingest.backfill_resolution import Resolution, load, resolved_until_now
from ingest.backfill_shown import ShownBackfill
from ingest.contents import View
from ingest.errors import DiskFull, IngestError, NotCommitted, Overloaded
from ingest.log import UsageLog
from ingest.schema import IDENTITY_COLUMNS
from rating.core.schema import PropertyType
from rating.disk import Disk, is_full
from store import Store
from store.backfills import Backfill
from store.customers import refuse
from store.errors import BackfillInTheWay, BackfillNotOpen, TooManyBackfills

_log = logging.getLogger(__name__)
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Compared:
    """The log without a backfill and with it, and what that changes. `refused` and `superseded` of the resolution
    name events."""

    backfill: Backfill
    before: View
    after: View
    effect: Effect
    resolution: Resolution


class BackfillService:
    """The backfills of one engine. Every method may be called from any thread; one step is taken at a time."""

    def __init__(
        self,
        store: Store,
        log: UsageLog,
        data: Path,
        now: Callable[[], datetime],
        *,
        open_max: int,
        disk: Disk,
        on_changed: Callable[[], None],
    ) -> None:
        """Show what is committed, open what is open, remove what was dropped. Raises BackfillDamaged.

        `on_changed` is called when other events count than before.
        """
        self._on_changed = on_changed
        self._records, self._log, self._now = store.backfills, log, now
        self._directory, self._open_max, self._disk = data / DIRECTORY, open_max, disk
        self._steps = RLock()
        self._staged: dict[str, UsageLog] = {}
        self._failures: dict[str, str] = {}
        for record in self._records.in_states(["dropped"]):
            self._place(record).remove()
        self._show_committed()
        for record in self._records.in_states(["open"]):
            self._open_staged(record)

    def open(self, wanted: BackfillRange) -> Backfill:
        """Begin to replace a range. Raises Refused, BackfillInTheWay, TooManyBackfills."""
        with self._steps:
            refuse(_problems(wanted, self._now()))
            self._refuse_overlap(wanted)
            record = Backfill(
                id=f"bf_{uuid4().hex}",
                state="open",
                range_start=wanted.start.astimezone(UTC),
                range_end=wanted.end.astimezone(UTC),
                types=sorted(set(wanted.types)),
                subjects=sorted(set(wanted.subjects)),
                opened_at=self._now(),
                opened_sequence=self._log.view().last_sequence,
            )
            about(object=record.id)
            self._records.add(record)
            try:
                with _errors_of_the_disk("opened"):
                    self._disk.make_directory(self._directory)
                    self._staged[record.id] = self._new_log(record)
            except BaseException:
                self._records.drop(record.id, now=self._now())
                raise
            return record

    def staged(self, key: str) -> UsageLog:
        """The log that takes the events of an open backfill. Raises NotFound, BackfillNotOpen, Overloaded."""
        staged = self._staged.get(key)
        if staged is not None:
            return staged
        record = self._records.get(key)
        if record.state != "open":
            raise BackfillNotOpen([f"backfill {key} is {record.state}: it takes no events; open another one"])
        if key in self._failures:
            raise NotCommitted(f"backfill {key} cannot be used: {self._failures[key]}")
        raise Overloaded(f"backfill {key} is being committed or dropped; ask again after a moment")

    def compare(self, key: str) -> Compared:
        """The log without a backfill and with it; of one that was committed, as it was then, with what came since.

        Raises NotFound, and BackfillNotOpen for one that was dropped.
        """
        with self._steps:
            record = self._records.get(key)
            if record.state == "dropped":
                raise BackfillNotOpen([f"backfill {key} was dropped: its events are gone"])
            backfill, resolution, view = self._resolved(record)
            before = replace(view, backfills=tuple(b for b in view.backfills if b.number < backfill.number))
            effect = effect_of(backfill, resolution, before)
            return Compared(record, before, with_candidate(before, backfill), effect, resolution)

    def commit(self, key: str) -> Backfill:
        """Let the staged events count instead of what they replace; all of it at one moment, durable on return.

        Raises NotFound, BackfillNotOpen; DiskFull and NotCommitted leave it open.
        """
        with self._steps:
            record = self._records.get(key)
            if record.state == "committed":
                return record
            if record.state != "open":
                raise BackfillNotOpen([f"backfill {key} was {record.state}; open another one"])
            staged = self.staged(key)
            del self._staged[key]
            try:
                with _errors_of_the_disk("committed"):
                    self._commit(record, staged)
            except BaseException:
                self._open_staged(record)
                raise
            self._on_changed()
            return self._records.get(key)

    def drop(self, key: str) -> Backfill:
        """Forget an open backfill and its events. Raises NotFound, BackfillNotOpen."""
        with self._steps:
            record = self._records.get(key)
            if record.state == "dropped":
                return record
            if record.state != "open":
                raise BackfillNotOpen([f"backfill {key} is {record.state}; revert it instead"])
            self._records.drop(key, now=self._now())
            staged = self._staged.pop(key, None)
            self._failures.pop(key, None)
            if staged is not None:
                staged.close()
            try:
                self._place(record).remove()
            except OSError as error:
                _log.warning("backfill %s is dropped; the next start removes its files: %s", key, error)
            return self._records.get(key)

    def revert(self, key: str) -> Backfill:
        """Let what a committed backfill has replaced count again. The corrections of its events end with it.

        Raises NotFound, BackfillNotOpen, BackfillInTheWay.
        """
        with self._steps:
            record = self._records.get(key)
            if record.state == "reverted":
                return record
            if record.state != "committed":
                raise BackfillNotOpen([f"backfill {key} is {record.state}, not committed: there is nothing to revert"])
            self._refuse_later(record)
            write = partial(self._records.revert, key, now=self._now())
            self._place(record).revert(partial(self._recorded, key, "reverted", write))
            self._on_changed()
            return self._records.get(key)

    def events(self, record: Backfill) -> int | None:
        """How many events are staged; null when they cannot be read, or are gone."""
        staged = self._staged.get(record.id)
        return staged.view().last_sequence if staged is not None else record.staged_events

    def counted(self, records: Iterable[Backfill]) -> tuple[ShownBackfill, ...]:
        """These, as they counted when they were committed, though some are reverted since. Raises BackfillDamaged."""
        shown = {backfill.id: backfill for backfill in self._log.view().backfills}
        return tuple(shown.get(r.id) or self._place(r).committed(r.number or 0, r.staged_events or 0) for r in records)

    def corrections(self, record: Backfill) -> pl.DataFrame:
        """The corrections (source, id) of its events, oldest first: they count for as long as it does."""
        corrected = self._log.view().corrected
        return corrected.of_backfill(record.number or 0).select(IDENTITY_COLUMNS)

    def failure(self, key: str) -> str | None:
        """Why an open backfill cannot be used; null when it can."""
        return self._failures.get(key)

    def declare(self, properties: Mapping[str, PropertyType]) -> None:
        """Type these properties of events that are staged from now on."""
        for staged in list(self._staged.values()):
            staged.declare(properties)

    def status(self) -> dict[str, Any]:
        """What an operator asks for."""
        return {
            "open": sorted([*self._staged, *self._failures]),
            "committed": [backfill.id for backfill in self._log.view().backfills],
            "failures": dict(self._failures),
        }

    @contextmanager
    def still(self) -> Iterator[list[UsageLog]]:
        """The staged logs; no backfill is opened, committed, dropped or reverted while the block runs."""
        with self._steps:
            yield list(self._staged.values())

    def close(self) -> None:
        """Close the staged logs; they go on at the next start."""
        with self._steps:
            for key in list(self._staged):
                self._staged.pop(key).close()

    def _commit(self, record: Backfill, staged: UsageLog) -> None:
        staged.finish()
        number, events = self._records.next_number(), staged.view().last_sequence
        place = self._place(record)
        write = partial(self._records.commit, record.id, number=number, staged_events=events, now=self._now())
        place.commit(place.finished(number, events), partial(self._recorded, record.id, "committed", write))

    def _recorded(self, key: str, state: str, write: Callable[[], None]) -> None:
        """Write a record. A database that fails may have written it all the same: then that is what counts."""
        try:
            write()
        except Exception as error:
            try:
                found = self._records.get(key).state
            except Exception:
                self._log.fail(error)  # only the next start can tell
                raise error from None
            if found != state:
                raise

    def _resolved(self, record: Backfill) -> tuple[ShownBackfill, Resolution, View]:
        place = self._place(record)
        if record.state == "open":
            candidate = place.candidate(self.staged(record.id), self._records.next_number())
            resolution = place.resolve(candidate)
            view = self._log.view()
            resolution = resolved_until_now(candidate, resolution, view)
            return resolution.applied(candidate), resolution, view
        assert record.number is not None
        assert record.staged_events is not None
        return place.committed(record.number, record.staged_events), load(place.directory), self._log.view()

    def _show_committed(self) -> None:
        records = self._records.in_states(["committed"])
        self._log.show(self._place(r).committed(r.number or 0, r.staged_events or 0) for r in records)

    def _open_staged(self, record: Backfill) -> None:
        """Open a staged log that was there. One that is damaged must not keep the main log from its work."""
        try:
            self._staged[record.id] = self._new_log(record)
            self._failures.pop(record.id, None)
        except (IngestError, OSError, ValueError) as error:
            _log.error("backfill %s cannot be opened", record.id, exc_info=error)
            self._failures[record.id] = str(error)

    def _new_log(self, record: Backfill) -> UsageLog:
        return self._place(record).open(properties=self._log.declared, now=self._now)

    def _place(self, record: Backfill) -> BackfillPlace:
        directory = self._directory / record.id
        return BackfillPlace(record.id, directory, _range(record), record.opened_sequence, self._log, self._disk)

    def _refuse_overlap(self, wanted: BackfillRange) -> None:
        records = self._records.in_states(["open"])
        for other in records:
            if _range(other).overlaps(wanted):
                raise BackfillInTheWay([f"backfill {other.id} is open and overlaps; commit it or drop it first"])
        if len(records) >= self._open_max:
            raise TooManyBackfills([f"{len(records)} backfills are open, the most there may be; commit or drop one"])

    def _refuse_later(self, record: Backfill) -> None:
        assert record.number is not None
        later = [
            other.id
            for other in self._records.in_states(["committed"])
            if (other.number or 0) > record.number and _range(other).overlaps(_range(record))
        ]
        refused = [f"backfill {key} was committed later and overlaps; revert it first" for key in reversed(later)]
        if refused:
            raise BackfillInTheWay(refused)


def _range(record: Backfill) -> BackfillRange:
    return BackfillRange(record.range_start, record.range_end, tuple(record.types), tuple(record.subjects))


def _problems(wanted: BackfillRange, now: datetime) -> list[str]:
    if not EARLIEST <= wanted.start < wanted.end:
        return ["`to` is not after `from`, or `from` is before 1900"]
    return ["`to` is in the future: a backfill replaces what has happened"] if wanted.end > now else []


@contextmanager
def _errors_of_the_disk(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise DiskFull(f"the backfill was not {what}, the disk is full; try again once there is room") from error
        raise NotCommitted(f"the backfill was not {what}: {error}; try again") from error
