"""Text to Catalog: read, validate, cross-check, and report everything that is wrong at once.

Where a part of the file is no valid meter, price ... it is left out and the rest is still cross-checked, so that one
misspelt field does not hide what is wrong elsewhere; references to a part that was left out are not reported again.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rating.catalog.checks import LeftOut, check
from rating.catalog.explaining import problems_of
from rating.catalog.model import Catalog
from rating.catalog.problems import CatalogInvalid, Problem
from rating.catalog.reading import Format, Unreadable, read_document

SECTIONS = ("meters", "features", "prices", "plans")


def parse_catalog(text: str | bytes, *, format: Format | None = None) -> Catalog:
    """The catalog in a YAML or JSON text; without `format`, text that starts with `{` is JSON.

    Raises CatalogInvalid with every problem found.
    """
    try:
        document, problems = read_document(text, format)
    except Unreadable as error:
        raise CatalogInvalid([error.problem]) from None
    return _load(document, problems)


def load_catalog(document: Mapping[str, Any]) -> Catalog:
    """The catalog in a document of plain values, such as an importer gives. Raises as `parse_catalog` does."""
    return _load(document, [])


def _load(document: Any, problems: list[Problem]) -> Catalog:
    try:
        catalog = Catalog.model_validate(document)
    except ValidationError as error:
        raise CatalogInvalid([*problems, *problems_of(error), *_check_the_rest(document, error)]) from None
    problems = [*problems, *check(catalog, LeftOut())]
    if problems:
        raise CatalogInvalid(problems)
    return catalog


def _check_the_rest(document: Any, error: ValidationError) -> list[Problem]:
    """The problems between those parts of the document that are well-formed by themselves."""
    if not isinstance(document, Mapping):
        return []
    places = [tuple(details["loc"]) for details in error.errors(include_url=False, include_input=False)]
    left_out = LeftOut(
        sections=frozenset(str(place[0]) for place in places if len(place) == 1),
        parts=frozenset((str(place[0]), str(place[1])) for place in places if len(place) > 1),
    )
    rest: dict[str, Any] = {"tallystick": 1, "currencies": document.get("currencies")}
    if any(section == "currencies" for section, _ in left_out.parts) or "currencies" in left_out.sections:
        rest["currencies"] = ["USD"]
        left_out = LeftOut(left_out.sections | {"currencies"}, left_out.parts)
    for section in SECTIONS:
        parts = document.get(section)
        if isinstance(parts, Mapping):
            rest[section] = {key: part for key, part in parts.items() if (section, str(key)) not in left_out.parts}
    try:
        return check(Catalog.model_validate(rest), left_out)
    except ValidationError:  # what is left out takes something along that this does not foresee: report what is known
        return []
