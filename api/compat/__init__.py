"""The interfaces of other metering systems, for their own unmodified clients: move by changing a base URL.

They are defined by their owners; docs/migrating.md says what is served of them and how it maps. What they send becomes
usage events like any other, with the same promises.
"""

from fastapi import APIRouter

from api.compat import events, lago, openmeter, unserved

router = APIRouter()
for part in (events, lago, openmeter, unserved):  # tried in this order
    router.include_router(part.router, include_in_schema=part is not unserved)
