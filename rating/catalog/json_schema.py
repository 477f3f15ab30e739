"""The JSON Schema of the catalog file: `python -m rating.catalog.json_schema > docs/catalog.schema.json`."""

import json
from typing import Any

from rating.catalog.model import Catalog

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema: form, choices and help for each field. References and tiers are checked by `parse_catalog` alone."""
    return {"$schema": DIALECT, **Catalog.model_json_schema(by_alias=True), "title": "Tallystick catalog"}


def json_schema_text() -> str:
    """The text of docs/catalog.schema.json."""
    return json.dumps(json_schema(), ensure_ascii=False, indent=2) + "\n"


if __name__ == "__main__":
    print(json_schema_text(), end="")
