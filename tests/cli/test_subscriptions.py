"""Subscriptions over time, as commands have them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import BOOK, Run


def test_a_subscription_is_put_with_all_of_its_terms(run: Run, data: Path) -> None:
    at = ("--data", data, "--json")
    stored = run(
        "subscriptions", "put", "s", "--customer", "acme", "--plan", "pro", "--starts-at", "2026-01-01",
        "--interval", "quarter", "--anchor", "2026-01-31", "--seats", "2.5", "--trial-ends-at", "2026-02-01", *at,
    )  # fmt: skip
    assert stored.json == {
        "key": "s",
        "customer": "acme",
        "plan": "pro",
        "starts_at": "2026-01-01T00:00:00Z",
        "ends_at": None,
        "interval": "month",
        "intervals": 3,
        "anchor": "2026-01-31T00:00:00Z",
        "seats": "2.5",
        "trial_ends_at": "2026-02-01T00:00:00Z",
    }
    assert "every 3 months from 2026-01-31" in run("subscriptions", "list", "--data", data).out


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_subscriptions_and_parents_are_imported(run: Run, data: Path, tmp_path: Path, ending: str) -> None:
    customers, subscriptions = tmp_path / "c.csv", tmp_path / f"s.{ending}"
    customers.write_text("key,parent\nchild,group\ngroup,\n")
    terms = {"key": "s", "customer": "child", "plan": "pro", "starts_at": "2026-01-01", "interval": "year",
             "intervals": 2, "seats": 7, "anchor": "2026-03-01", "trial_ends_at": "2026-02-01"}  # fmt: skip
    csv = ",".join(terms) + "\n" + ",".join(map(str, terms.values())) + "\n"
    subscriptions.write_text(json.dumps([terms]) if ending == "json" else csv)
    at = ("--data", data, "--json")
    assert run("customers", "import", customers, *at).json == {"stored": 2}
    assert run("subscriptions", "import", subscriptions, *at).json == {"stored": 1}
    found = run("subscriptions", "show", "s", *at).json
    assert (found["billed_to"], found["interval"], found["intervals"]) == ("group", "year", 2)
    assert [(s["state"], s["seats"]) for s in found["segments"]] == [("trial", "7"), ("active", "7")]
    assert "paid by group" in run("subscriptions", "show", "s", "--data", data).out


def test_another_billing_cycle_is_shown(run: Run, data: Path) -> None:
    def change(*options: str) -> Any:
        return run("subscriptions", "change", "acme-pro", *options, "--data", data)

    assert "billed every 2 years from 2027-03-01" in change(
        "--at", "2027-03-01", "--interval", "year", "--intervals", "2", "--anchor", "change"
    ).err  # fmt: skip
    assert change("--at", "2028-03-01", "--anchor", "calendar").code == 0
    shown = run("subscriptions", "show", "acme-pro", "--data", data, "--json").json
    assert [(s["interval"], s["intervals"], s["anchor"]) for s in shown["segments"]] == [
        ("month", 1, None),
        ("year", 2, "2027-03-01T00:00:00Z"),
        ("year", 2, None),
    ]


def test_a_subscription_is_changed_and_shown(run: Run, data: Path) -> None:
    def change(*options: str) -> list[dict[str, Any]]:
        ran = run("subscriptions", "change", "acme-pro", *options, "--data", data, "--json")
        assert ran.code == 0, ran.err
        items: list[dict[str, Any]] = ran.json["items"]
        return items

    assert [c["effective_at"] for c in change("--at", "2026-03-01", "--seats", "3")] == ["2026-03-01T00:00:00Z"]
    change("--at", "2026-04-01", "--item", "extra", "--plan", "pro")
    change("--at", "2026-05-01", "--pause")
    change("--at", "2026-06-01", "--resume")
    change("--at", "2026-07-01", "--item", "extra", "--end")
    change("--at", "2026-07-01", "--price", "fee=small/input")
    change("--at", "2026-08-01", "--own-prices")
    change("--at", "2026-09-01", "--end")
    both = change("--at", "2026-10-01", "--renew", "--seats", "9", "--id", "order-1")
    assert [(c["id"], c["item"], c["state"], c["seats"]) for c in both] == [
        ("order-1/state", None, "active", None),
        ("order-1", "plan", None, "9"),
    ]
    assert change("--at", "2026-10-01", "--renew", "--seats", "9", "--id", "order-1") == both
    shown = run("subscriptions", "show", "acme-pro", "--data", data, "--json").json
    told = [(s["item"], s["from"][5:7], s["to"] and s["to"][5:7], s["seats"]) for s in shown["segments"]]
    assert told == [
        ("extra", "04", "05", "1"),
        ("extra", "06", "07", "1"),
        ("extra", "10", None, "1"),
        ("plan", "01", "03", "1"),
        ("plan", "03", "05", "3"),
        ("plan", "06", "07", "3"),
        ("plan", "07", "08", "3"),
        ("plan", "08", "09", "3"),
        ("plan", "10", None, "9"),
    ]
    assert len(shown["changes"]) == 10
    text = run("subscriptions", "show", "acme-pro", "--data", data).out
    assert "acme-pro of acme: billed every month, UTC" in text
    assert "fee=small/input" in text
    assert "10 changes, as recorded" in text


def test_a_change_is_also_one_at_the_end_of_the_period(run: Run, data: Path) -> None:
    ran = run("subscriptions", "change", "acme-pro", "--at", "period-end", "--end", "--data", data)
    assert "state ended" in ran.err
    shown = run("subscriptions", "show", "acme-pro", "--data", data, "--json").json
    assert [s["to"] for s in shown["segments"]] == [shown["current_period"]["to"]]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        pytest.param([], 2, "that changes nothing", id="nothing"),
        pytest.param(["--pause", "--end"], 2, "--pause and --end contradict", id="two states"),
        pytest.param(["--price", "fee"], 2, "is no pair", id="half a price"),
        pytest.param(["--price", "fee=fee", "--own-prices"], 2, "contradict each other", id="prices and none"),
        pytest.param(["--at", "soon", "--end"], 65, "'soon' is no instant", id="no instant"),
        pytest.param(["--plan", "gold"], 65, "no plan 'gold'", id="an unknown plan"),
        pytest.param(["--price", "fee=x"], 65, "no price 'x'", id="an unknown price"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(
    run: Run, data: Path, options: list[str], code: int, says: str
) -> None:
    ran = run("subscriptions", "change", "acme-pro", *options, "--data", data)
    assert ran.code == code
    assert says in ran.err


def test_what_is_not_there_cannot_be_changed_or_shown(run: Run, data: Path) -> None:
    for command in (["change", "x", "--end"], ["show", "x"]):
        ran = run("subscriptions", *command, "--data", data)
        assert (ran.code, "no subscription 'x'" in ran.err) == (1, True)


FILE = "subscription,customer,subject,plan,starts_at,interval,intervals,anchor,seats,trial_ends_at\n"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        pytest.param("s,a,a,pro,2026-01-01,decade,1,,1,", "'decade' is no interval", id="an interval"),
        pytest.param("s,a,a,pro,2026-01-01,month,0,,1,", "intervals is 0", id="no interval"),
        pytest.param("s,a,a,pro,2026-01-01,month,1,,-1,", "seats is -1", id="less than no seats"),
        pytest.param("s,a,a,pro,2026-01-01,month,1,,NaN,", "seats is NaN", id="no number of seats"),
    ],
)
def test_terms_in_a_file_that_make_no_sense_are_refused(
    run: Run, book: Path, usage: Path, tmp_path: Path, row: str, says: str
) -> None:
    who = tmp_path / "who.csv"
    who.write_text(f"{FILE}{row}\n")
    ran = run("rate", usage, "--catalog", book, "--subscriptions", who, "--period", "2026-10")
    assert ran.code == 65
    assert says in ran.err


def test_terms_in_a_file_are_those_of_the_store(tmp_path: Path) -> None:
    from api.cli.subscription_files import read_subscriptions
    from rating.catalog import parse_catalog

    who = tmp_path / "who.csv"
    who.write_text(f"{FILE}s,a,x,pro,2026-01-01,year,2,2026-01-31,2.5,2026-02-01\nt,a,y,pro,2026-01-01,,,,,\n")
    subjects, found = read_subscriptions(who, parse_catalog(BOOK, format="yaml"))
    assert subjects.rows() == [("x", "a"), ("y", "a")]
    told = found.select("subscription", "state", "interval", "intervals", "seats").rows()
    assert told == [("s", "trial", "year", 2, 2.5), ("s", "active", "year", 2, 2.5), ("t", "active", "month", 1, 1)]
