"""`tallystick events list`: what was taken, the newest first."""

from pathlib import Path

from tests.cli.conftest import Run


def test_accepted_events_are_listed_and_filtered(run: Run, data: Path, usage: Path) -> None:
    at = ("--data", data)
    empty = run("events", "list", *at, "--json")
    assert (empty.code, empty.json) == (0, {"items": [], "next": None})
    assert run("ingest", usage, *at).code == 0
    found = run("events", "list", "--subject", "acme", "--limit", 2, *at, "--json")
    assert [item["id"] for item in found.json["items"]] == ["3", "2"]
    assert '"input_tokens":700000.5' in found.out
    shown = run("events", "list", "--from", "2026-10-02T00:00:00Z", "--to", "2026-10-03T00:00:00Z", *at)
    assert shown.code == 0
    assert "1 events" in shown.out
    assert "700000.5" in shown.out
    assert run("events", "list", "--from", "yesterday", *at).code == 65
