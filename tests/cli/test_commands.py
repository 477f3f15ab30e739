"""From a catalog file to an explained charge line, command by command."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from ingest.journal import NO_DIGEST, SegmentWriter, read_segment
from ingest.lock import lock_directory
from rating.disk import Disk
from tests.cli.conftest import USAGE, Run


def test_a_month_is_ingested_rated_listed_and_explained(run: Run, data: Path, usage: Path) -> None:
    """400,000 + 700,000.5 small tokens at 2.50 a million are 2.75000125; the fee is 10."""
    at = ("--data", data, "--json")
    taken = run("ingest", usage, *at)
    assert (taken.code, taken.json["accepted"], taken.json["rejected"]) == (0, 4, 0)
    rated = run("rate", "--period", "2026-10", *at)
    assert rated.code == 0
    assert rated.json["report"]["totals"] == [
        {"currency": "USD", "amount": "12.75000125", "rounded_amount": "12.75", "drift": "0", "lines": 2}
    ]
    assert [row["quantity"] for row in rated.json["report"]["unpriced"]["largest"]] == ["10"]
    assert [row["subject"] for row in rated.json["report"]["unsubscribed"]["largest"]] == ["stranger"]
    lines = run("lines", *at).json
    assert lines["run"] == rated.json["id"]
    [small] = [line for line in lines["items"] if line["price"] == "small/input"]
    assert (small["quantity"], small["amount"], small["group"]) == ("1100000.5", "2.75000125", {"model": "small"})
    explained = run("explain", small["line"], *at)
    assert explained.json["events"] == 2
    assert explained.json["steps"][-1]["result"] == "2.75 USD"
    assert [item["id"] for item in run("runs", *at).json["items"]] == [lines["run"]]
    assert run("runs", lines["run"], *at).json["digest"] == rated.json["digest"]


def test_a_second_run_of_the_same_file_is_all_duplicates(run: Run, data: Path, usage: Path) -> None:
    assert run("ingest", usage, "--data", data).code == 0
    again = run("ingest", usage, usage, "--data", data, "--json")
    assert (again.code, again.json["accepted"], again.json["duplicates"]) == (0, 0, 8)


def test_rejected_events_are_listed_by_their_row_and_the_others_kept(run: Run, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text(
        USAGE + "gateway,5,llm.request,acme,2026-10-04T00:00:00,small,1\ngateway,6,llm.request,acme,x,small,oops\n"
    )
    ran = run("ingest", path, "--data", data, "--json")
    assert (ran.code, ran.json["accepted"], ran.json["rejected"]) == (65, 4, 2)
    assert [(p["row"], p["code"]) for p in ran.json["files"][0]["problems"]] == [
        (5, "time_without_zone"),
        (6, "invalid_time"),
    ]
    shown = run("ingest", path, "--data", data)
    assert shown.code == 65
    assert "some.csv: 6 events, 0 accepted, 4 duplicates, 0 conflicts, 2 rejected" in shown.out
    assert "row 5: time_without_zone" in shown.err


def test_quota_says_whether_a_subject_may_go_on_by_its_exit_code(run: Run, data: Path) -> None:
    allowed = run("quota", "acme", "tokens", "--amount", "1000000", "--data", data)
    assert (allowed.code, allowed.out.splitlines()[0]) == (0, "allowed: 1000000 of 1000000 left")
    too_much = run("quota", "acme", "tokens", "--amount", "1000001", "--data", data, "--json")
    assert (too_much.code, too_much.json["reason"]) == (1, "would_exceed")
    unknown = run("quota", "check", "nobody", "tokens", "--data", data)
    assert (unknown.code, unknown.out.strip()) == (1, "not allowed: no customer has this subject")


def test_quota_estimates_what_an_amount_would_cost(run: Run, data: Path) -> None:
    asked = ("quota", "check", "acme", "tokens", "--amount", "10", "--estimate", "--data", data)
    assert "nobody knows what it costs" in run(*asked, "--property", "model=none").out
    known = run(*asked, "--property", "model=small")
    assert (known.code, known.out.splitlines()[-1]) == (0, "it would cost 0.000025 USD")
    assert (run(*asked, "--json").json["estimate"], run(*asked, "--property", "model").code) == (None, 2)


def test_quota_is_asked_for_every_row_of_a_file(run: Run, data: Path, tmp_path: Path) -> None:
    asked = tmp_path / "asked.csv"
    asked.write_text("subject,feature,amount\nacme,tokens,1000000\nacme,tokens,1000001\nnobody,tokens,\n")
    found = run("quota", "batch", asked, "--data", data, "--json")
    assert (found.code, found.json["asked"], found.json["refused"]) == (1, 3, 2)
    assert [item["reason"] for item in found.json["items"]] == ["allowed", "would_exceed", "not_entitled"]
    shown = run("quota", "batch", asked, "--refused", "--data", data)
    assert (shown.code, shown.out.splitlines()[0]) == (1, "3 asked, 2 refused")
    assert ("1,000,001" in shown.out, "would_exceed" in shown.out, "allowed " in shown.out.splitlines()[2]) == (
        True,
        True,
        False,
    )
    asked.write_text("subject,feature\nacme,tokens\n")
    assert run("quota", "batch", asked, "--data", data).code == 0
    asked.write_text("subject,feature,amount\nacme,tokens,many\n")
    wrong = run("quota", "batch", asked, "--data", data)
    assert (wrong.code, "items[0].amount" in wrong.err) == (65, True)


def test_signals_name_who_reached_a_limit(run: Run, data: Path, usage: Path) -> None:
    assert run("signals", "--data", data, "--json").json == {"items": [], "next": 0}
    run("ingest", usage, "--data", data)
    found = run("signals", "--data", data, "--json").json
    told = [(signal["type"], signal["customer"], signal["data"]["used"]) for signal in found["items"]]
    assert told == [(kind, "acme", "1100000.5") for kind in ("quota.exhausted", "quota.negative")]
    assert run("signals", "--after", found["next"], "--data", data, "--json").json["items"] == []
    assert "1,100,000.5" in run("signals", "--data", data).out


def test_lines_are_filtered_and_written_in_every_format(run: Run, data: Path, usage: Path, tmp_path: Path) -> None:
    run("ingest", usage, "--data", data)
    run("rate", "--period", "2026-10", "--data", data)
    csv, parquet, arrow = (tmp_path / f"lines.{ending}" for ending in ("csv", "parquet", "arrows"))
    written = run("lines", "--price", "small/*", "--csv", csv, "--parquet", parquet, "--arrow", arrow, "--data", data)
    assert (written.code, written.out) == (0, "")
    frame = pl.read_parquet(parquet)
    assert [str(amount.normalize()) for amount in frame["amount"]] == ["2.75000125"]
    assert pl.read_ipc_stream(arrow).equals(frame)
    assert "2.750001250000000000000" in csv.read_text()
    shown = run("lines", "--data", data, "--top", "1").out
    assert "10.00" in shown
    assert "2.75" not in shown
    assert run("lines", "--customer", "nobody", "--data", data, "--json").json["items"] == []


def test_customers_and_subscriptions_are_imported_and_listed(run: Run, data: Path, tmp_path: Path) -> None:
    customers, subscriptions = tmp_path / "c.csv", tmp_path / "s.json"
    customers.write_text("key,name,time_zone,subjects\nbert,Bert,Europe/Madrid,bert-1 bert-2\ncora,,,\n")
    terms = [
        {
            "key": "b",
            "customer": "bert",
            "plan": "pro",
            "starts_at": "2026-01-01",
            "ends_at": "2027-01-01T00:00:00+01:00",
        }
    ]
    subscriptions.write_text(json.dumps(terms))
    at = ("--data", data, "--json")
    assert run("customers", "import", customers, *at).json == {"stored": 2}
    assert run("subscriptions", "import", subscriptions, *at).json == {"stored": 1}
    found = {customer["key"]: customer for customer in run("customers", "list", *at).json["items"]}
    assert found["bert"]["subjects"] == ["bert-1", "bert-2"]
    assert (found["cora"]["name"], found["cora"]["time_zone"], found["cora"]["subjects"]) == ("cora", "UTC", ["cora"])
    [listed] = run("subscriptions", "list", "--customer", "bert", *at).json["items"]
    assert (listed["starts_at"], listed["ends_at"]) == ("2026-01-01T00:00:00Z", "2026-12-31T23:00:00Z")
    assert "bert-1, bert-2" in run("customers", "list", "--data", data).out


def test_the_catalog_is_compared_applied_and_shown(run: Run, data: Path, book: Path, tmp_path: Path) -> None:
    dearer = tmp_path / "dearer.yaml"
    dearer.write_text(book.read_text().replace('amount: "10"', 'amount: "12"'))
    compared = run("catalog", "diff", dearer, "--data", data)
    assert compared.out == '~ prices.fee.versions[since ever].amount: "10" -> "12"\n'
    before = run("catalog", "show", "--data", data, "--json").json["version"]
    assert run("catalog", "apply", dearer, "--dry-run", "--data", data, "--json").json["applied"] is False
    assert run("catalog", "show", "--data", data, "--json").json["version"] == before
    applied = run("catalog", "apply", dearer, "--data", data, "--json").json
    assert (applied["applied"], applied["previous"]) == (True, before)
    shown = run("catalog", "show", "--data", data)
    again = tmp_path / "again.yaml"
    again.write_text(shown.out)
    assert run("catalog", "validate", again, "--json").json["version"] == applied["version"]
    old = run("catalog", "show", "--version", before, "--data", data, "--json").json
    assert old["document"]["prices"]["fee"]["versions"] == [{"amount": "10"}]


def test_published_prices_are_imported_as_a_valid_catalog(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "llm.yaml"
    imported = run("catalog", "import", "genai-prices", "--out", out, "--group-by", "project", "--json")
    assert imported.json["models"] > 1_000
    assert "mind:" in imported.err
    assert run("catalog", "validate", out, "--json").json["prices"] == imported.json["prices"]


def test_doctor_finds_a_sound_directory_sound(run: Run, data: Path, usage: Path) -> None:
    run("ingest", usage, "--data", data)
    ran = run("doctor", "--data", data, "--json")
    assert (ran.code, ran.json["ok"]) == (0, True), ran.out
    assert [check["name"] for check in ran.json["checks"]] == [
        "settings", "disk", "clock", "journal files", "service", "journal", "identities", "webhooks", "usage table",
            "database", "charge lines", "quota",
    ]  # fmt: skip
    header, now = USAGE.splitlines()[0], datetime.now(UTC).isoformat()
    usage.write_text(f"{header}\ngateway,now,llm.request,acme,{now},small,5\n")
    run("ingest", usage, "--data", data)
    assert "ok      quota: 1 live counters" in run("doctor", "--data", data).out


def test_doctor_names_what_is_wrong_and_the_cure(run: Run, data: Path, usage: Path) -> None:
    run("ingest", usage, "--data", data)
    run("doctor", "--data", data)  # opening and closing moves the journal to the table
    for file in (data / "usage").rglob("*.parquet"):
        file.unlink()
    ran = run("doctor", "--data", data)
    assert ran.code == 1
    assert "PROBLEM" in ran.out
    assert "cure:" in ran.out


def rot_in_the_journal(data: Path) -> Path:
    """A journal of three records, the second of them damaged."""
    journal = data / "journal"
    writer = SegmentWriter(Disk(), journal, 1, NO_DIGEST)
    for sequence in (1, 2, 3):
        writer.append(pl.DataFrame({"sequence": [sequence]}), sequence)
    writer.sync()
    writer.close()
    content = bytearray(writer.path.read_bytes())
    content[read_segment(writer.path).records[1].offset + 80] ^= 1
    writer.path.write_bytes(content)
    return writer.path


def test_doctor_repairs_a_journal_and_lists_what_is_lost(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "journal").mkdir(parents=True)
    path = rot_in_the_journal(data)
    damaged = path.read_bytes()
    found = run("doctor", "--data", data)
    assert found.code == 1
    assert "PROBLEM journal files: 1 events in 1 segments" in found.out
    assert f"tallystick doctor --repair --data {data}" in found.out
    assert path.read_bytes() == damaged  # without --repair it only reports
    done = run("doctor", "--repair", "--data", data, "--json").json
    assert (done["saved_events"], done["losses"]) == (2, [{"first_sequence": 2, "last_sequence": 2}])
    assert [(d["file"], d["bytes"] > 0) for d in done["damaged"]] == [(path.name, True)]
    assert Path(done["copies"][0]).read_bytes() == damaged
    again = run("doctor", "--repair", "--data", data)
    assert again.out.splitlines()[0] == "saved 2 events in 2 records of the journal"


def test_doctor_repairs_nothing_that_is_served(run: Run, data: Path) -> None:
    with lock_directory(Disk(), data, {}):
        ran = run("doctor", "--repair", "--data", data)
    assert (ran.code, "is in use by another process" in ran.err) == (75, True)
    assert "nothing was damaged, nothing is lost" in run("doctor", "--repair", "--data", data).out


@pytest.mark.parametrize(
    "command", ["demo", "serve", "ingest", "rate", "lines", "explain", "quota", "catalog", "doctor"]
)
def test_every_command_explains_itself(run: Run, command: str) -> None:
    shown = run(command, "--help")
    assert shown.code == 0
    assert "Usage: tallystick" in shown.out


def test_what_a_customer_may_use_is_granted_overridden_and_listed(run: Run, data: Path, usage: Path) -> None:
    """The plan gives 1,000,000 a month: 500 more are granted, and an override of 5 stands in until it is ended."""
    at = ("--data", data, "--json")
    assert run("entitlements", "grant", "acme", "tokens", "500", "--id", "o-1", *at).json["amount"] == "500"
    assert [item["id"] for item in run("entitlements", "grants", "acme", *at).json["items"]] == ["o-1"]
    [tokens] = run("entitlements", "list", "acme", *at).json["items"]
    assert tokens["limit"] == "1000500"
    assert run("entitlements", "override", "acme", "tokens", "--limit", "5", *at).json["limit"] == "5"
    assert run("quota", "acme", "tokens", "--amount", "506", *at).code == 1
    assert run("entitlements", "end-override", "acme", "tokens", *at).json["ended_at"] is not None
    assert run("entitlements", "void", "o-1", *at).json["voided_at"] is not None
    [tokens] = run("entitlements", "list", "acme", *at).json["items"]
    assert tokens["limit"] == "1000000"
