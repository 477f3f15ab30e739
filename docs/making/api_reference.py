"""docs/api.md: the OpenAPI document of the application as one page, made at each build of the site.

python docs/making/api_reference.py
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from api.app import create_app
from api.settings import Settings

Document = Mapping[str, Any]

_EXAMPLE_MAX = 1_500
"""Examples longer than this many characters are left to the document itself."""

_HEAD = """# HTTP API

Every operation, from the OpenAPI document that a running server has at `/openapi.json` and shows at `/docs`. A refusal
is a problem document (`application/problem+json`) that says what happened and what to do about it. Unless it says
otherwise an operation needs the scope that stands beside it once the store has a key: [security](security.md).
"""


def page(document: Document) -> str:
    """The Markdown of `document`: one section a tag, one part an operation."""
    parts = [_HEAD]
    for tag in document["tags"]:
        parts.append(f"## {tag['name'].capitalize()}\n\n{tag['description']}\n")
        parts += [_operation(document, *found) for found in _operations(document, tag["name"])]
    return "\n".join(parts)


def _operations(document: Document, tag: str) -> Iterator[tuple[str, str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation.get("tags", []):
                yield method.upper(), path, operation


def _operation(document: Document, method: str, path: str, operation: Document) -> str:
    scope = operation.get("x-tallystick-scope")
    needs = f"Needs the scope `{scope}`." if scope else "Needs no key."
    texts = [f"### `{method} {path}`", f"**{operation.get('summary', '')}.** {needs}"]
    texts += [operation["description"]] if "description" in operation else []
    if operation.get("parameters"):
        texts.append("\n".join(_parameters(document, operation["parameters"])))
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        texts += list(_body(document, media, content))
    texts.append("\n".join(_answers(operation["responses"])))
    return "\n\n".join(texts) + "\n"


def _parameters(document: Document, parameters: list[Document]) -> Iterator[str]:
    yield "| parameter | in | meaning |\n|---|---|---|"
    for given in parameters:
        parameter = _resolved(document, given)
        must = ", required" if parameter.get("required") else ""
        yield f"| `{parameter['name']}` | {parameter['in']}{must} | {_cell(parameter.get('description', ''))} |"


def _body(document: Document, media: str, content: Document) -> Iterator[str]:
    yield f"Body: `{media}`"
    schema = _resolved(document, content.get("schema", {}))
    example = content.get("example", next(iter(schema.get("examples", [])), None))
    text = example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
    if example is not None and len(text) <= _EXAMPLE_MAX:
        yield f"```json\n{text}\n```"
    if schema.get("properties"):
        rows = "\n".join(_fields(schema))
        yield f"| field | meaning |\n|---|---|\n{rows}"


def _fields(schema: Document) -> Iterator[str]:
    for name, field in schema["properties"].items():
        must = " (required)" if name in schema.get("required", []) else ""
        yield f"| `{name}`{must} | {_cell(field.get('description', ''))} |"


def _answers(responses: Document) -> Iterator[str]:
    yield "| answer | meaning | as |\n|---|---|---|"
    for status, response in sorted(responses.items()):
        media = ", ".join(f"`{name}`" for name in response.get("content", {}))
        yield f"| {status} | {_cell(response.get('description', ''))} | {media} |"


def _resolved(document: Document, given: Document) -> Document:
    while "$ref" in given:
        found: Any = document
        for name in given["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        given = found
    return given


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        document = create_app(Settings(data=Path(folder))).openapi()
    (ROOT / "docs/api.md").write_text(page(document))


if __name__ == "__main__":
    main()
