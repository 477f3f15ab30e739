"""All routes of the dashboard."""

from fastapi import APIRouter

from api.dashboard import static_files
from api.dashboard.pages import catalog, customers, lines, meters, overview, rejections, runs, signals, system, what_if

PAGES = (overview, meters, customers, lines, runs, what_if, catalog, rejections, signals, system)

router = APIRouter(include_in_schema=False)
router.include_router(static_files.router)
for page in PAGES:
    router.include_router(page.router)
