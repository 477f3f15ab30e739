"""What goes wrong is one sentence with its cure, an exit code for schedulers, and no traceback."""

import socket
from pathlib import Path

import pytest

from ingest.log import UsageLog
from tests.cli.conftest import Run

PUT = "subscriptions put s --plan pro --data {data}"
CASES = [
    pytest.param("lines --data {tmp}/none", 1, "there is no data directory", id="no data directory"),
    pytest.param("lines --data {data}", 1, "there is no finished rating run. Make one with", id="no run yet"),
    pytest.param("lines run_x --data {data}", 1, "there is no rating run 'run_x'", id="unknown run"),
    pytest.param("explain x --data {data}", 1, "there is no charge line 'x'", id="unknown line"),
    pytest.param("rate --period October --data {data}", 2, "write it like 2026-10", id="no month"),
    pytest.param("rate", 2, "--period", id="no period"),
    pytest.param("rate --period 2026-10 --plan pro", 2, "--plan goes with usage files", id="plan without files"),
    pytest.param("rate {usage} --period 2026-10", 2, "--catalog FILE and one of --plan", id="files alone"),
    pytest.param("ingest {tmp}/no.csv --data {data}", 65, "no.csv cannot be read: No such file", id="no file"),
    pytest.param("ingest {usage} --id = --data {data}", 2, "names nothing", id="empty constant"),
    pytest.param("ingest {usage} --property =x --data {data}", 2, "is no property", id="bad property"),
    pytest.param("ingest {usage} --subject sub --data {data}", 65, "for --subject", id="unknown column"),
    pytest.param("ingest {usage} --time-zone Mars --data {data}", 2, "Europe/Madrid", id="no zone"),
    pytest.param(PUT + " --customer x --starts-at 2026-01-01", 65, "put the customer first", id="unknown customer"),
    pytest.param(PUT + " --customer acme --starts-at 2026-01-01T00:00", 65, "is in no zone", id="start without zone"),
    pytest.param(PUT + " --customer acme --starts-at soon", 65, "'soon' is no instant", id="start is no instant"),
    pytest.param("customers import {usage} --data {data}", 65, "row 1 has no key", id="wrong columns"),
    pytest.param("catalog show --version cat_0 --data {data}", 1, "there is no catalog version", id="no version"),
    pytest.param("quota acme tokens --amount much --data {data}", 65, "amount", id="amount is no number"),
    pytest.param("nonsense", 2, "nonsense", id="no such command"),
]


@pytest.mark.parametrize(("command", "code", "message"), CASES)
def test_a_failure_is_a_sentence_and_an_exit_code(
    run: Run, data: Path, usage: Path, tmp_path: Path, command: str, code: int, message: str
) -> None:
    ran = run(*command.format(tmp=tmp_path, data=data, usage=usage).split())
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_an_invalid_catalog_lists_every_problem_with_its_path_and_cure(run: Run, data: Path, book: Path) -> None:
    text = book.read_text().replace('amount: "10"', "amount: 10.5").replace("prices: [fee,", "prices: [fees,")
    book.write_text(text)
    for arguments in (("validate", book), ("diff", book, "--data", data), ("apply", book, "--data", data)):
        ran = run("catalog", *arguments, "--json")
        assert ran.code == 65
        assert [problem["path"] for problem in ran.json["error"]["problems"]] == [
            "prices.fee.versions[0].amount",
            "plans.pro.prices[0]",
        ]
        assert "prices.fee.versions[0].amount:" in ran.err
        assert " — " in ran.err


def test_no_server_is_exit_code_69(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    ran = run("runs", "--url", f"http://127.0.0.1:{port}", "--json")
    assert (ran.code, ran.json["error"]["exit_code"]) == (69, 69)
    assert "no server answers at" in ran.err


def test_a_directory_that_another_process_holds_is_exit_code_75(run: Run, tmp_path: Path) -> None:
    log = UsageLog.open(tmp_path / "held", properties={})
    try:
        ran = run("runs", "--data", tmp_path / "held")
        doctor = run("doctor", "--data", tmp_path / "held")
    finally:
        log.close()
    assert ran.code == 75
    assert "is in use by another process (pid" in ran.err
    assert doctor.code == 1
    assert "PROBLEM service:" in doctor.out


def test_a_setting_that_is_not_valid_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_BODY_BYTES_MAX", "much")
    ran = run("runs", "--data", tmp_path)
    assert ran.code == 78
    assert "TALLYSTICK_BODY_BYTES_MAX" in ran.err
