"""Recent usage as if a few events more had been accepted: for questions of what they would change."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from ingest.contents import View
from ingest.log import UsageSnapshot
from ingest.recent_usage import RecentUsage
from ingest.usage_table import within
from rating.core.schema import SUBJECT_NUMBER, SUBJECT_NUMBERS, PropertyType


@dataclass(frozen=True)
class MoreUsage:
    """`more` is USAGE_EVENT of one subject, with the declared properties."""

    recent: RecentUsage
    more: pl.DataFrame

    def scan(
        self,
        *,
        start: datetime | None,
        end: datetime | None,
        subjects: Collection[str] | None,
        view: View,
        properties: Mapping[str, PropertyType] | None = None,
    ) -> UsageSnapshot:
        """As `RecentUsage.scan`; those of `more` within [start, end) come last."""
        found = self.recent.scan(start=start, end=end, subjects=subjects, view=view, properties=properties)
        more = within(self.more.lazy(), start, end)
        named = _with_number(found.subjects.collect(), self.more["subject"][0])
        behind = view.last_sequence + 1
        numbered = more.join(named.lazy(), on="subject", how="left", validate="m:1").with_columns(
            sequence=pl.int_range(behind, behind + pl.len())
        )
        schema = found.frame.collect_schema()
        frame = pl.concat([found.frame, numbered.select(schema.names()).cast(schema)])
        return replace(found, frame=frame, subjects=named.lazy())


def _with_number(named: pl.DataFrame, subject: str) -> pl.DataFrame:
    """SUBJECT_NUMBERS with one more subject, where it has no usage yet."""
    if subject in named["subject"]:
        return named
    largest = named[SUBJECT_NUMBER].max()
    number = largest + 1 if isinstance(largest, int) else 0
    return pl.concat([named, pl.DataFrame([(subject, number)], schema=SUBJECT_NUMBERS, orient="row")])
