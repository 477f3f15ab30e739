"""Spans of OpenTelemetry for what takes time: nothing where nobody traces (api/observing/tracing.py begins it).

A span has counts and ids that we made, never what customers or subjects are called; of an exception it has the type.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

_tracer: Any = None
_NOTHING = nullcontext()
LINKS_MAX = 32


def trace_with(tracer: Any) -> None:
    """Make spans by this tracer from now on; null makes none."""
    global _tracer
    _tracer = tracer


def span(name: str, links: Sequence[Any] = (), **attributes: str | int) -> AbstractContextManager[Any]:
    """The block as a span, below the one that it is in; `links` are places (`here`) of others that wait for it."""
    return _NOTHING if _tracer is None else _traced(name, links, attributes)


def here() -> Any:
    """The span that this code is in, for a link; null where there is none."""
    if _tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    return context if context.is_valid else None


@contextmanager
def _traced(name: str, links: Sequence[Any], attributes: dict[str, Any]) -> Iterator[Any]:
    from opentelemetry.trace import Link, StatusCode

    linked = [Link(place) for place in links if place is not None][:LINKS_MAX]
    told = {f"tallystick.{key}": value for key, value in attributes.items()}
    with _tracer.start_as_current_span(
        name, links=linked, attributes=told, record_exception=False, set_status_on_exception=False
    ) as found:
        try:
            yield found
        except BaseException as error:
            found.set_attribute("error.type", type(error).__name__)
            found.set_status(StatusCode.ERROR)
            raise
