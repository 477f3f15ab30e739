"""Timelines: segments of random changes are those that a walk through the changes gives."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from rating.core.timeline import CHANGE, SEGMENT, segments

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
Change = dict[str, Any]


@st.composite
def changes(draw: st.DrawFn) -> list[Change]:
    count = draw(st.integers(0, 12))
    return [
        {
            "subscription": draw(st.sampled_from("ab")),
            "item": draw(st.sampled_from(["plan", "plan", "addon", None])),
            "effective_at": FIRST + DAY * draw(st.integers(0, 8)),
            "recorded_at": FIRST + DAY * draw(st.integers(0, 8)),
            "sequence": sequence,
            "plan": draw(st.sampled_from(["free", "pro", None])),
            "seats": draw(st.sampled_from([None, Decimal(1), Decimal(5)])),
            "state": draw(st.sampled_from([None, "active", "trial", "paused", "ended", "after_trial"])),
            "prices": draw(st.sampled_from([None, None, "{}", '{"calls":"calls_of_acme"}'])),
        }
        for sequence in range(count)
    ]


def frame(rows: list[Change]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=CHANGE)


def state_at(rows: list[Change], subscription: str, item: str, instant: datetime) -> tuple[Any, ...] | None:
    """What holds at an instant: every change by then, one after the other."""
    values: dict[str, Any] = {"plan": None, "seats": None, "state": None, "prices": None}
    own = [row for row in rows if row["subscription"] == subscription and row["item"] in (item, None)]
    for row in sorted(own, key=lambda row: (row["effective_at"], row["sequence"])):
        if row["effective_at"] <= instant:
            said = {name: row[name] for name in values if row[name] is not None}
            if said.get("state") == "after_trial":
                said["state"] = "active" if values["state"] == "trial" else values["state"]
            values |= said
    state = values["state"] or "active"
    known = values["plan"] is not None and state in ("active", "trial")
    has_item = any(row["subscription"] == subscription and row["item"] == item for row in rows)
    return (
        (values["plan"], values["seats"] or Decimal(1), state, values["prices"] or "{}") if known and has_item else None
    )


@given(rows=changes())
def test_segments_say_what_holds_at_every_instant(rows: list[Change]) -> None:
    found = segments(frame(rows))
    assert found.schema == SEGMENT
    for subscription in "ab":
        for item in ("plan", "addon"):
            own = found.filter(subscription=subscription, item=item).rows(named=True)
            for half_days in range(20):
                instant = FIRST + DAY * half_days / 2
                held = [s for s in own if s["from"] <= instant and (s["to"] is None or instant < s["to"])]
                expected = state_at(rows, subscription, item, instant)
                assert [(s["plan"], s["seats"], s["state"], s["prices"]) for s in held] == (
                    [] if expected is None else [expected]
                )


@given(rows=changes(), at=st.integers(0, 8))
def test_a_change_that_changes_nothing_makes_no_segment(rows: list[Change], at: int) -> None:
    no_op = [
        {
            "subscription": name,
            "item": None,
            "effective_at": FIRST + DAY * at,
            "recorded_at": FIRST,
            "sequence": 100 + n,
        }
        for n, name in enumerate("ab")
    ]
    empty = dict.fromkeys(["plan", "seats", "state", "prices"])
    assert segments(frame([*rows, *({**row, **empty} for row in no_op)])).equals(segments(frame(rows)))
