"""The usage that a report of a lease becomes: events with identities of their own, so that they are counted once,
however often they are submitted."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from api.feature_events import (
    BATCH,
    Value,
    by_feature,
    event_of,
    json_of,
    refuse_other_amount,
    times_of,
)
from ingest.lift import as_usage
from ingest.log import UsageLog
from ingest.verdicts import DUPLICATE, BatchVerdict
from rating.core.book import Meter
from rating.core.quota.seam import Quota
from store.errors import Refused
from store.leases import Lease, LeaseReport

_log = logging.getLogger(__name__)
_LAST = timedelta(microseconds=1)


@dataclass(frozen=True)
class LeaseEvents:
    """`meter_of` gives the meter of a feature, or raises Refused."""

    log: UsageLog
    quota: Quota
    meter_of: Callable[[str], Meter]

    def check(self, lease_id: str, subject: str, feature: str, now: datetime, data: Mapping[str, Value]) -> None:
        """Raise Refused where no event can be made of an amount of the feature."""
        self._recorded_as(self.meter_of(feature), lease_id, 0, subject, feature, Decimal(1), now, data)

    def of_report(
        self, lease: Lease, sequence: int, delta: Decimal, at: datetime, data: Mapping[str, Value]
    ) -> dict[str, Any] | None:
        """What is stored of the event that counts `delta`: `event`, and how many `times` under numbered ids where each
        counts one; null where nothing is recorded. Raises Refused."""
        if lease.records == "nothing" or not delta:
            return None
        meter = self.meter_of(lease.feature)
        given = {**lease.given.get("data", {}), **data}
        return self._recorded_as(meter, lease.id, sequence, lease.subject, lease.feature, delta, at, given)

    def submit(self, report: LeaseReport) -> "Future[BatchVerdict]":
        """Post it, once more or for the first time. Raises as UsageLog.submit."""
        assert report.event is not None
        return self.log.submit(json_of(report.event["event"], report.event["times"]), BATCH, keeps_rejections=False)

    def _recorded_as(
        self,
        meter: Meter,
        lease: str,
        sequence: int,
        subject: str,
        feature: str,
        delta: Decimal,
        at: datetime,
        data: Mapping[str, Value],
    ) -> dict[str, Any]:
        times = times_of(meter, delta)
        each = delta if times is None else Decimal(1)
        event = event_of(meter, f"lease:{lease}", str(sequence), subject, each, at, data)
        screened = self.log.screened(json_of(event), BATCH)
        if screened.rejected:
            raise Refused([f"{verdict.code}: {verdict.message}" for verdict in screened.rejected])
        counted = by_feature(self.quota.amounts(as_usage(screened.events, self.log.declared)))
        refuse_other_amount(meter, each, counted.get(feature, Decimal(0)))
        return {"event": event, "times": times}


def time_of(lease: Lease, at: datetime | None, now: datetime) -> datetime:
    """When reported usage happened: within the lease, so that it counts in the window that the slice is of."""
    return max(lease.made_at, min(at or now, lease.expires_at - _LAST))


def note(report: LeaseReport, verdict: BatchVerdict) -> None:
    """Say it where the log has kept something else under the identity of a report: that is not ours to mend."""
    wrong = [event for event in verdict.events if event.code != DUPLICATE]
    if wrong:
        _log.error("report %d of a lease is not in the log: %s", report.sequence, wrong[0].code)
