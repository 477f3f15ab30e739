"""A file of the data directory rots: a bit flips, a page is zeroed, two files change places, an old copy comes back.

Each time: every answer is as before, or a read or `tallystick doctor` names what is damaged; never only another number.
The one exception is the end of the journal: there rot, or an old copy, looks like a tear (docs/journal.md).
"""

import json
import random
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from api.cli.doctor import _checks
from api.engine import Engine
from api.settings import Settings
from api.usage import UsageQuery
from rating.core.line_digest import digest
from rating.core.lines import CHARGE_LINE
from store.customers import Customer
from store.subscriptions import Subscription
from tests.api.conftest import CATALOG, NOW, event

KINDS = {
    "journal": "journal/*.segment",
    "usage table": "usage/**/*.parquet",
    "its log": "usage/_delta_log/*.json",
    "charge lines": "lines/**/*.parquet",
    "their log": "lines/_delta_log/*.json",
    "rejections": "rejections/*",
    "identities": "identities/*",
    "database": "tallystick.sqlite",
}
BATCH = "application/cloudevents-batch+json"
Answers = dict[str, Any]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed directory with every kind of file, and beside it (`old`) what it was half way."""
    root = tmp_path_factory.mktemp("rot")
    for half in ("old", "data"):
        with closing(Engine.open(Settings(data=root / "data"), now=lambda: NOW)) as engine:
            if half == "old":
                engine.apply_catalog(json.dumps(CATALOG), format="json")
                engine.put_customers([Customer("acme", "", "UTC", NOW, ("acme", "other"))])
                engine.put_subscriptions([Subscription("s", "acme", "pro", NOW.replace(month=1), None)])
            for day in range(8, 12):
                subjects = ("acme", "other")
                events = [
                    event(f"{half}-{day}-{n}", subject=subjects[n % 2], time=f"2026-10-{day:02d}T00:00:{n:02d}Z")
                    for n in range(40)
                ]
                body = json.dumps([*events, event(f"{half}-{day}-bad", time="soon")]).encode()
                engine.log.submit(body, BATCH).result(30)
                engine.log.flush()
            engine.rate("2026-10")
            behind = [event(f"{half}-tail-{n}", time="2026-10-12T00:00:00Z") for n in range(20)]
            engine.log.submit(json.dumps(behind).encode(), BATCH).result(30)
        if half == "old":
            shutil.copytree(root / "data", root / "old")
    return root


def answers_of(data: Path) -> Answers:
    """Everything that is billed or shown: usage, quota, runs with their lines, signals, rejections."""
    with closing(Engine.open(Settings(data=data), now=lambda: NOW)) as engine:
        usage = engine.usage(UsageQuery("tokens", group_by=("subject", "model"))).rows()
        runs = engine.store.runs.page(period=None, after=None, limit=100)
        lines = {r.id: digest(engine.rating.lines(r.id).collect().select(CHARGE_LINE.names())) for r in runs}
        assert all(lines[run.id] == run.digest for run in runs), "a run's lines are not those of its digest"
        return {
            "usage": sorted(usage),
            "events": engine.log.status()["last_sequence"],
            "lines": lines,
            "signals": [signal.id for signal in engine.signals(0, 100)],
        }


def doctor_says(data: Path) -> str:
    """The problems that the doctor finds, one a line."""
    return "\n".join(f"{check.name}: {check.found}" for check in _checks(data, None) if not check.ok)


def flip(path: Path, _old: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    at = chance.randrange(len(content))
    content[at] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def zero(path: Path, _old: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    at = chance.randrange(0, len(content), 4096)
    size = len(content[at : at + 4096])
    content[at : at + 4096] = bytes(size)
    path.write_bytes(content)


def swap(path: Path, _old: Path, chance: random.Random) -> None:
    others = [other for other in path.parent.iterdir() if other.is_file() and other != path]
    if others:
        other = chance.choice(sorted(others))
        one, two = path.read_bytes(), other.read_bytes()
        path.write_bytes(two)
        other.write_bytes(one)


def put_back_old(path: Path, old: Path, chance: random.Random) -> None:
    """The file as it was half way; where it was not there then, one of its kind that was."""
    found = [old] if old.is_file() else sorted(other for other in old.parent.glob(f"*{old.suffix}") if other.is_file())
    if found:
        shutil.copyfile(chance.choice(found), path)


def rot(sound: Path, scratch: Path, kind: str, damage: Callable[[Path, Path, random.Random], None], times: int) -> None:
    """Damage a file of `kind` in a copy, `times` over, and see that it cannot go unnoticed."""
    expected = answers_of(_copy(sound, scratch / "whole"))
    for number in range(times):
        chance = random.Random(f"{kind} {damage.__name__} {number}")
        data = _copy(sound, scratch / f"{number}")
        paths = sorted(path for path in data.glob(KINDS[kind]) if path.is_file() and path.stat().st_size)
        path = chance.choice(paths)
        damage(path, sound / "old" / path.relative_to(data), chance)
        told = doctor_says(_copy_of(data, scratch / f"{number}-checked"))
        try:
            found = answers_of(data)
        except Exception as error:  # whatever a read says: it does not answer with another number
            told += f"\n{type(error).__name__}: {error}"
        else:
            is_told = bool(told.strip())
            is_tail = kind == "journal" and path == paths[-1] and damage in (flip, zero, put_back_old)
            assert found == expected or is_told or is_tail, f"{damage.__name__} of {path} changes {found} silently"
        for made in (data, scratch / f"{number}-checked"):
            shutil.rmtree(made)


def _copy(sound: Path, target: Path) -> Path:
    return _copy_of(sound / "data", target)


def _copy_of(data: Path, target: Path) -> Path:
    shutil.copytree(data, target)
    return target


DAMAGES = [
    pytest.param(kind, damage, id=f"{damage.__name__} {kind}")
    for kind in KINDS
    for damage in (flip, zero, swap, put_back_old)
]


@pytest.mark.parametrize(("kind", "damage"), DAMAGES)
def test_rot_does_not_go_unnoticed(sound: Path, tmp_path: Path, kind: str, damage: Any) -> None:
    rot(sound, tmp_path, kind, damage, 1)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "damage"), DAMAGES)
def test_much_rot_does_not_go_unnoticed(sound: Path, tmp_path: Path, kind: str, damage: Any) -> None:
    rot(sound, tmp_path, kind, damage, 150)
