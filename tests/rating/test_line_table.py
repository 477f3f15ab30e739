"""Charge lines at rest: stored once for each run, found again by run and by id, unchanged to the last digit."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from rating.catalog import compile_catalog, parse_catalog
from rating.core.line_digest import digest
from rating.core.lines import CHARGE_LINE
from rating.core.periods import parse_month
from rating.core.rating import rate
from rating.core.subjects import interned
from rating.disk import Disk
from rating.line_table import STORED_LINE, LineTable
from tests.frames import SINCE, subject_frame, subscription_frame, usage_frame
from tests.oracle import Subscription

CATALOG = """
tallystick: 1
currencies: [USD]
meters: {calls: {event_type: call, aggregation: sum, property: n, group_by: [route]}}
prices:
  calls:
    meter: calls
    currency: USD
    model: graduated
    group_by: [route]
    versions: [{tiers: [{up_to: 3, unit_amount: "0.333333333333"}, {up_to: null, unit_amount: "0.1"}]}]
  fee: {currency: USD, model: flat, versions: [{amount: "9"}]}
plans: {plan: {currency: USD, prices: ["*"]}}
"""


@pytest.fixture
def lines() -> pl.DataFrame:
    catalog = parse_catalog(CATALOG, format="yaml")
    subscriptions = [Subscription(f"s{i}", f"c{i}", (f"u{i}",), "plan", "UTC", SINCE) for i in range(3)]
    at = datetime(2026, 10, 5, tzinfo=UTC)
    events = [
        {"type": "call", "subject": f"u{i % 3}", "time": at, "data": {"n": i, "route": f"/{i % 2}"}} for i in range(9)
    ]
    usage = interned(usage_frame(events, catalog.declared_properties()))
    book = compile_catalog(catalog)
    return rate(
        usage, subject_frame(subscriptions), subscription_frame(subscriptions), book, parse_month("2026-10")
    ).lines


def test_lines_come_back_as_they_went_in(tmp_path: Path, lines: pl.DataFrame) -> None:
    table = LineTable(tmp_path, disk=Disk())
    table.append("run_a", lines)
    for reader in (table, LineTable(tmp_path, disk=Disk())):
        stored = reader.lines("run_a").collect()
        assert stored.schema == STORED_LINE
        assert_frame_equal(stored.drop("run"), lines.sort("line"))
        assert digest(stored.select(CHARGE_LINE.names())) == digest(lines)


def test_appending_a_run_again_changes_nothing(tmp_path: Path, lines: pl.DataFrame) -> None:
    LineTable(tmp_path, disk=Disk()).append("run_a", lines)
    LineTable(tmp_path, disk=Disk()).append("run_a", lines)
    assert LineTable(tmp_path, disk=Disk()).lines("run_a").collect().height == lines.height


def test_runs_keep_apart_and_a_line_has_the_same_id_in_each(tmp_path: Path, lines: pl.DataFrame) -> None:
    table = LineTable(tmp_path, disk=Disk())
    table.append("run_a", lines)
    table.append("run_ab", lines)
    assert table.lines("run_a").collect()["run"].unique().to_list() == ["run_a"]
    assert sorted(table.find(lines["line"][0], ["run_a", "run_ab"])["run"]) == ["run_a", "run_ab"]
    assert table.find(lines["line"][0], ["run_ab"])["run"].to_list() == ["run_ab"]


def test_a_run_without_lines_is_empty(tmp_path: Path, lines: pl.DataFrame) -> None:
    table = LineTable(tmp_path, disk=Disk())
    assert table.lines("run_none").collect().schema == STORED_LINE
    table.append("run_none", lines.clear())
    assert table.lines("run_none").collect().is_empty()
    assert table.find("nothing", ["run_none"]).is_empty()


def test_other_engines_read_the_table(tmp_path: Path, lines: pl.DataFrame) -> None:
    LineTable(tmp_path, disk=Disk()).append("run_a", lines)
    assert DeltaTable(tmp_path).to_pyarrow_table().num_rows == lines.height


def test_a_line_is_found_without_reading_the_files_of_other_runs(tmp_path: Path, lines: pl.DataFrame) -> None:
    table = LineTable(tmp_path, disk=Disk())
    table.append("run_a", lines)
    table.append("run_b", lines)
    for path in tmp_path.rglob("run_a-*.parquet"):
        path.write_bytes(b"not Parquet")
    assert table.find(lines["line"][0], ["run_b"]).height == 1
    assert table.lines("run_b").collect().height == lines.height
