"""`tallystick verify`, `usage` and what else answers as of an instant, with their exit codes."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import update

from store import open_store
from store.database import writing
from store.tables import rating_runs, subscription_versions
from tests.cli.conftest import Run


@pytest.fixture
def used(data: Path, usage: Path, run: Run) -> Path:
    """The data directory with the usage of October."""
    assert run("ingest", usage, "--data", data).code == 0
    return data


def rated(run: Run, data: Path, *more: object) -> dict[str, str]:
    answer = run("rate", "--period", "2026-10", "--data", data, "--json", *more)
    assert answer.code == 0, answer.err
    found: dict[str, str] = answer.json
    return found


def test_a_run_is_verified(run: Run, used: Path) -> None:
    made = rated(run, used)
    assert run("customers", "put", "acme", "--subject", "other", "--data", used).code == 0
    answer = run("verify", made["id"], "--data", used)
    assert (answer.code, "the same lines come of its recorded inputs" in answer.out) == (0, True)
    assert made["digest"] in answer.out
    assert run("verify", made["id"], "--data", used, "--json").json["result"] == "equal"


def test_other_lines_are_shown(run: Run, used: Path) -> None:
    made = rated(run, used)
    store = open_store(f"sqlite:///{used / 'tallystick.sqlite'}")
    with writing(store.engine) as connection:
        connection.execute(update(subscription_versions).values(starts_at=datetime(2026, 10, 2, tzinfo=UTC)))
    store.close()
    assert run("customers", "put", "beta", "--data", used).code == 0
    answer = run("verify", made["id"], "--data", used)
    assert (answer.code, "it is not what comes of its recorded inputs" in answer.out) == (1, True)
    assert "small/input" in answer.out
    assert "its customers and subscriptions have another digest" in answer.out


def test_a_run_that_cannot_be_made_again_says_why(run: Run, used: Path) -> None:
    made = rated(run, used)
    store = open_store(f"sqlite:///{used / 'tallystick.sqlite'}")
    with writing(store.engine) as connection:
        connection.execute(update(rating_runs).values(last_sequence=99))
    store.close()
    answer = run("verify", made["id"], "--data", used)
    assert (answer.code, "the log has 4" in answer.out) == (2, True)
    assert run("verify", "run_x", "--data", used).code == 1


def test_usage_is_asked_for_as_it_was_known(run: Run, used: Path, tmp_path: Path) -> None:
    made, before = rated(run, used), datetime.now(UTC).isoformat()
    more = tmp_path / "more.csv"
    more.write_text(
        "source,id,type,subject,time,model,input_tokens\ng,9,llm.request,acme,2026-10-09T00:00:00Z,small,1\n"
    )
    assert run("ingest", more, "--data", used).code == 0
    asked = ("usage", "input_tokens", "--group-by", "subject", "--window", "day", "--data", used)
    now, then = run(*asked, "--json").json["items"], run(*asked, "--as-of", before, "--json").json["items"]
    assert (len(now), len(then)) == (5, 4)
    shown = run(*asked, "--as-of", before)
    assert f"as it was known at {before}" in shown.out
    assert "700,000.5" in shown.out
    assert rated(run, used)["digest"] != made["digest"]
    again = rated(run, used, "--as-of", before)
    assert again["digest"] == made["digest"]
    assert f"of what was known at {again['as_of']}" in run("runs", again["id"], "--data", used).out
    assert [r["id"] for r in run("runs", "--as-of", before, "--data", used, "--json").json["items"]] == [made["id"]]


def test_an_instant_that_makes_no_sense_is_refused(run: Run, used: Path, usage: Path, book: Path) -> None:
    assert run("usage", "input_tokens", "--as-of", "2999-01-01T00:00:00Z", "--data", used).code == 65
    assert run("usage", "input_tokens", "--as-of", "yesterday", "--data", used).code == 65
    files = (usage, "--catalog", book, "--plan", "pro", "--period", "2026-10")
    answer = run("rate", *files, "--as-of", "2026-11-01T00:00:00Z")
    assert (answer.code, "--as-of goes with a data directory" in answer.err) == (2, True)
