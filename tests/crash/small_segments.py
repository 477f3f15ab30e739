"""The server with tiny journal segments: a short load then seals, flushes, deletes and checkpoints many times.

Everything else is as it is shipped.
"""

from datetime import timedelta
from functools import partialmethod

import rating.delta
from api.server import serve
from api.settings import Settings
from ingest.limits import IngestLimits

if __name__ == "__main__":
    small = partialmethod(IngestLimits.__init__, segment_bytes=8_000, segment_age=timedelta(seconds=0.2))
    IngestLimits.__init__ = small  # type: ignore[assignment, method-assign]  # no setting: nobody else needs it
    rating.delta.COMMITS_PER_CHECKPOINT = 10
    serve(Settings())
