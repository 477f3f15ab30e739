"""What is wrong with a usage file as a whole; what is wrong with one event of it is a verdict (ingest/verdicts.py)."""

import difflib
from collections.abc import Iterable

from ingest.errors import IngestError


class FileProblem(IngestError):
    """The file cannot be read as usage; the message names the file, what is wrong, and the cure."""


def meant(name: str, known: Iterable[str]) -> str:
    """What the reader of "there is no column `name`" wants to know next."""
    names = list(known)
    lowered = {other.lower(): other for other in names}
    near = lowered.get(name.lower()) or next(iter(difflib.get_close_matches(name, names, n=1)), None)
    if near is not None:
        return f"Did you mean {near!r}?"
    listed = ", ".join(repr(other) for other in names[:20])
    return f"It has {listed}{', ...' if len(names) > 20 else ''}."
