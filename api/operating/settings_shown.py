"""Settings for people: those in force and where each comes from, what is wrong with one, and the table of all."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from api.settings import PREFIX, Settings, config_path, config_values

MASK = "masked"
_SECRET_PARAMETERS = ("password", "sslpassword", "passfile")


@dataclass(frozen=True)
class ShownSetting:
    """One setting in force; a secret in `value` is masked. `source` is where it was said."""

    name: str
    value: Any
    source: str


def shown(settings: Settings) -> list[ShownSetting]:
    """All settings, as they are in force."""
    values, said = settings.model_dump(mode="json"), config_values()
    return [ShownSetting(name, _masked(name, values[name]), _source(name, said)) for name in Settings.model_fields]


def wrong(error: ValidationError) -> str:
    """What is wrong with the settings, and where it was said; never a value: it may be a secret."""
    said = config_values()
    return "; ".join(_wrong(str(one["loc"][0]), one["type"], one["msg"], said) for one in error.errors()) + "."


def page() -> str:
    """docs/settings.md: a table of every setting."""
    return _PAGE.format(rows="\n".join(_rows()))


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


def _source(name: str, said: Mapping[str, Any]) -> str:
    if variable(name) in os.environ:
        return variable(name)
    return str(config_path()) if name in said else "default"


def _masked(name: str, value: Any) -> Any:
    if name != "database_url" or value is None:
        return value
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        return MASK
    secret = {name: MASK for name in url.query if name.lower() in _SECRET_PARAMETERS}
    return url.update_query_dict(secret).render_as_string(hide_password=True)


def _wrong(name: str, kind: str, message: str, said: Mapping[str, Any]) -> str:
    if kind == "extra_forbidden":
        near = get_close_matches(name, Settings.model_fields, 1)
        cure = f"do you mean {near[0]!r}?" if near else "docs/settings.md has all settings"
        return f"{name!r} in {config_path()} is no setting: {cure}"
    place = f"{name!r} in {config_path()}" if _source(name, said) == str(config_path()) else variable(name)
    return f"the setting {place} is not valid: {message}"


def _rows() -> Iterator[str]:
    schema = Settings.model_json_schema()["properties"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{_text(field.default)}`"
        meaning = " ".join((field.description or "").split())
        yield f"| `{name}` | {default} | {_range(schema[name])} | {meaning} |"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _range(schema: Mapping[str, Any]) -> str:
    """What a setting may be, in words."""
    kind = next((one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"), schema)
    if kind["type"] == "boolean":
        return "true, false"
    if kind["type"] == "string":
        return "list of numbers" if "pattern" in kind else "path" if kind.get("format") == "path" else "text"
    bounds = [
        f"above {kind['exclusiveMinimum']:.0f}" if "exclusiveMinimum" in kind else "",
        f"{kind['minimum']:.0f} or more" if "minimum" in kind else "",
        f"up to {kind['maximum']:.0f}" if "maximum" in kind else "",
    ]
    return f"{kind['type']} {', '.join(bound for bound in bounds if bound)}".strip()


_PAGE = """\
# Settings

Each setting is a name in a TOML file, and an environment variable: `TALLYSTICK_` and the name in capitals. The
environment wins over the file, an option of a command over both. The file is named by `--config FILE` in front of the
command, or by `TALLYSTICK_CONFIG`:

    # /etc/tallystick.toml
    data = "/var/lib/tallystick"
    port = 8080
    webhook_ports = "443"

    tallystick --config /etc/tallystick.toml serve
    tallystick --config /etc/tallystick.toml settings

`tallystick settings` says what is in force and where each value was said; a password in `database_url` is masked. A
name that is no setting, and a value that is not valid, end every command with exit code 78 and a sentence that names
the setting. Settings are read once, when a process starts. Three variables are of the command line only:
`TALLYSTICK_URL`, `TALLYSTICK_API_KEY` and `TALLYSTICK_CONFIG`.

This table is made of the code (`tallystick settings --page`); a test holds it against it.

| setting | default | may be | means |
|---|---|---|---|
{rows}
"""
