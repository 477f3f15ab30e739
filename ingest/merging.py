"""Many small submissions -> one batch, and its verdict -> one for each of them.

The problem: to type, screen and hash the columns of one event costs as much as those of a thousand. The choice: small
bodies wait as plain values, or as they came when their events are all written alike, and all that wait when the writer
comes are one batch. What it gives up: they are typed in the one thread that commits; so large bodies are not merged,
they come screened by the thread that submits them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ingest.admission import Candidates
from ingest.decode import Decoded
from ingest.decode.json_body import JsonValues, merged, typed
from ingest.decode.uniform import Pattern, UniformBody, read_uniform
from ingest.verdicts import BatchVerdict, EventVerdict, batch_verdict

Submission = JsonValues | UniformBody | Candidates
Screen = Callable[[Decoded], Candidates]


@dataclass(frozen=True)
class Part:
    """A batch to judge, made of the submissions at `places` of the group, which have so many events each (`sizes`)."""

    batch: Candidates
    places: tuple[int, ...]
    sizes: tuple[int, ...]


def parts_of(group: Sequence[Submission], screen: Screen) -> tuple[list[Part], dict[int, Exception]]:
    """The batches of a group: those that came screened, one of all bodies of a pattern, and one of all others that were
    read with the same properties.

    What is wrong with a body whose events are not alike after all is found here; a submission that cannot be typed is a
    bug. Either costs only itself, and is returned with its place.
    """
    group, parts, failed = _uniform_parts(group, screen)
    alike: dict[int, list[int]] = {}
    for place, submission in enumerate(group):
        if isinstance(submission, Candidates):
            parts.append(Part(submission, (place,), (len(submission),)))
        elif isinstance(submission, JsonValues):
            alike.setdefault(id(submission.declared), []).append(place)
    for places in alike.values():
        found, broken = _merged_parts(group, places, screen)
        parts.extend(found)
        failed |= broken
    return parts, failed


def split(part: Part, verdict: BatchVerdict) -> Iterator[tuple[int, BatchVerdict]]:
    """The place of each submission and its own verdict."""
    if len(part.places) == 1:
        yield part.places[0], verdict
        return
    ends = list(accumulate(part.sizes))
    events = iter(verdict.events)
    event = next(events, None)
    for place, size, end in zip(part.places, part.sizes, ends, strict=True):
        own: list[EventVerdict] = []
        while event is not None and event.index < end:
            own.append(event.moved(size - end))
            event = next(events, None)
        yield place, batch_verdict(size, own)


def _uniform_parts(
    group: Sequence[Submission], screen: Screen
) -> tuple[list[Submission], list[Part], dict[int, Exception]]:
    """The batches of bodies that are written alike; the group with what else was sent as such read the exact way."""
    alike: dict[tuple[int, Pattern], list[int]] = {}
    for place, body in enumerate(group):
        if isinstance(body, UniformBody):
            alike.setdefault((id(body.declared), body.first.pattern), []).append(place)
    rest, parts, failed = list(group), list[Part](), dict[int, Exception]()
    for places in alike.values():
        bodies = [body for place in places if isinstance(body := group[place], UniformBody)]
        if (decoded := read_uniform(bodies)) is not None:
            parts.append(Part(screen(decoded), tuple(places), tuple(map(len, bodies))))
            continue
        for place, body in zip(places, bodies, strict=True):
            try:
                alone = read_uniform([body]) if len(bodies) > 1 else None
                rest[place] = body.read() if alone is None else screen(alone)
            except Exception as error:
                failed[place] = error
    return rest, parts, failed


def _merged_parts(
    group: Sequence[Submission], places: Sequence[int], screen: Screen
) -> tuple[list[Part], dict[int, Exception]]:
    values = [submission for place in places if isinstance(submission := group[place], JsonValues)]
    try:
        batch = screen(typed(merged(values)))
    except Exception as error:
        if len(places) == 1:
            return [], {places[0]: error}
        alone = [_merged_parts(group, [place], screen) for place in places]
        return [part for parts, _ in alone for part in parts], {k: e for _, broken in alone for k, e in broken.items()}
    return [Part(batch, tuple(places), tuple(map(len, values)))], {}
