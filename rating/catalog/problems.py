"""What is wrong with a catalog: where, which value, what rule it breaks, and how to cure it."""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN_CHARACTERS_MAX = 80
LISTED_PROBLEMS_MAX = 50
SUGGESTIONS_MAX = 20
SUGGESTION_CANDIDATES_MAX = 10_000


@dataclass(frozen=True)
class FloatLiteral:
    """A number with a point or an exponent, as it was written: never read as a float, so that the cure can quote it."""

    text: str


@dataclass(frozen=True)
class Problem:
    """One thing to mend. `value` is what was found, as the file would write it; empty when something is missing."""

    path: str
    value: str
    message: str
    cure: str

    def __str__(self) -> str:
        found = f" (found {self.value})" if self.value else ""
        return f"{self.path or 'catalog'}: {self.message}{found} {self.cure}".rstrip()


class CatalogInvalid(ValueError):
    """The document is no catalog. `problems` holds all that was found wrong, in the order of the file's parts."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        assert problems
        self.problems = list(problems)
        listed = [f"  - {problem}" for problem in self.problems[:LISTED_PROBLEMS_MAX]]
        unlisted = len(self.problems) - len(listed)
        more = [f"  - and {unlisted} more"] if unlisted else []
        count = f"{len(self.problems)} problem{'s' if len(self.problems) > 1 else ''}"
        super().__init__("\n".join([f"The catalog has {count}:", *listed, *more]))


def path_of(steps: Iterable[str | int]) -> str:
    """The steps to a value as a person writes them: `prices.gpt/input.versions[0].tiers[1].up_to`."""
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path.encode(errors="replace").decode()


def show(value: object) -> str:
    """A value as the file would write it, on one line and not too long; containers only by their kind."""
    if isinstance(value, FloatLiteral):
        text = value.text
    elif value is None or isinstance(value, (str, bool, int, float)):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, dict):
        text = "a mapping"
    elif isinstance(value, (list, tuple)):
        text = "a list"
    else:
        text = str(value)
    text = text.encode(errors="replace").decode()
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 3] + "..."


def listed(names: Iterable[str], conjunction: str = "or") -> str:
    """`a`, `b` or `c`."""
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {conjunction} {quoted[-1]}" if quoted else ""


class Suggestions:
    """Says what was probably meant, a limited number of times: each is a search, and a file may be hostile."""

    def __init__(self) -> None:
        self._left = SUGGESTIONS_MAX

    def nearest(self, name: str, candidates: Iterable[str]) -> str | None:
        """The candidate that `name` probably misspells; None when nothing is like it, or enough was said."""
        self._left -= 1
        return _nearest(name, sorted(candidates)) if self._left >= 0 else None


def _nearest(name: str, candidates: Iterable[str]) -> str | None:
    similar = [candidate for candidate in candidates if abs(len(candidate) - len(name)) <= 3]
    if len(name) > 200 or len(similar) > SUGGESTION_CANDIDATES_MAX:
        return None
    lowered = {candidate.lower(): candidate for candidate in reversed(similar)}
    if name.lower() in lowered:
        return lowered[name.lower()]
    matches = difflib.get_close_matches(name, similar, n=1)
    return matches[0] if matches else None
