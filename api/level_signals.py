"""From a level change to what is recorded of it: the signal, the level that is open now, the states it leads to; and
back again at a start."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, cast

from rating.core.money import plain
from rating.core.quota.answer import Scope
from rating.core.quota.levels import EXHAUSTED, NEGATIVE
from rating.core.quota.seam import CustomerState, LevelChange
from store.outbox import Account, OpenLevel, Raised, Restored
from store.signals import RecordedSignal, Signal

_TYPES: dict[Literal["threshold", "exhausted", "restored", "negative", "anomaly"], str] = {
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
        return Raised(signal, restores=_restored(change), begins=begins)
    is_over = change.window_end is not None and change.window_end <= now
    opens = None if is_over else OpenLevel(change.key, change.kind, change.window_end)
    return Raised(signal, opens=opens, begins=begins)


def change_of(signal: RecordedSignal) -> LevelChange:
    """The level change that a signal was raised by; its `arm` is not known here."""
    data, event = signal.data, signal.data.get("event", {})
    kinds = {type: kind for kind, type in _TYPES.items()}
    return LevelChange(
        kind=kinds[signal.type],
        scope=cast(Scope, signal.scope),
        owner=signal.owner or signal.customer,
        customer=signal.customer,
        feature=data["feature"],
        window_start=_instant(data["window_start"]),
        window_end=_instant(data["window_end"]),
        level=data["level"],
        limit=Decimal(data["limit"]),
        used=Decimal(data["used"]),
        arm=0,
        at=datetime.fromisoformat(data["reached_at"]),
        source=event.get("source"),
        id=event.get("id"),
    )


def _restored(change: LevelChange) -> Restored:
    account, because = Account(change.scope, change.owner, change.feature), change.because or "reset"
    is_one = change.level == NEGATIVE
    names = [change.name] if is_one else [change.name._replace(level=level) for level in (EXHAUSTED, NEGATIVE)]
    again = tuple(names) if because != "reset" else ()
    return Restored(account, because, "negative" if is_one else None, again, change.window_end)


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


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
