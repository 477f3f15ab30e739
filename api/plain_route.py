"""A route that FastAPI documents and does not run: on a small request, what FastAPI does around an endpoint (a stack of
contexts, dependencies, parameters) costs as much as taking an event."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response


class PlainRoute(APIRoute):
    """Its endpoint takes the request and the engine, reads parameters by itself, and gives a Response."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            response: Response = await endpoint(request, request.app.state.engine)
            return response

        return handle
