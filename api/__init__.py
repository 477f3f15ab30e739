"""Faces: HTTP routes, command line, settings, and the facade that both of them drive.

Polars gives memory back half a second after it was freed, and takes it anew for the next part of a run: a quarter of
the CPU of rating. How long it may keep it is read when it is loaded, so that is said here, in front of all imports.
"""

import os

os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000")
