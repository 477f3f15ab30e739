"""Corrections and backfills together: a correction names the event that counts, and has its effect for as long as the
backfill of that event counts."""

from typing import Any

import httpx2
import pytest

from api.engine import Engine
from tests.api.conftest import event
from tests.api.test_corrections import correct, replacement, used, void
from tests.api.test_events import counted, post

OUTSIDE = {"time": "2026-10-14T00:00:00Z"}


def step(client: httpx2.Client, path: str, **content: Any) -> Any:
    answer = client.post(f"/v1/backfills{path}", **content)
    assert answer.is_success, answer.text
    return answer.json()


def opened(client: httpx2.Client, *staged: Any) -> str:
    """A backfill of 10 and 11 October, of these events, or else of the event 1 with other tokens and an event `new`."""
    key = step(client, "", json={"from": "2026-10-10T00:00:00Z", "to": "2026-10-12T00:00:00Z"})["id"]
    events = staged or [event(name, data={"model": "big", "input_tokens": 7}) for name in ("1", "new")]
    assert step(client, f"/{key}/events", json=list(events))["accepted"] == len(events)
    return f"/{key}"


def codes(answer: httpx2.Response) -> list[tuple[int, str]]:
    return [(event["index"], event["code"]) for event in answer.json()["events"]]


def listed(client: httpx2.Client, **wanted: str) -> list[Any]:
    items: list[Any] = client.get("/v1/events/corrections", params=wanted).json()["items"]
    return items


@pytest.mark.parametrize("flushed", [True, False])
def test_a_correction_of_an_event_of_a_backfill_ends_when_that_is_reverted(
    sold: httpx2.Client, engine: Engine, flushed: bool
) -> None:
    """`1` stands in the log and in the backfill; `2` was replaced by it; `3` is outside."""
    post(sold, event("1"), event("2"), event("3", **OUTSIDE))
    backfill = opened(sold)
    step(sold, f"{backfill}/commit")
    assert counted(sold) == ("114", 3)
    wrong = correct(sold, void("2"), replacement("3", "new", 1))
    assert codes(wrong) == [(0, "target_in_backfill"), (1, "conflict")]
    assert correct(sold, void("1"), replacement("new", "newer", 20), replacement("newer", "newest", 30)).json() == {
        "accepted": 3, "duplicates": 0, "conflicts": 0, "rejected": 0, "events": [],
    }  # fmt: skip
    if flushed:
        engine.log.flush()
    assert (counted(sold), used(sold)) == (("130", 2), 130)  # 100 of `3`, 30 of `newest`
    assert correct(sold, void("1"), replacement("new", "newer", 20)).json()["duplicates"] == 2
    assert codes(correct(sold, void("1", "again"), void("new"))) == [(0, "already_corrected"), (1, "already_corrected")]
    names = [{"source": "desk", "id": "void-1"}, *({"source": "gateway", "id": key} for key in ("newer", "newest"))]
    assert sold.get(f"/v1/backfills{backfill}").json()["corrections"] == 3
    assert [item["corrects"]["id"] for item in listed(sold, backfill=backfill[1:])] == ["1", "new", "newer"]
    assert [item["id"] for item in listed(sold, source="gateway", id="new")] == ["newer"]
    for _ in range(2):  # said again it answers the same
        assert step(sold, f"{backfill}/revert")["ended_corrections"] == names
    assert (counted(sold), used(sold)) == (("300", 3), 300)
    ended = listed(sold, backfill=backfill[1:])
    assert {(item["backfill"], item["has_ended"]) for item in ended} == {(backfill[1:], True)}
    assert codes(correct(sold, void("newest"), void("1"))) == [(0, "target_in_backfill"), (1, "conflict")]
    assert correct(sold, void("1", "void-1-for-good")).json()["accepted"] == 1
    assert (counted(sold), used(sold)) == (("200", 2), 200)
    assert [item["has_ended"] for item in listed(sold)] == [True, True, True, False]


def test_it_is_the_same_after_a_start(sold: httpx2.Client, engine: Engine) -> None:
    post(sold, event("1"), event("2"))
    backfill = opened(sold)
    step(sold, f"{backfill}/commit")
    correct(sold, void("1"), replacement("new", "newer", "0.5"))
    before = engine.log.view()
    engine.close()
    for state in ("committed", "reverted"):
        again = Engine.open(engine.settings)
        try:
            assert again.log.view().corrected.hidden.equals(before.corrected.hidden)
            assert again.log.view().corrected.of_backfills.equals(before.corrected.of_backfills)
            shown = again.log.scan().frame.select("id").collect()["id"].to_list()
            assert sorted(shown) == (["newer"] if state == "committed" else ["1", "2"])
            again.backfills.revert(backfill[1:])
        finally:
            again.close()


def test_a_later_backfill_replaces_what_was_corrected_in_an_earlier_one(sold: httpx2.Client, engine: Engine) -> None:
    post(sold, event("1"), event("2"))
    first = opened(sold)
    step(sold, f"{first}/commit")
    assert correct(sold, replacement("1", "1b", 10), replacement("new", "moved", 5, **OUTSIDE)).status_code == 200
    second = opened(sold, event("1"), event("2"))
    assert correct(sold, replacement("1b", "1c", 11)).status_code == 200
    assert (counted(sold), used(sold)) == (("16", 2), 16)
    step(sold, f"{second}/commit")
    engine.log.flush()
    assert (counted(sold), used(sold)) == (("205", 3), 205)  # `moved` is outside
    assert codes(correct(sold, void("1c"), void("new"))) == [(0, "target_in_backfill"), (1, "target_in_backfill")]
    assert correct(sold, replacement("2", "2b", 20)).status_code == 200
    assert (counted(sold), used(sold)) == (("125", 3), 125)
    step(sold, f"{second}/revert")
    assert (counted(sold), used(sold)) == (("16", 2), 16)
    assert correct(sold, void("moved")).status_code == 200
    assert (counted(sold), used(sold)) == (("11", 1), 11)
    step(sold, f"{first}/revert")
    assert (counted(sold), used(sold)) == (("200", 2), 200)


def test_a_correction_while_the_next_backfill_is_open_goes_with_the_event(sold: httpx2.Client) -> None:
    first = opened(sold)
    step(sold, f"{first}/commit")
    second = opened(sold, event("new", data={"model": "big", "input_tokens": 3}))
    correct(sold, replacement("new", "newer", 20), replacement("1", "1b", 10, **OUTSIDE))
    assert counted(sold) == ("30", 2)
    found = sold.get(f"/v1/backfills{second}/preview").json()["events"]
    assert found == {"replaced": 2, "staged": 1, "arrived_since": 0, "superseded": 2, "refused": 0}
    step(sold, f"{second}/commit")
    assert (counted(sold), used(sold)) == (("3", 1), 3)
    step(sold, f"{second}/revert")
    assert (counted(sold), used(sold)) == (("30", 2), 30)


def test_the_preview_of_a_committed_backfill_has_its_corrections(sold: httpx2.Client) -> None:
    post(sold, event("1"), event("2"))
    backfill = opened(sold)
    step(sold, f"{backfill}/commit")
    correct(sold, void("1"), replacement("new", "newer", 20))
    found = sold.get(f"/v1/backfills{backfill}/preview").json()
    assert found["events"] == {"replaced": 2, "staged": 0, "arrived_since": 1, "superseded": 0, "refused": 0}
    [meter] = [usage for usage in found["usage"] if usage["meter"] == "tokens"]
    assert (meter["before"], meter["after"]) == ("200", "20")


def test_what_came_while_a_backfill_was_open_goes_with_the_event_that_it_replaced(
    sold: httpx2.Client, engine: Engine
) -> None:
    post(sold, event("1"), event("2"), event("3", time="2026-10-14T00:00:00Z"))
    correct(sold, replacement("2", "2b", 20))
    backfill = opened(sold)
    outside = {"time": "2026-10-14T00:00:00Z"}
    correct(sold, replacement("2b", "2c", 21, **outside), replacement("1", "1b", 10), replacement("3", "3b", 30))
    correct(sold, replacement("1b", "1c", 11), replacement("3b", "3c", 31))
    assert (counted(sold), used(sold)) == (("63", 3), 63)  # 21 + 11 + 31
    step(sold, f"{backfill}/commit")
    engine.log.flush()
    assert (counted(sold), used(sold)) == (("45", 3), 45)  # 7 + 7 + 31
    step(sold, f"{backfill}/revert")
    assert (counted(sold), used(sold)) == (("63", 3), 63)
