"""From a level change to what is recorded of it: the signal, the level that is open now, the states it leads to."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rating.core.money import plain
from rating.core.quota.seam import CustomerState, LevelChange
from store.outbox import Account, OpenLevel, Raised, Restored
from store.signals import Signal

_TYPES = {
    "threshold": "quota.threshold",
    "exhausted": "quota.exhausted",
    "restored": "quota.restored",
    "negative": "quota.negative",
    "anomaly": "usage.anomaly",
}


def signal_id(change: LevelChange) -> str:
    """The same change, the same id."""
    return f"sig_{change.key}"


def raised_by(change: LevelChange, states: Sequence[CustomerState], now: datetime) -> Raised:
    """What `change` records; `states` are those that policies lead to, and begin unless their time is over already."""
    signal = Signal(
        signal_id(change),
        _TYPES[change.kind],
        change.customer,
        now,
        _data(change),
        feature=change.feature,
        scope=change.scope,
        owner=change.owner,
    )
    begins = tuple(state for state in states if state.until is None or state.until > now)
    if change.kind == "restored":
        account = Account(change.scope, change.owner, change.feature)
        return Raised(signal, restores=Restored(account, change.because or "reset"), begins=begins)
    is_over = change.window_end is not None and change.window_end <= now
    opens = None if is_over else OpenLevel(change.key, change.kind, change.window_end)
    return Raised(signal, opens=opens, begins=begins)


def _data(change: LevelChange) -> dict[str, Any]:
    data: dict[str, Any] = {
        "feature": change.feature,
        "window_start": _text(change.window_start),
        "window_end": _text(change.window_end),
        "level": change.level,
        "limit": plain(change.limit),
        "used": plain(change.used),
        "reached_at": change.at.isoformat(),
    }
    if change.source is not None:
        data["event"] = {"source": change.source, "id": change.id}
    if change.because is not None:
        data["because"] = change.because
    return data


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
