"""How a route gets hold of the engine that the application opened, and what its list parameters look like."""

from typing import Annotated

from fastapi import Depends, Query, Request
from pydantic import AwareDatetime

from api.engine import Engine


async def engine_of(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


TheEngine = Annotated[Engine, Depends(engine_of)]
After = Annotated[str | None, Query(description="the `next` of the page before")]
AsOf = Annotated[AwareDatetime | None, Query(description="answer as it was known at this instant; now unless given")]
Limit = Annotated[int, Query(ge=1, le=10_000)]
