"""Settings come from the environment, once."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from api.settings import Settings


def test_without_an_environment_it_listens_on_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA", "HOST", "PORT", "DATABASE_URL"):
        monkeypatch.delenv(f"TALLYSTICK_{name}", raising=False)
    settings = Settings()
    assert (settings.data, settings.host, settings.port) == (Path("data/live"), "127.0.0.1", 8080)
    assert settings.database == "sqlite:///data/live/tallystick.sqlite"


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_DATA", "/srv/usage")
    monkeypatch.setenv("TALLYSTICK_PORT", "0")
    assert Settings().database == "sqlite:////srv/usage/tallystick.sqlite"
    assert Settings().port == 0
    monkeypatch.setenv("TALLYSTICK_DATABASE_URL", "postgresql+psycopg://db/tallystick")
    assert Settings().database == "postgresql+psycopg://db/tallystick"


@pytest.mark.parametrize(("name", "value"), [("PORT", "http"), ("PORT", "70000"), ("BODY_BYTES_MAX", "0")])
def test_a_bad_setting_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"TALLYSTICK_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()
