"""More checks of `tallystick doctor`: clock, settings, and what a service says of itself. None changes anything."""

import os
import time
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from api.cli.checks import Check
from api.cli.printing import grouped
from api.settings import Settings

CLOCK_SECONDS = 0.1  # that the clock is watched for
CLOCK_ERROR_SECONDS_MAX = 0.02
AHEAD_SECONDS_MAX = 5.0  # of a file before the clock
OLD_SIGNAL = timedelta(hours=1)
_ZONES = ("Europe/Madrid", "America/New_York", "Asia/Kolkata")
_NOT_SETTINGS = {"API_KEY", "URL", "SHARED"}


def check_clock(data: Path) -> Check:
    """The clock runs evenly, is not behind files that it dated, and time zones are known."""
    wall, steady = time.time(), time.monotonic()
    time.sleep(CLOCK_SECONDS)
    error = abs((time.time() - wall) - (time.monotonic() - steady))
    now = datetime.now(UTC)
    found = f"{now:%Y-%m-%d %H:%M:%S} UTC, {error * 1000:.0f} ms off while it was watched"
    if missing := [zone for zone in _ZONES if not _is_known(zone)]:
        return Check("clock", False, f"{found}; no data of time zone {missing[0]}", "pip install tzdata")
    if error > CLOCK_ERROR_SECONDS_MAX:
        return Check("clock", False, found, "Something sets the clock while it runs: let one NTP service steer it.")
    newest = max(_changed_at(data), default=0.0)
    if newest > now.timestamp() + AHEAD_SECONDS_MAX:
        at = datetime.fromtimestamp(newest, UTC)
        cure = "The clock has gone back, or the files come from another machine: set it by NTP. Events are dated by it."
        return Check("clock", False, f"{found}; the newest file is of {at:%Y-%m-%d %H:%M:%S}", cure)
    return Check("clock", True, found)


def _is_known(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except ZoneInfoNotFoundError:
        return False
    return True


def _changed_at(data: Path) -> list[float]:
    """When the files of the directory, and those of its journal, were changed."""
    found = []
    for path in (*data.glob("*"), *(data / "journal").glob("*")):
        try:
            found.append(path.stat().st_mtime)
        except FileNotFoundError:  # a server works on it
            continue
    return found


def check_settings(environment: dict[str, str] | None = None) -> Check:
    """Every variable that looks like a setting is one: a misspelt one sets nothing."""
    given = os.environ if environment is None else environment
    prefix = str(Settings.model_config["env_prefix"])
    names = {name.removeprefix(prefix) for name in given if name.startswith(prefix)} - _NOT_SETTINGS
    known = {name.upper() for name in Settings.model_fields}
    unknown = sorted(names - known)
    if unknown:
        near = get_close_matches(unknown[0], known, 1)
        cure = f"Is {prefix}{near[0]} meant?" if near else "Remove it, or see the table of settings."
        return Check("settings", False, f"{', '.join(prefix + n for n in unknown)}: there is no such setting", cure)
    return Check("settings", True, f"{len(names)} set by the environment, all of them known")


def check_identities(log: dict[str, Any]) -> Check:
    """The index of duplicates knows every event that was ever accepted."""
    known, events = log["known_identities"], log["last_sequence"]
    found = f"{grouped(known)} identities in {log['identities_memory_bytes'] / 2**20:.0f} MiB of memory"
    if known != events:
        cure = "Stop the server, remove the directory `identities`, start again: it is made anew from the events."
        return Check("identities", False, f"{found}, and {grouped(events)} events", cure)
    return Check("identities", True, found)


def check_webhooks(webhooks: dict[str, Any], now: datetime | None = None) -> Check:
    """No endpoint is disabled, none has signals that wait for long or were given up, and all signals are recorded."""
    now, endpoints = now or datetime.now(UTC), webhooks["endpoints"]
    waiting = sum(each["waiting"] + each["behind"] for each in endpoints)
    found = f"{len(endpoints)} endpoints, {grouped(waiting)} signals wait"
    for each in endpoints:
        key, oldest = each["endpoint"], each.get("oldest_at")
        if each["state"] == "disabled":
            cure = f"Mend the receiver, then: tallystick webhooks resume {key}; or delete the endpoint."
            return Check("webhooks", False, f"{found}; {key} is disabled", cure)
        if each["dead"]:
            cure = f"Mend the receiver, then: tallystick webhooks replay {key}"
            return Check("webhooks", False, f"{found}; {grouped(each['dead'])} of {key} were given up", cure)
        if oldest is not None and each["state"] == "active" and now - datetime.fromisoformat(oldest) > OLD_SIGNAL:
            cure = f"See why its receiver does not take them: tallystick webhooks deliveries {key}"
            return Check("webhooks", False, f"{found}; the oldest of {key} since {oldest}", cure)
    return Check("webhooks", True, found)
