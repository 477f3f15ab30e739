"""`tallystick catalog lint` and `tallystick conformance`: what they print, and their exit codes."""

from pathlib import Path

from tests.cli.conftest import BOOK, Run

CLIFF = """
tallystick: 1
currencies: [EUR]
meters: {m: {event_type: e, aggregation: sum, property: n}}
prices:
  p: {model: volume, meter: m, currency: EUR, versions: [{tiers: [{up_to: 10, unit_amount: 2}, {unit_amount: 1}]}]}
plans: {plan: {currency: EUR, prices: [p]}}
"""

BILL = """
- name: three calls
  month: 2026-10
  catalog:
    tallystick: 1
    currencies: [EUR]
    meters: {calls: {event_type: call, aggregation: count}}
    prices: {calls: {meter: calls, currency: EUR, model: per_unit, versions: [{unit_amount: "0.10"}]}}
    plans: {plan: {currency: EUR, prices: [calls]}}
  events:
    - [2026-10-01T00:00:00Z, acme, call, {}]
  lines:
    - {price: calls, quantity: "1", amount: "0.1", how: "1 x 0.10"}
  bill: "0.10"
"""


def test_warnings_pass_unless_they_must_not(run: Run, tmp_path: Path) -> None:
    book = tmp_path / "book.yaml"
    book.write_text(CLIFF)
    found = run("catalog", "lint", book)
    assert (found.code, "volume_cliff" in found.out, "10 units cost 20 EUR" in found.out) == (0, True, True)
    assert run("catalog", "lint", book, "--strict").code == 1
    (finding,) = run("catalog", "lint", book, "--json").json["findings"]
    assert (finding["code"], finding["path"]) == ("volume_cliff", "prices.p.versions[0].tiers[0].up_to")


def test_errors_fail(run: Run, tmp_path: Path) -> None:
    book = tmp_path / "book.yaml"
    discounted = "currency: EUR, prices: [p], adjust: [{kind: discount, percent: 120}]"
    book.write_text(CLIFF.replace("currency: EUR, prices: [p]", discounted))
    found = run("catalog", "lint", book)
    assert (found.code, "error discount_over_all" in found.out) == (1, True)
    book.write_text("tallystick: 1")
    assert run("catalog", "lint", book).code == 65


def test_a_usual_book_only_misses_prices_of_other_models(run: Run, tmp_path: Path) -> None:
    book = tmp_path / "book.yaml"
    book.write_text(BOOK)
    assert [it["code"] for it in run("catalog", "lint", book, "--json").json["findings"]] == ["usage_without_price"]


def test_a_suite_of_ones_own_is_run(run: Run, tmp_path: Path) -> None:
    suite = tmp_path / "bills.yaml"
    suite.write_text(BILL)
    assert run("conformance", suite).out == "bills.yaml: 1 passed, 0 failed\n1 passed, 0 failed\n"
    suite.write_text(BILL.replace('amount: "0.1"', 'amount: "0.3"'))
    failed = run("conformance", tmp_path, "--json")
    assert failed.code == 1
    (case,) = failed.json["files"][0]["failed"]
    assert case == {"case": "three calls", "differences": ["price calls: amount is 0.1, expected 0.3 (1 x 0.10)"]}
    suite.write_text("no list")
    assert run("conformance", suite).code == 65
