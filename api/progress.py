"""How far a rating run is: kept in memory by who makes it, and read by anyone without waiting."""

import time
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Progress:
    """A run of `parts_all` parts, of which `parts_done` are stored, with so many `lines`; `parts_before` of them, and
    `lines_before`, were stored before this process took it up."""

    run: str
    parts_all: int
    parts_done: int = 0
    lines: int = 0
    parts_before: int = 0
    lines_before: int = 0
    began: float = field(default_factory=time.monotonic)

    def stored(self, lines: int) -> "Progress":
        """With one part more."""
        return replace(self, parts_done=self.parts_done + 1, lines=self.lines + lines)

    def stored_before(self, lines: int) -> "Progress":
        """The same for a part that was there already."""
        counted = replace(self, parts_before=self.parts_before + 1, lines_before=self.lines_before + lines)
        return counted.stored(lines)

    @property
    def percent(self) -> float:
        return round(100 * self.parts_done / self.parts_all, 1)

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.began, 3)

    @property
    def lines_per_second(self) -> float:
        return round((self.lines - self.lines_before) / max(time.monotonic() - self.began, 1e-3), 1)

    @property
    def eta_seconds(self) -> float | None:
        """What is left, if it goes on like this; null before the first part is done."""
        made = self.parts_done - self.parts_before
        if made == 0:
            return None
        return round((time.monotonic() - self.began) / made * (self.parts_all - self.parts_done), 1)
