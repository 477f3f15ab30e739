"""Settings come from a file too, the environment wins, and people see which it was."""

from pathlib import Path

import pytest

from api.operating.settings_shown import page, variable
from api.settings import Settings
from tests.cli.conftest import Run
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting in the environment; --config, which puts one there, is undone."""
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)
    monkeypatch.setenv("TALLYSTICK_CONFIG", "")


def config(directory: Path, text: str) -> Path:
    path = directory / "tallystick.toml"
    path.write_text(text)
    return path


def test_the_page_of_settings_is_what_the_code_says() -> None:
    """`python -m api.cli settings --page > docs/settings.md` makes it."""
    assert (ROOT / "docs" / "settings.md").read_text() == page()
    assert all(f"| `{name}` |" in page() for name in Settings.model_fields)


def test_the_environment_wins_over_the_file_and_each_value_has_its_source(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config(tmp_path, 'port = 9000\nhost = "::1"\nwebhook_http = true\nwebhook_seconds = 2.5\n')
    monkeypatch.setenv("TALLYSTICK_PORT", "9001")
    ran = run("--config", path, "settings", "--json")
    assert ran.code == 0
    found = {name: (one["value"], one["source"]) for name, one in ran.json.items()}
    assert set(found) == set(Settings.model_fields)
    assert found["port"] == (9001, "TALLYSTICK_PORT")
    assert found["host"] == ("::1", str(path))
    assert found["webhook_http"] == (True, str(path))
    assert found["webhook_seconds"] == (2.5, str(path))
    assert found["webhook_days"] == (3, "default")


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("postgresql://usage:hidden@db/tallystick", "postgresql://usage:***@db/tallystick"),
        ("postgresql://db/tallystick?password=hidden", "postgresql://db/tallystick?password=masked"),
        ("sqlite:////srv/records.sqlite", "sqlite:////srv/records.sqlite"),
        ("hidden", "masked"),
    ],
)
def test_a_password_is_masked(run: Run, monkeypatch: pytest.MonkeyPatch, url: str, seen: str) -> None:
    monkeypatch.setenv("TALLYSTICK_DATABASE_URL", url)
    ran = run("settings", "--json")
    assert ran.json["database_url"]["value"] == seen
    assert "hidden" not in ran.out + run("settings").out + repr(Settings())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("prot = 1", "'prot' in {path} is no setting: do you mean 'port'?", id="a name that is nearly one"),
        pytest.param("[server]\nport = 1", "'server' in {path} is no setting", id="a section"),
        pytest.param('port = "many"', "'port' in {path} is not valid", id="text for a number"),
        pytest.param("port = 70000", "'port' in {path} is not valid", id="beyond its range"),
        pytest.param("port = 1\nport = 2", "{path} are no TOML", id="a name twice"),
        pytest.param("port", "{path} are no TOML", id="no TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(run: Run, tmp_path: Path, text: str, said: str) -> None:
    path = config(tmp_path, text)
    for command in (["settings"], ["serve"], ["runs"]):
        ran = run("--config", path, *command)
        assert ran.code == 78
        assert said.format(path=path) in ran.err


def test_a_wrong_value_in_the_environment_is_named_and_not_shown(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_PORT", "secret")
    ran = run("serve", "--data", tmp_path / "data")
    assert ran.code == 78
    assert "TALLYSTICK_PORT is not valid" in ran.err
    assert "secret" not in ran.err
    assert not (tmp_path / "data").exists()


def test_a_file_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    ran = run("--config", tmp_path / "none.toml", "settings")
    assert ran.code == 78
    assert "none.toml cannot be read: No such file" in ran.err


def test_the_file_says_where_the_data_is(run: Run, tmp_path: Path) -> None:
    path = config(tmp_path, f'data = "{tmp_path / "there"}"\n')
    assert run("--config", path, "catalog", "show").code == 1
    assert run("--config", path, "doctor").code == 1
    assert f"no data directory {tmp_path / 'there'}" in run("--config", path, "runs").err
