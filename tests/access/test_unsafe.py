"""Settings that a server does not start with: a sentence that says what to do, and exit code 78."""

import pytest

from api.access.caller import Scope
from api.access.unsafe import Unsafe, refuse_unsafe
from api.engine import Engine
from tests.access.conftest import key
from tests.cli.conftest import Run, run

__all__ = ["run"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "tallystick.example"])
def test_without_a_key_it_is_not_reached_by_others(engine: Engine, host: str) -> None:
    settings = engine.settings.model_copy(update={"host": host})
    with pytest.raises(Unsafe, match=f"{host} is reached by others: make a key first with `tallystick keys create"):
        refuse_unsafe(settings, engine.access)
    key(engine, Scope.admin)
    refuse_unsafe(settings, engine.access)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_this_machine_it_needs_none(engine: Engine, host: str) -> None:
    refuse_unsafe(engine.settings.model_copy(update={"host": host}), engine.access)


def test_a_database_that_everybody_can_read_is_not_served(engine: Engine) -> None:
    path = engine.settings.data / "tallystick.sqlite"
    path.chmod(0o644)
    with pytest.raises(Unsafe, match=f"chmod 600 {path}"):
        refuse_unsafe(engine.settings, engine.access)


@pytest.mark.parametrize("setting", ["HOST=0.0.0.0", "PORT=70000", "SESSION_HOURS=0", "DOCS=perhaps"])
def test_a_server_that_does_not_start_says_why_and_exits_78(
    run: Run, engine: Engine, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    engine.close()
    name, _, value = setting.partition("=")
    monkeypatch.setenv(f"TALLYSTICK_{name}", value)
    options = ["--port", "0"] if name != "PORT" else []
    ran = run("serve", "--data", engine.settings.data, *options)
    assert ran.code == (2 if name == "PORT" else 78)  # an option of the command: wrong usage
    assert ran.err
