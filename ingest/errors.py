"""What can go wrong with a submission as a whole; what is wrong with one event is a verdict, not an exception.

A write ends in one of three ways: it is committed; `NotCommitted`, send it again freely; `CommitUnknown`, send it again
with the same event ids, never with new ones.
"""

from collections.abc import Mapping
from pathlib import Path


class IngestError(Exception):
    """Base of all errors of this package that a caller is meant to handle."""


class UnsupportedContentType(IngestError):
    """The body is in a format that this log does not read."""


class UnreadableBody(IngestError):
    """The body is not what its content type says, so no event of it can be judged."""


class BodyTooLarge(IngestError):
    """The body, or what it unpacks to, is above a limit; send it in smaller batches."""


class InflatedTooLarge(BodyTooLarge):
    """A compressed body unpacks to more than is allowed, absolutely or for its size."""


class TooManyEvents(BodyTooLarge):
    """The body has more events than one batch may have."""


class TooManyColumns(BodyTooLarge):
    """The body has more columns than the attributes and properties of an event may be."""


class UnsupportedEncoding(IngestError):
    """The body is compressed in a way that is not read here."""


class NotCommitted(IngestError):
    """Nothing of this submission was kept; send it again freely."""


class Overloaded(NotCommitted):
    """Too many submissions wait; send it again after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class DiskFull(NotCommitted):
    """There is no room on the disk. Nothing was kept; it is accepted again by itself once there is room."""

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class CommitUnknown(IngestError):
    """The disk failed while this submission was written; send it again with the same event ids."""


class DataDirectoryLocked(IngestError):
    """Another process owns the data directory; `holder` is what it left about itself (such as pid and url)."""

    def __init__(self, directory: str, holder: Mapping[str, str]) -> None:
        about = ", ".join(f"{key} {value}" for key, value in holder.items()) or "unknown"
        super().__init__(
            f"{directory} is in use by another process ({about}). Stop that process, or use another directory."
        )
        self.holder = dict(holder)


class WorkUnfinished(IngestError):
    """A backup is being restored into the data directory, or a subject erased from it, or that was broken off."""


class JournalDamaged(IngestError):
    """A journal segment holds something else than what was written, at a place where no crash can leave it so."""

    def __init__(self, path: str, offset: int, what: str) -> None:
        super().__init__(
            f"{path} is damaged at offset {offset}: {what}. Nothing was changed. Put back a whole copy of this file, "
            f"or save what is whole and list what is lost: tallystick doctor --repair --data {Path(path).parent.parent}"
        )
        self.path, self.offset = path, offset


class PropertyConflict(IngestError):
    """A property is declared with another type, or with another spelling in case, than it is stored with."""


class BackfillDamaged(IngestError):
    """The directory of a committed backfill does not hold what was committed: without it usage would be wrong."""

    def __init__(self, directory: Path, what: str) -> None:
        super().__init__(
            f"the committed backfill {directory.name} is damaged: {what}. Put back a whole copy of {directory}; "
            "usage and charges would be wrong without it"
        )
        self.directory = directory
