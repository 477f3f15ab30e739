"""What an apply would change: the difference of two catalogs, on their canonical documents."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rating.catalog.model import Catalog
from rating.catalog.problems import path_of

SHOWN_CHARACTERS_MAX = 160
SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_ABSENT = object()

Steps = tuple[str | int, ...]


@dataclass(frozen=True)
class Change:
    """One difference. `before` and `after` are values of the canonical document; None where it is absent."""

    kind: Literal["added", "removed", "changed"]
    path: str
    before: Any = None
    after: Any = None

    def __str__(self) -> str:
        sides = {"added": [self.after], "removed": [self.before], "changed": [self.before, self.after]}[self.kind]
        return f"{SIGNS[self.kind]} {self.path}: {' -> '.join(map(_compact, sides))}"

    def as_json(self) -> dict[str, Any]:
        """The change as plain values, without the side where it is absent."""
        absent = {"added": "before", "removed": "after"}.get(self.kind)
        return {field: value for field, value in asdict(self).items() if field != absent}


def diff(old: Catalog | None, new: Catalog) -> list[Change]:
    """The changes from `old` (None: an empty catalog) to `new`, by section, key and place; none between equal versions.

    A part that is new or gone as a whole is one change. Versions of a price are told apart by their `effective_from`,
    so that a version put in between others is one change too.
    """
    return list(_differences((), old.document() if old else {}, new.document()))


def render_changes(changes: Sequence[Change]) -> str:
    """One line a change, for people."""
    return "\n".join(map(str, changes)) if changes else "no change"


def _differences(steps: Steps, before: Any, after: Any) -> Iterator[Change]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _of_mappings(steps, before, after)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _of_lists(steps, before, after)
    else:
        yield Change("changed", path_of(steps), before, after)


def _of_mappings(steps: Steps, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key, _ABSENT), after.get(key, _ABSENT)
        if old is _ABSENT or new is _ABSENT:
            yield from _added_or_removed((*steps, key), old, new)
        else:
            yield from _differences((*steps, key), old, new)


def _added_or_removed(steps: Steps, old: Any, new: Any) -> Iterator[Change]:
    """A whole section that comes or goes is told part by part."""
    is_section = len(steps) == 1 and isinstance(new if old is _ABSENT else old, dict)
    if is_section:
        yield from _of_mappings(steps, {} if old is _ABSENT else old, {} if new is _ABSENT else new)
    elif old is _ABSENT:
        yield Change("added", path_of(steps), after=new)
    else:
        yield Change("removed", path_of(steps), before=old)


def _of_lists(steps: Steps, before: list[Any], after: list[Any]) -> Iterator[Change]:
    if steps[-1] == "versions":
        yield from _of_mappings(steps[:-1], _by_start(before), _by_start(after))
    elif all(isinstance(entry, str) for entry in (*before, *after)):
        yield from (Change("removed", path_of(steps), before=name) for name in before if name not in after)
        yield from (Change("added", path_of(steps), after=name) for name in after if name not in before)
    else:
        for index in range(max(len(before), len(after))):
            old = before[index] if index < len(before) else _ABSENT
            new = after[index] if index < len(after) else _ABSENT
            if old is _ABSENT or new is _ABSENT:
                yield from _added_or_removed((*steps, index), old, new)
            else:
                yield from _differences((*steps, index), old, new)


def _by_start(versions: list[dict[str, Any]]) -> dict[str, Any]:
    """The versions by a step that names their start: `versions[2026-01-01T00:00:00Z]`."""
    return {f"versions[{version.get('effective_from', 'since ever')}]": _without_start(version) for version in versions}


def _without_start(version: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in version.items() if field != "effective_from"}


def _compact(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 3] + "..."
