"""Numbers of subjects where several logs meet: a backfill numbers its subjects apart, a scan shows the main log's."""

import httpx2
import pytest

from api.engine import Engine
from rating.core.schema import SUBJECT_NUMBER
from tests.api.test_backfills import load, opened, step, tokens
from tests.api.test_events import post


@pytest.mark.parametrize("flushed", [False, True])
def test_the_events_of_a_backfill_have_the_numbers_of_the_log(
    sold: httpx2.Client, engine: Engine, flushed: bool
) -> None:
    post(sold, tokens("1", 100), tokens("2", 200, subject="second"))
    key = opened(sold)
    load(sold, key, *(tokens(f"new-{name}", 7, subject=name) for name in ("fourth", "second", "third", "acme")))
    if flushed:
        engine.log.flush()
    step(sold, key, "commit")
    post(sold, tokens("3", 1, subject="third", time="2026-10-14T00:00:00Z"))
    for _ in range(2):
        usage = engine.log.scan().usage
        pairs = usage.events.select("subject", SUBJECT_NUMBER).unique()
        found = dict(pairs.collect().iter_rows())
        assert sorted(found) == ["acme", "fourth", "second", "third"]
        assert sorted(found.values()) == [0, 1, 2, 3]
        assert found.items() <= dict(usage.subjects.collect().iter_rows()).items()
        wanted = {"acme": "7", "second": "7", "third": "8", "fourth": "7"}
        for name, quantity in wanted.items():
            (item,) = sold.get("/v1/meters/tokens/usage", params={"subject": name}).json()["items"]
            assert item["quantity"] == quantity
        items = sold.get("/v1/meters/tokens/usage", params={"group_by": "subject"}).json()["items"]
        assert {item["group"]["subject"]: item["quantity"] for item in items} == wanted
        engine.log.flush()
