"""References between parts of a catalog of which some could not be read."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from rating.catalog.problems import Problem, Suggestions, show


@dataclass
class LeftOut:
    """What was not well-formed and is missing from the catalog under check: parts by (section, key), whole sections."""

    sections: frozenset[str] = frozenset()
    parts: frozenset[tuple[str, str]] = frozenset()
    suggestions: Suggestions = field(default_factory=Suggestions, compare=False)

    def covers(self, section: str, key: str) -> bool:
        """Whether `key` is (or may be) a part of `section` that was left out, and already has a problem of its own."""
        return section in self.sections or (section, key) in self.parts

    def covers_any(self, section: str, prefix: str) -> bool:
        """Whether a key that starts with `prefix` was left out of `section`."""
        at = bisect_left(self._sorted_parts, (section, prefix))
        follows = self._sorted_parts[at : at + 1]
        return section in self.sections or any(part == section and key.startswith(prefix) for part, key in follows)

    @cached_property
    def _sorted_parts(self) -> list[tuple[str, str]]:
        return sorted(self.parts)

    def unknown(self, path: str, what: str, key: str, known: Iterable[str]) -> Problem:
        """The problem of a reference to nothing, with the key that was probably meant."""
        meant = self.suggestions.nearest(key, known)
        cure = f"Did you mean `{meant}`?" if meant else f"Define the {what}, or correct the key."
        return Problem(path, show(key), f"There is no {what} `{show(key)[1:-1]}`.", cure)
