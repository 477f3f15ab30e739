"""What the OpenAPI document says of access: how to say who asks, which scope an operation needs, how it refuses."""

from typing import Any

from fastapi import FastAPI

from api.access.access import COOKIE
from api.access.requirements import REQUIREMENTS, Requirement
from api.documentation import Responses, problems

_SCHEMES = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "a key `tsk_...`, or a subject token",
    },
    "gatewayKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Tallystick-Key",
        "description": "the same for gateways, whose `Authorization` is their client's; it goes first",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "a login to the dashboard; changes need `X-CSRF-Token` besides",
    },
}
_REFUSALS = (401, 403, 429)


def document_access(app: FastAPI) -> None:
    """Let the document of `app` say what each operation needs."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            document.setdefault("components", {})["securitySchemes"] = _SCHEMES
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    _secure(operation, REQUIREMENTS[method.upper(), path])
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents


def _secure(operation: dict[str, Any], requirement: Requirement) -> None:
    if requirement.scope is None:
        operation["security"] = []
        return
    operation["security"] = [{scheme: [str(requirement.scope)]} for scheme in _SCHEMES]
    operation["x-tallystick-scope"] = str(requirement.scope)
    refusals: Responses = problems(*_REFUSALS, *((404,) if requirement.own is not None else ()))
    for status, refusal in refusals.items():
        answer = operation["responses"].setdefault(str(status), {"description": refusal["description"], "content": {}})
        for media, schema in refusal["content"].items():
            answer.setdefault("content", {}).setdefault(media, schema)
