"""Corrections of a log: taken in, and listed.

What a correction names is looked for in the thread that submits it, because that reads the table; the thread that
commits looks only at what came since, and decides.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import islice

import polars as pl

from ingest.admission import Candidates, screen
from ingest.contents import Contents, View
from ingest.correction_body import read_corrections
from ingest.correction_judge import CorrectionCandidates
from ingest.correction_list import StoredCorrection, corrections_of
from ingest.correction_lookup import find_events, in_backfills, named_identities
from ingest.decode import unpack
from ingest.identity import hash_identities
from ingest.identity_index import IdentityIndex
from ingest.limits import IngestLimits
from ingest.rejections_keeper import Origin
from ingest.schema import FINGERPRINT, IDENTITY_COLUMNS
from ingest.verdicts import BatchVerdict
from ingest.writer import Writer
from rating.core.schema import PropertyType

CORRECTION_TYPE = "application/vnd.tallystick.corrections+json"
"""What a rejected correction came as; the body is JSON."""


@dataclass(frozen=True)
class Corrections:
    """`properties` gives all properties that were ever declared; `check_room` raises when nothing can be taken."""

    writer: Writer
    contents: Contents
    index: IdentityIndex
    limits: IngestLimits
    now: Callable[[], datetime]
    properties: Callable[[], Mapping[str, PropertyType]]
    check_room: Callable[[], None]

    def submit(
        self,
        body: bytes,
        content_type: str,
        *,
        content_encoding: str = "",
        is_atomic: bool = False,
        request_id: str | None = None,
        keeps_rejections: bool = True,
    ) -> "Future[BatchVerdict]":
        """Read corrections in this thread; the verdict comes when those that are accepted are durable. As
        UsageLog.submit in all else."""
        self.check_room()
        body = unpack(body, content_type, content_encoding, self.limits)
        decoded = read_corrections(body, content_type, self.properties(), self.limits)
        screened = screen(
            decoded, now=self.now(), limits=self.limits, seeds=self.index.seeds, required=IDENTITY_COLUMNS
        )
        batch = self._with_found(screened, is_atomic)
        origin = Origin(body, CORRECTION_TYPE, self.now(), request_id) if keeps_rejections else None
        return self.writer.submit(batch, len(body), is_alone=True, origin=origin)

    def _with_found(self, screened: Candidates, is_atomic: bool) -> CorrectionCandidates:
        view = self.contents.view()  # before the index is asked: it knows all that is in it
        found = self._find(view, named_identities(screened.events))
        candidates = {each.name: getattr(screened, each.name) for each in fields(screened)} | {"is_atomic": is_atomic}
        return CorrectionCandidates(**candidates, found=found, found_sequence=view.last_sequence)

    def _find(self, view: View, wanted: pl.DataFrame) -> pl.DataFrame:
        with self.writer.paused():
            known, fingerprint = self.index.lookup(hash_identities(wanted, self.index.seeds))
        wanted = wanted.with_columns(pl.Series(FINGERPRINT, fingerprint)).filter(pl.Series(known))
        return find_events(view, wanted, self.properties())

    def page(
        self,
        *,
        after: int,
        limit: int,
        target_source: str | None = None,
        target_id: str | None = None,
        backfill: int | None = None,
    ) -> list[StoredCorrection]:
        """Up to `limit` corrections behind the sequence `after`, oldest first; only those of an event with this source
        and this id, and of the events of the backfill with this number, where these are given."""
        view, properties = self.contents.view(), self.properties()
        rows = view.corrected.rows if backfill is None else view.corrected.of_backfill(backfill)
        chosen = rows.filter(pl.col("sequence") > after)
        if target_source is not None and target_id is not None:
            wanted = pl.DataFrame({"source": [target_source], "id": [target_id]})
            staged, _ = in_backfills(view, wanted, hash_identities(wanted, self.index.seeds), properties)
            targets = pl.concat([self._find(view, wanted)["sequence"], staged["sequence"]])
            chosen = chosen.filter(pl.col("corrects").is_in(targets.implode()))
        fitting = (
            stored
            for stored in corrections_of(view, chosen, properties)
            if target_source in (None, stored.target_source) and target_id in (None, stored.target_id)
        )
        return list(islice(fitting, limit))
