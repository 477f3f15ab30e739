"""A data directory that an earlier release wrote answers as it did then. See making.py."""

import json
import tarfile
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from tests.api.conftest import NOW
from tests.upgrade.making import HERE, answers

RELEASES = sorted(path.name.removesuffix(".tar.gz") for path in HERE.glob("*.tar.gz"))


def test_the_directory_of_a_release_is_kept_and_is_small() -> None:
    assert RELEASES
    assert all((HERE / f"{release}.tar.gz").stat().st_size < 200_000 for release in RELEASES)


@pytest.mark.parametrize("release", RELEASES)
def test_what_a_release_wrote_is_read_and_written_on(release: str, tmp_path: Path) -> None:
    """Twice: as it was found, and after everything has moved to where this release has it."""
    with tarfile.open(HERE / f"{release}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    expected = json.loads((HERE / f"{release}.json").read_bytes())
    settings = Settings(data=tmp_path / "data")
    for _ in range(2):
        engine = Engine.open(settings, now=lambda: NOW)
        try:
            with TestClient(create_app(settings, engine=engine)) as client:
                found = answers(client)
                assert _of(found, expected) == expected
                for key in (name for name in expected if name.startswith("run_")):
                    verified = client.post(f"/v1/rating-runs/{key}/verify").json()
                    assert verified["digest"] == verified["rerated_digest"]
            engine.log.flush()
            engine.log.maintain()
        finally:
            engine.close()


def _of(found: object, expected: object) -> object:
    """What of an answer the release knew: later ones may say more, and raise more signals."""
    if isinstance(found, dict) and isinstance(expected, dict):
        if "/v1/signals" in expected:
            known = expected["/v1/signals"]
            first = found["/v1/signals"]["items"][: len(known["items"])]
            found = {**found, "/v1/signals": {"items": first, "next": known["next"]}}
        return {name: _of(value, expected[name]) for name, value in found.items() if name in expected}
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        return [_of(*pair) for pair in zip(found, expected, strict=True)]
    return found
