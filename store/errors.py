"""What the store refuses, and what to do about it. Nothing was written when one of these is raised."""

from collections.abc import Iterable


class StoreError(Exception):
    """The family of everything that the store raises by itself."""


class NotFound(StoreError):
    """Nothing of this kind has this key."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"there is no {kind} {key!r}")


class Refused(StoreError):
    """The records contradict each other or themselves; `problems` has one sentence for each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


class SubjectTaken(Refused):
    """A subject already belongs to another customer: its usage would be billed to two."""


class PlanInUse(Refused):
    """A catalog drops a plan that running subscriptions are on."""


class BackfillInTheWay(Refused):
    """Another backfill of the same events must be committed, dropped or reverted first; `problems` name it."""


class BackfillNotOpen(Refused):
    """The backfill is not in a state in which this can be done."""


class NotReproducible(StoreError):
    """What a rating run was made of is not there any more as it was."""


class TooManyBackfills(Refused):
    """As many backfills are open as may be at one time."""


class TooManySnapshots(Refused):
    """As many backups are being made as may be at one time."""


class RunInProgress(Refused):
    """Another run is being made; only one is at a time."""


class IdTaken(Refused):
    """An id that makes a request safe to send again was used for another one."""


class UsageGoesBack(Refused):
    """A report says that less was used than one before it: its sequence and its usage only rise."""


class CreditVoided(Refused):
    """A grant was voided already, at another instant."""


class DatabaseUnavailable(StoreError):
    """The database cannot be used now: locked by another program, away, or its disk fails. Nothing was changed, and the
    same call may be made again."""


class DatabaseInUse(DatabaseUnavailable):
    """Another process owns the database; only one may write."""


class DatabaseUncertain(DatabaseUnavailable):
    """The connection was lost while a change was being committed: whether it is there nobody knows. Every change may be
    sent again as it was."""


class DatabaseFull(DatabaseUnavailable):
    """There is no room for the database on its disk. Nothing was changed; it is taken again once there is room."""


class DatabaseFailed(DatabaseUnavailable):
    """A sync of the database failed: whether the last change is on the disk nobody knows. The process must end; the
    next start makes durable what it finds (store/rewriting.py)."""


class DatabaseDamaged(StoreError):
    """The database file failed its check at start; restore it from a backup before anything is written."""


class DatabaseUnsuitable(StoreError):
    """What TALLYSTICK_DATABASE_URL names cannot be used as it is; the message says what to change."""
