"""Runs with prepaid credits are made again, whatever was granted, voided, refunded or rated since."""

from datetime import UTC, datetime
from typing import Any

import httpx2

from api.settings import Settings
from tests.api.test_credits import Clock, grant, line_of, served, set_up, usd, use
from tests.api.test_rating import rate

OCTOBER = "2026-10-01T00:00:00Z"


def verified(client: httpx2.Client, run: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(f"/v1/rating-runs/{run['id']}/verify")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_runs_are_made_again_with_the_credits_that_they_knew(settings: Settings) -> None:
    clock = Clock()
    with served(settings, clock) as client:
        set_up(client)
        grant(client, "prepaid", **usd("40"), effective_at=OCTOBER)
        grant(client, "gift", **usd("5"), priority=1, effective_at=OCTOBER)
        use(client, "1", 1000, "2026-10-10T00:00:00Z")
        open_month = rate(client)
        clock.now = datetime(2026, 11, 2, 12, tzinfo=UTC)
        alone = rate(client, "2026-11")
        assert alone["report"]["credits"]["rated_before"] == ["2026-09", "2026-10"]
        october = rate(client)
        chained = rate(client, "2026-11")
        assert chained["report"]["credits"]["opened_by"] == october["id"]
        runs = [open_month, alone, october, chained]
        line = line_of(client, october, "tokens")["line"]
        refund = client.post(f"/v1/charge-lines/{line}/refund", json={"id": "ticket", "amount": "7"})
        assert refund.status_code == 201
        assert client.post("/v1/credits/gift/void", json={}).status_code == 200
        grant(client, "late", **usd("30"), effective_at=OCTOBER)
        use(client, "2", 500, "2026-10-20T00:00:00Z")
        runs += [rate(client), rate(client, "2026-11")]
        assert runs[-1]["digest"] != chained["digest"]
    with served(settings, clock) as client:
        found = [verified(client, run) for run in runs]
        assert [(f["result"], f["reason"], f["notes"]) for f in found] == [("equal", None, [])] * len(runs)


def test_a_month_as_it_was_known_opens_with_the_runs_of_then(settings: Settings) -> None:
    clock = Clock()
    with served(settings, clock) as client:
        set_up(client)
        grant(client, "prepaid", **usd("60"), effective_at=OCTOBER)
        clock.now = datetime(2026, 12, 2, tzinfo=UTC)
        november = rate(client, "2026-11")
        known = clock.now
        clock.now = datetime(2026, 12, 3, tzinfo=UTC)
        use(client, "late", 100, "2026-10-20T00:00:00Z")
        october = rate(client)
        assert rate(client, "2026-11")["report"]["credits"]["opened_by"] == october["id"]
        asked = {"period": "2026-11", "as_of": known.isoformat()}
        again = client.post("/v1/rating-runs", json=asked).json()
        assert (again["digest"], again["report"]["credits"]) == (november["digest"], november["report"]["credits"])
        late = client.post("/v1/rating-runs", json={"period": "2026-10", "as_of": clock.now.isoformat()}).json()
        assert late["digest"] == october["digest"]
        assert rate(client, "2026-11")["report"]["credits"]["opened_by"] == october["id"]  # not the run as of then
