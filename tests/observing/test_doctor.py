"""What `tallystick doctor` finds beside the files, and what it says to do."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.cli.service_checks import check_clock, check_identities, check_settings, check_webhooks

NOW = datetime(2026, 10, 15, 12, 0, tzinfo=UTC)
GOOD = {
    "endpoint": "wh_1",
    "state": "active",
    "waiting": 2,
    "dead": 0,
    "behind": 0,
    "oldest_at": "2026-10-15T11:59:00Z",
}


@pytest.mark.parametrize(
    ("changed", "cure"),
    [
        pytest.param({}, "", id="two wait for a minute"),
        pytest.param({"oldest_at": "2026-10-15T10:00:00Z"}, "deliveries wh_1", id="one waits for two hours"),
        pytest.param({"oldest_at": "2026-10-15T10:00:00Z", "state": "paused"}, "", id="paused by a person"),
        pytest.param({"dead": 1}, "replay wh_1", id="one was given up"),
        pytest.param({"state": "disabled"}, "resume wh_1", id="the receiver is gone"),
    ],
)
def test_webhooks(changed: dict[str, Any], cure: str) -> None:
    found = check_webhooks({"endpoints": [{**GOOD, **changed}]}, NOW)
    assert found.ok == (cure == "")
    assert cure in found.cure


def test_the_clock_is_not_behind_the_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert check_clock(tmp_path).ok
    os.utime(tmp_path / "file", (time.time() + 3600,) * 2)
    found = check_clock(tmp_path)
    assert not found.ok
    assert "NTP" in found.cure


def test_a_misspelt_setting_is_named() -> None:
    assert check_settings({"TALLYSTICK_PORT": "1", "HOME": "/"}).ok
    found = check_settings({"TALLYSTICK_PROT": "1"})
    assert not found.ok
    assert found.cure == "Is TALLYSTICK_PORT meant?"


@pytest.mark.parametrize(("known", "ok"), [(3, True), (2, False)])
def test_every_event_has_its_identity(known: int, ok: bool) -> None:
    log = {"known_identities": known, "last_sequence": 3, "identities_memory_bytes": 0}
    assert check_identities(log).ok is ok
