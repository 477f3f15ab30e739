"""Features whose usage cannot be counted: their meter makes no quantity of some event. The others are counted on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from polars.exceptions import PanicException

ANYTHING = (Exception, PanicException)
_log = logging.getLogger(__name__)


class FeatureNotCounted(Exception):
    """Nobody knows what was used of a feature."""

    def __init__(self, feature: str, why: str) -> None:
        self.feature, self.why = feature, why
        cure = "correct the event or change the meter"
        super().__init__(f"the usage of feature {feature!r} cannot be counted: {why}; {cure}")


@dataclass
class Uncounted:
    """Features and why they could not be counted, until everything is counted anew."""

    why: dict[str, str] = field(default_factory=dict)

    def refuse(self, feature: str) -> None:
        """Raises FeatureNotCounted where it is one of them."""
        if feature in self.why:
            raise FeatureNotCounted(feature, self.why[feature])

    @contextmanager
    def where_it_fails(self, feature: str) -> Iterator[None]:
        """What goes wrong in the block makes `feature` one of them."""
        try:
            with refused_where_it_fails(feature):
                yield
        except FeatureNotCounted as error:
            self.why[feature] = error.why
            kind = type(error.__cause__ or error).__name__  # `why` may hold what was sent, which is not for logs
            _log.error("quota cannot be counted: feature %s: %s; GET /v1/quota/comparison says why", feature, kind)


@contextmanager
def refused_where_it_fails(feature: str) -> Iterator[None]:
    """Raises FeatureNotCounted for what goes wrong in the block, unless it is no fault of the feature."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except ANYTHING as error:
        raise FeatureNotCounted(feature, next(iter(str(error).splitlines()), type(error).__name__)) from error
