"""YAML and JSON texts: what they mean here, and which are refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.catalog import CatalogInvalid, Problem, parse_catalog
from rating.catalog.problems import FloatLiteral
from rating.catalog.reading import Format, read_document
from tests.catalog.documents import SOUND


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16:30", "16:30"),
        ("190:20:30", "190:20:30"),
        ("2024-05-13", "2024-05-13"),
        ("2024-05-13T00:00:00Z", "2024-05-13T00:00:00Z"),
        ("2024-05-13 00:00:00 +02:00", "2024-05-13 00:00:00 +02:00"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("007", "007"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("2.50", FloatLiteral("2.50")),
        ("1e5", FloatLiteral("1e5")),
        (".5", FloatLiteral(".5")),
        (".inf", FloatLiteral(".inf")),
        (".NaN", FloatLiteral(".NaN")),
        ("9" * 5000, FloatLiteral("9" * 5000)),
        ("'2.50'", "2.50"),
        ('"12"', "12"),
        ("|-\n  2.50", "2.50"),
        ("1.2.3", "1.2.3"),
        ("-", [None]),
        ("!!str 12", "12"),
    ],
)
def test_yaml_scalars_are_read_by_the_core_schema_and_dates_stay_text(text: str, value: Any) -> None:
    separator = "\n" if text == "-" else " "
    assert read_document(f"a:{separator}{text}\n", "yaml") == ({"a": value}, [])


def test_yaml_keys_are_text_whatever_they_look_like() -> None:
    assert read_document("{1: a, 2.5: b, true: c, 2024-01-01: d}", "yaml")[0] == {
        "1": "a",
        "2.5": "b",
        "true": "c",
        "2024-01-01": "d",
    }


def test_aliases_stand_for_their_values() -> None:
    text = "a: &list [1, &x {b: 2}]\nc: *list\nd: *x\n"
    assert read_document(text, "yaml")[0] == {"a": [1, {"b": 2}], "c": [1, {"b": 2}], "d": {"b": 2}}


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("", "", "empty"),
        (" \n# only a comment\n", "", "mapping"),
        ("\ufeff", "", "empty"),
        (b"\xff\xfe", "byte 0", "UTF-8"),
        ("a: [", "line 2, column 1", "not YAML"),
        ("a: 'x", "line 1, column 6", "not YAML"),
        ("a\x00: 1", "", "not YAML"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1", "second document"),
        ("a: *b", "line 1, column 4", "no anchor"),
        ("a: &a [*a]", "line 1, column 8", "no anchor"),
        ("? [1]\n: 2", "line 1, column 3", "as a key"),
        ("a: &a b\n*a : c", "line 2, column 1", "as a key"),
        ("a: !!python/object/apply:os.system ['true']", "line 1, column 4", "tag"),
        ("a: !!float 1", "line 1, column 4", "tag"),
        ("a: " + "[" * 40 + "]" * 40, "line 1, column 35", "nested deeper"),
        ('{"a": 1,}', "line 1, column 9", "not JSON"),
        ('{"a": 1} {', "line 1, column 10", "not JSON"),
        ('{"a": ' + "[" * 40 + "]" * 40 + "}", "a" + "[0]" * 32, "nested deeper"),
        ('{"a": ' * 100_000, "", "nested deeper"),
        ('{"a": "\\ud800"}', "", "half a character"),
        ("a: \ud800", "", "half a character"),
    ],
)
def test_what_cannot_be_read_says_where(text: str | bytes, path: str, message: str) -> None:
    with pytest.raises(CatalogInvalid) as refused:
        parse_catalog(text)
    [problem, *more] = refused.value.problems
    assert not more
    assert (problem.path, message in problem.message, bool(problem.cure)) == (path, True, True)


def test_nested_aliases_do_not_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(CatalogInvalid, match="more than 5000000 values"):
        parse_catalog("\n".join(lines))


@pytest.mark.parametrize("file_format", ["yaml", "json"])
def test_a_key_given_twice_is_found_at_its_place(file_format: Format) -> None:
    text = json.dumps(SOUND).replace('"tokens": {"event_type"', '"calls": {"event_type"')
    text = text.replace('"per": 1000', '"per": 1000, "per": 10')
    with pytest.raises(CatalogInvalid) as refused:
        parse_catalog(text, format=file_format)
    twice = [problem.path for problem in refused.value.problems if "given twice" in problem.message]
    assert sorted(twice) == ["meters.calls", "prices.unit.versions[0].per"]


def test_json_numbers_with_a_point_are_quoted_in_the_cure() -> None:
    text = json.dumps(SOUND).replace('"2.50"', "2.50")
    with pytest.raises(CatalogInvalid, match=r'Write it as a string: "2\.50"'):
        parse_catalog(text)
    with pytest.raises(CatalogInvalid, match=r'Write it as a string: "NaN"'):
        parse_catalog(text.replace("2.50", "NaN"))


plain_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.text(st.characters(exclude_categories=["Cs"]))
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(st.characters(codec="utf-8")), inner)),
    max_leaves=20,
)


@given(plain_values)
def test_json_reads_as_json_does(value: Any) -> None:
    assert read_document(json.dumps({"a": value}), "json") == ({"a": value}, [])


@given(st.text())
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with pytest.raises(CatalogInvalid):
        parse_catalog(text)


@given(st.binary())
def test_no_bytes_do_more_than_be_refused(text: bytes) -> None:
    with pytest.raises(CatalogInvalid):
        parse_catalog(text)


@given(st.data())
def test_a_damaged_file_is_read_or_refused(data: st.DataObject) -> None:
    text = json.dumps(SOUND)
    start = data.draw(st.integers(0, len(text)))
    damaged = text[:start] + data.draw(st.text(max_size=3)) + text[start + data.draw(st.integers(0, 5)) :]
    assert all(problem.message and problem.cure for problem in problems_of_text(damaged, "json"))
    assert all(problem.message and problem.cure for problem in problems_of_text(damaged, "yaml"))


def problems_of_text(text: str, file_format: Format) -> list[Problem]:
    try:
        parse_catalog(text, format=file_format)
    except CatalogInvalid as refused:
        return refused.problems
    return []
