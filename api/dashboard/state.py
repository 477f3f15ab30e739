"""What the dashboard keeps while the process runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import FastAPI, Request

from api.dashboard.ingest_rate import IngestRate
from api.dashboard.kept import KeptAnswers


@dataclass(frozen=True)
class DashboardState:
    rate: IngestRate = field(default_factory=IngestRate)
    kept: KeptAnswers = field(default_factory=KeptAnswers)


def state_of(request: Request) -> DashboardState:
    state: DashboardState = request.app.state.dashboard
    return state


@asynccontextmanager
async def running_dashboard(app: FastAPI) -> AsyncIterator[None]:
    """From here on pages can be asked for; `app.state.engine` is open."""
    app.state.dashboard = DashboardState()
    async with app.state.dashboard.rate.watching(app.state.engine):
        yield
