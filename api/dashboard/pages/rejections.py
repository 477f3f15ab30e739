"""Rejections: what was refused and why, corrected in a form and sent again."""

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.dashboard.forms import Form, form_of
from api.dashboard.rendering import PageRoute, go_to, is_partial, page
from api.dashboard.shown import many
from api.engine import Engine
from api.patches import NotAnObject, patch_between
from api.replaying import replay_where_sent
from api.wiring import TheEngine
from ingest.rejections import Rejection, RejectionFilter
from ingest.rejections_replay import ReplayedAgain
from ingest.verdicts import ACCEPTED, CONFLICT, DUPLICATE
from store.errors import NotFound, Refused

router = APIRouter(route_class=PageRoute)

PAGE = 30
COUNTED_MAX = 20_000
REPLAYED_MAX = 1_000
SEQUENCE_MAX = 2**63 - 1
State = Literal["waiting", "replayed", "all"]
_IS_REPLAYED: dict[str, bool | None] = {"waiting": False, "replayed": True, "all": None}


@dataclass(frozen=True)
class Shown:
    """A rejection and its event as text; `is_whole` is false where it cannot be corrected in the form."""

    rejection: Rejection
    text: str
    is_whole: bool


@router.get("/rejections")
def rejections(
    request: Request,
    engine: TheEngine,
    state: State = "waiting",
    code: str = "",
    subject: str = "",
    source: str = "",
    after: Annotated[int, Query(ge=0, le=SEQUENCE_MAX)] = 0,
) -> Response:
    asked = {"state": state, "code": code, "subject": subject, "source": source}
    return page(request, _template(request), **_listed(engine, asked, after))


@router.get("/rejections/{sequence}")
def rejection(request: Request, engine: TheEngine, sequence: Annotated[int, Path(ge=1, le=SEQUENCE_MAX)]) -> Response:
    return page(request, "rejection.html", one=shown(_existing(engine, [sequence])[0]), text=None, wrong=None)


@router.post("/rejections/{sequence}/correct")
async def correct(
    request: Request, engine: TheEngine, sequence: Annotated[int, Path(ge=1, le=SEQUENCE_MAX)]
) -> Response:
    """Send one again as it was edited."""
    form = await form_of(request)
    edited = form.get("event")
    one = shown((await run_in_threadpool(_existing, engine, [sequence]))[0])
    if one.rejection.replayed_at is not None:
        return go_to(request, f"/rejections/{sequence}")
    try:
        patch = patch_between(one.rejection.body, edited.encode())
    except NotAnObject as error:
        return page(request, "rejection.html", status_code=422, one=one, text=edited, wrong=str(error))
    done = await run_in_threadpool(_replayed, engine, [one.rejection], {sequence: patch})
    if done[0].outcome in (ACCEPTED, DUPLICATE):
        return go_to(request, f"/rejections/{sequence}")
    event = done[0].event
    wrong = f"{event.code}: {event.message}" if event is not None else done[0].outcome
    return page(request, "rejection.html", status_code=422, one=one, text=edited, wrong=wrong)


@router.post("/rejections/replay")
async def replay(request: Request, engine: TheEngine) -> Response:
    """Send the chosen ones again as they are, or all that fit the filter."""
    form = await form_of(request)
    chosen = await run_in_threadpool(_chosen, engine, form)
    done = await run_in_threadpool(_replayed, engine, chosen, {})
    asked = _asked(form)
    if not is_partial(request):
        return go_to(request, f"/rejections?{urlencode({name: value for name, value in asked.items() if value})}")
    listed = await run_in_threadpool(_listed, engine, asked, 0)
    return page(request, "rejections_list.html", **{**listed, "done": told(done)})


def told(done: list[ReplayedAgain]) -> dict[str, Any]:
    """What became of them, in words."""
    outcomes = Counter(one.outcome for one in done)
    names = (
        (ACCEPTED, "accepted"),
        (DUPLICATE, "there already"),
        (CONFLICT, "in conflict"),
        ("rejected", "refused again"),
    )
    said = ", ".join(f"{outcomes[outcome]:,} {name}" for outcome, name in names if outcomes[outcome])
    is_good = not (outcomes[CONFLICT] or outcomes["rejected"])
    return {"said": f"{many(len(done), 'event')} sent again: {said or 'nothing was waiting'}.", "is_good": is_good}


def shown(rejection: Rejection) -> Shown:
    """With its event laid out, where it is JSON."""
    try:
        text = rejection.body.decode()
    except UnicodeDecodeError:
        return Shown(rejection, f"{len(rejection.body):,} bytes that are no text", False)
    try:
        is_object = isinstance(msgspec.json.decode(rejection.body), dict)
        text = msgspec.json.format(text, indent=2) if is_object else text
    except (msgspec.DecodeError, RecursionError):
        is_object = False
    return Shown(rejection, text, is_object and not rejection.is_truncated)


def _listed(engine: Engine, asked: dict[str, str], after: int) -> dict[str, Any]:
    wanted = _filter(asked)
    found = engine.log.rejections.page(wanted, after=after, limit=PAGE)
    kept = {name: value for name, value in asked.items() if value and (name, value) != ("state", "waiting")}
    following = f"/rejections?{urlencode({**kept, 'after': found[-1].sequence})}" if len(found) == PAGE else None
    return {
        "asked": asked,
        "found": found,
        "following": following,
        "codes": _codes(engine, asked),
        "status": engine.log.rejections.status(),
        "done": None,
        "replayed_max": REPLAYED_MAX,
    }


def _codes(engine: Engine, asked: dict[str, str]) -> list[tuple[str, int]]:
    """How many wait of each code, the most first; of the first COUNTED_MAX."""
    wanted = _filter({**asked, "code": ""})
    return Counter(one.code for one in islice(engine.log.rejections.read(wanted), COUNTED_MAX)).most_common()


def _filter(asked: dict[str, str]) -> RejectionFilter:
    named = {name: asked[name] or None for name in ("code", "source", "subject")}
    return RejectionFilter(**named, is_replayed=_IS_REPLAYED.get(asked["state"]))


def _asked(form: Form) -> dict[str, str]:
    state = form.get("state") if form.get("state") in _IS_REPLAYED else "waiting"
    return {"state": state, **{name: form.get(name) for name in ("code", "subject", "source")}}


def _chosen(engine: Engine, form: Form) -> list[Rejection]:
    if form.get("all") != "true":
        return _existing(engine, form.numbers("rejection"))
    return engine.log.rejections.page(_filter({**_asked(form), "state": "waiting"}), limit=REPLAYED_MAX)


def _existing(engine: Engine, numbers: list[int]) -> list[Rejection]:
    found = engine.log.rejections.find(numbers)
    for number in numbers:
        if number not in found:
            raise NotFound("rejection", str(number))
    return list(found.values())


def _replayed(engine: Engine, chosen: list[Rejection], corrections: dict[int, bytes]) -> list[ReplayedAgain]:
    waiting = [one for one in chosen if one.replayed_at is None]
    try:
        return replay_where_sent(engine, waiting, corrections)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused([f"a correction cannot be applied: {error}"]) from error


def _template(request: Request) -> str:
    return "rejections_list.html" if is_partial(request) else "rejections.html"
