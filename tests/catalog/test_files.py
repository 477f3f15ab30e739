"""The files that ship with the catalog: the JSON Schema, the reference with its snippets, the sample."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from rating.catalog import compile_catalog, parse_catalog
from rating.catalog.json_schema import json_schema, json_schema_text
from rating.catalog.reading import read_document
from tests.catalog.documents import SOUND, changed

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = sorted(ROOT.glob("data/catalogs/*.yaml"))
SNIPPETS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/catalog.md").read_text(), re.DOTALL)
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def test_the_json_schema_in_docs_is_current() -> None:
    message = "run: python -m rating.catalog.json_schema > docs/catalog.schema.json"
    assert (ROOT / "docs/catalog.schema.json").read_text() == json_schema_text(), message


def test_the_json_schema_is_one_and_helps_with_each_field() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    for name, part in json_schema()["$defs"].items():
        without_help = [field for field, about in part["properties"].items() if "description" not in about]
        assert set(without_help) <= {"model", "kind", "operator"}, name


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("prices/unit/versions/0/unit_amount", 2.5),
        ("prices/unit/versions/0/tiers", []),
        ("prices/unit/model", "per-unit"),
        ("meters/tokens/aggregation", "avg"),
        ("meters/tokens/groupby", ["a"]),
        ("plans/pro/entitlements/tokens/limit", -1),
        ("meters/tokens/filters", [{"property": "a", "in": []}]),
    ],
)
def test_the_json_schema_refuses_what_has_the_wrong_form(place: str, value: Any) -> None:
    assert not VALIDATOR.is_valid(changed(place, value))


def test_the_json_schema_takes_sound_documents() -> None:
    VALIDATOR.validate(SOUND)
    VALIDATOR.validate(json.loads(parse_catalog(json.dumps(SOUND)).canonical_json()))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_a_catalog(path: Path) -> None:
    catalog = parse_catalog(path.read_bytes())
    VALIDATOR.validate(read_document(path.read_bytes(), "yaml")[0])
    assert compile_catalog(catalog).shapes


def test_there_are_samples_and_snippets() -> None:
    assert SAMPLES
    assert SNIPPETS


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.strip().splitlines()[0][:60])
def test_a_snippet_of_the_reference_completes_to_a_catalog(snippet: str) -> None:
    """A snippet is a whole file, or sections of one beside meters that the reference defines first."""
    sections = {"tallystick": 1, "currencies": ["USD"], **_first_meters()}
    document = read_document(snippet, "yaml")[0]
    meters = {**sections["meters"], **document.pop("meters", {})}
    parse_catalog(json.dumps({**sections, "meters": meters, **document}))


def _first_meters() -> dict[str, Any]:
    first = next(snippet for snippet in SNIPPETS if snippet.startswith("meters:"))
    return {"meters": read_document(first, "yaml")[0]["meters"]}
