"""Leases of which nobody knows whether the database has taken them: their room is given to nobody else until it is
known, and what was reported is counted once. The limit is 2,000 tokens in October.

The first tests break off the commit where the store calls the database; the last kills a real PostgreSQL in it.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import event as sql_event

from api.engine import Engine
from api.leases import LeaseAsked, ReportAsked
from api.settings import Settings
from rating.core.quota.answer import QuotaAnswer
from store.customers import Customer
from store.errors import DatabaseUncertain, NotFound
from store.leases import LeaseChange
from store.subscriptions import Subscription
from tests.api.conftest import CATALOG, NOW
from tests.api.test_consume import events_of
from tests.api.test_leases import Clock
from tests.postgresql import Server, started

Step = Callable[[Engine], Any]
STEPS: dict[str, Step] = {
    "make": lambda engine: engine.leases.make(asked("first", 500)),
    "report": lambda engine: engine.leases.report("first", ReportAsked(2, Decimal(200))),
    "renew": lambda engine: engine.leases.report("first", ReportAsked(1, Decimal(50), renew=Decimal(900))),
    "release": lambda engine: engine.leases.release("first", ReportAsked(2, Decimal(200))),
    "release of nothing": lambda engine: engine.leases.release("first", ReportAsked(None, None)),
}
DONE = {  # used and reserved when it was done once
    "make": (0, 500), "report": (200, 300), "renew": (50, 900), "release": (200, 0), "release of nothing": (50, 0)
}  # fmt: skip

NUMBERS = {0: [], 50: ["1"], 200: ["1", "2"]}  # of the reports in the log, by what they come to


def asked(id: str, amount: int, least: int | None = None) -> LeaseAsked:
    return LeaseAsked(id, "acme", "tokens", Decimal(amount), Decimal(least or amount), 60, "usage", {})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(settings: Settings, clock: Clock) -> Iterator[Engine]:
    opened = Engine.open(settings, now=clock)
    yield opened
    opened.close()


def standing(engine: Engine, now: Any) -> tuple[int, int]:
    """Used and reserved."""
    answer = engine.quota.check("acme", "tokens", Decimal(0), now)
    return int(answer.used or 0), int(answer.reserved or 0)


def break_off(engine: Engine, step: str, *, is_committed: bool) -> None:
    """Do a step whose commit nobody hears of."""
    write = engine.leases._keeper._write

    def broken(changes: Sequence[LeaseChange]) -> None:
        if is_committed:
            write(changes)
        raise DatabaseUncertain("the connection broke while it was committed")

    engine.leases._keeper._write = broken
    with pytest.raises(DatabaseUncertain):
        STEPS[step](engine)
    engine.leases._keeper._write = write


def reported(engine: Engine) -> list[str]:
    """The numbers of the reports of the first lease in the log, each as often as it is there."""
    return sorted(row[1] for row in events_of(engine) if row[0] == "lease:first")


def begin(engine: Engine, step: str) -> None:
    if step != "make":
        engine.leases.make(asked("first", 500))
        engine.leases.report("first", ReportAsked(1, Decimal(50)))


def most_that_others_get(engine: Engine) -> int:
    """What another is given when it asks for all there is, and gives back."""
    made = engine.leases.make(asked("other", 2000, 1))
    if isinstance(made, QuotaAnswer):
        return 0
    engine.leases.release("other", ReportAsked(None, None))
    return int(made.granted)


@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize("step", STEPS)
def test_who_asks_again_finds_it_done_once(
    sold: httpx2.Client, engine: Engine, clock: Clock, step: str, is_committed: bool
) -> None:
    begin(engine, step)
    break_off(engine, step, is_committed=is_committed)
    used, reserved = standing(engine, clock())
    done_used, done_reserved = DONE[step]
    assert used + reserved >= done_used + done_reserved  # as if all of it was done, and nothing given back
    assert most_that_others_get(engine) <= 2000 - done_used - done_reserved
    for _ in range(2):
        STEPS[step](engine)
        assert standing(engine, clock()) == DONE[step]
    assert engine.leases.status()["open"] == (DONE[step][1] > 0)
    assert reported(engine) == NUMBERS[done_used]


@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("comes", ["its time", "a restart"])
def test_nobody_asks_again(
    sold: httpx2.Client, engine: Engine, clock: Clock, settings: Settings, step: str, is_committed: bool, comes: str
) -> None:
    """Its room is free again when its time is over, and what was recorded of it is counted once."""
    begin(engine, step)
    break_off(engine, step, is_committed=is_committed)
    if comes == "a restart":
        engine.close()
        engine = Engine.open(settings, now=clock)
    clock.on(seconds=120)
    engine.leases.tick()
    engine.leases.tick()
    used = DONE[step][0] if is_committed else 0 if step == "make" else 50
    assert standing(engine, clock()) == (used, 0)
    assert engine.leases.status()["open"] == 0
    assert reported(engine) == NUMBERS[used]
    assert engine.store.leases.unrecorded() == [] or engine.leases._keeper._lazily
    if step == "make" and not is_committed:
        with pytest.raises(NotFound):
            engine.leases.get("first")
    if comes == "a restart":
        engine.close()


@pytest.fixture
def own_server() -> Iterator[Server]:
    with started() as server:
        yield server


def test_a_database_killed_in_a_commit_gives_no_unit_away_and_loses_no_report(
    own_server: Server, tmp_path: Path, clock: Clock
) -> None:
    """Each step of a lease is broken off by the death of PostgreSQL while it is committed, and asked for again."""
    settings = Settings(data=tmp_path / "data", database_url=own_server.url())
    engine = Engine.open(settings, now=clock)
    try:
        sell(engine)
        for step in ("make", "report", "release"):
            killed_in_commit(engine, own_server, STEPS[step])
            used, reserved = standing(engine, clock())
            assert used + reserved >= sum(DONE[step])
            own_server.start()
            for _ in range(2):
                STEPS[step](engine)
                assert standing(engine, clock()) == DONE[step]
        assert reported(engine) == ["2"]
        assert most_that_others_get(engine) == 1800
    finally:
        engine.close()


def sell(engine: Engine) -> None:
    engine.apply_catalog(json.dumps(CATALOG), format="json")
    engine.put_customers([Customer("acme", "", "UTC", NOW, ("acme",))])
    engine.put_subscriptions([Subscription("s", "acme", "pro", NOW.replace(month=1), None)])


def killed_in_commit(engine: Engine, server: Server, do: Step) -> None:
    """Do what ends in a commit that the server does not survive."""

    def kill(_: object) -> None:
        if threading.current_thread() is engine.leases._keeper._thread:
            server.kill()

    writer = engine.store.engine.get_execution_options()["database"]._writer
    sql_event.listen(writer, "commit", kill)
    with pytest.raises(DatabaseUncertain):
        do(engine)
    sql_event.remove(writer, "commit", kill)
