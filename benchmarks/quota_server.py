"""The server, with one route more: `GET /nothing` is an empty FastAPI route, tried first, the ceiling for quota checks.

It is in the same process, so that the same load of events is in its way."""

from typing import Any

from fastapi import FastAPI

from api import server
from api.app import create_app
from api.settings import Settings


async def nothing() -> dict[str, bool]:
    return {"allowed": True}


def _with_nothing(settings: Settings, **given: Any) -> FastAPI:
    app = create_app(settings, **given)
    app.add_api_route("/nothing", nothing)
    app.router.routes.insert(0, app.router.routes.pop())
    return app


if __name__ == "__main__":
    server.create_app = _with_nothing
    server.serve(Settings())
