"""Answers as the states of a customer have them: suspended, restricted to another plan, allowed to use more."""

import json
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from rating.core.money import plain
from rating.core.quota.answer import EXACT, Asked, QuotaAnswer, judge
from rating.core.quota.entitled import Gives
from rating.core.quota.judging import quantity_of
from rating.core.quota.seam import CustomerState

_RANK = ("suspended", "restricted", "overage")
_NOTHING = Decimal(0)


def in_force(states: Iterable[CustomerState], feature: str, now: datetime) -> CustomerState | None:
    """The state that decides over a feature: suspended before restricted before overage."""
    found = [
        state
        for state in states
        if (not state.features or feature in state.features)
        and state.since <= now
        and (state.until is None or now < state.until)
    ]
    return min(found, key=lambda state: _RANK.index(state.state), default=None)


def by_customer(states: Iterable[CustomerState]) -> dict[str, list[CustomerState]]:
    """The states of each customer, in the order in which they are given."""
    found: dict[str, list[CustomerState]] = {}
    for state in states:
        found.setdefault(state.customer, []).append(state)
    return found


def there_or_not(asked: Asked, given: Gives) -> QuotaAnswer:
    """The answer of a feature that is there or not, or has a value."""
    who = (asked.subject, asked.customer, asked.feature, asked.amount)
    value = json.loads(given.value or "null")
    if given.kind == "static":
        return QuotaAnswer(True, "allowed", f"plan {given.plan} gives it", *who, kind="static", value=value)
    if value:
        return QuotaAnswer(True, "allowed", "it is included", *who, kind="boolean", value=True)
    return QuotaAnswer(False, "not_entitled", "it is not included", *who, kind="boolean", value=False)


def with_overage(answer: QuotaAnswer, state: CustomerState) -> QuotaAnswer:
    """The answer when `state.amount` may be used above the limit."""
    if answer.reason not in ("exhausted", "would_exceed") or answer.limit is None or state.amount is None:
        return answer
    taken = EXACT.add(answer.used or _NOTHING, answer.reserved or _NOTHING)
    most = EXACT.add(answer.limit, state.amount)
    if taken >= most:
        return answer
    message = f"up to {plain(state.amount)} more than {plain(answer.limit)} are allowed: {state.reason}"
    fits = EXACT.add(taken, answer.amount) <= most
    reason = "in_grace" if fits else "would_exceed"
    return replace_answer(answer, allowed=fits, reason=reason, message=message, state=state.state)


def with_restriction(answer: QuotaAnswer, state: CustomerState, gives: Gives | None) -> QuotaAnswer:
    """The answer when the limits of another plan hold, which `gives` the feature or, null, does not."""
    if answer.reason == "not_entitled" or answer.customer is None:
        return answer
    shown = f"restricted to plan {state.plan}: {state.reason}"
    if gives is None or gives.value == "false":
        refused = {"allowed": False, "reason": "not_entitled", "message": shown, "state": shown}
        return replace_answer(answer, **refused)
    if gives.kind != "metered" or gives.limit is None:
        value = json.loads(gives.value) if gives.value is not None else None
        return replace_answer(answer, value=value, kind=gives.kind, state=shown)
    asked = Asked(answer.subject, answer.customer, answer.feature, answer.amount)
    window = (answer.window_start or state.since, answer.resets_at or state.since)
    used, reserved = answer.used or _NOTHING, answer.reserved or _NOTHING
    judged = judge(asked, quantity_of(gives.limit), used, reserved, window)
    ends = {"window_start": answer.window_start, "resets_at": answer.resets_at}
    return replace_answer(judged, **ends, state=shown, message=f"{judged.message} ({shown})")


def replace_answer(answer: QuotaAnswer, **values: object) -> QuotaAnswer:
    """The same answer but for some values, also of one that is put into words later."""
    names = QuotaAnswer.__dataclass_fields__
    return QuotaAnswer(**{name: values.get(name, getattr(answer, name)) for name in names})  # type: ignore[arg-type]
