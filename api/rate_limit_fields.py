"""What a quota leaves, as the header fields `RateLimit-Policy` and `RateLimit`.

Source: draft-ietf-httpapi-ratelimit-headers-11, sections 3 and 4 (the form has not changed since its version 9):
`RateLimit-Policy: "tokens";q=5000000;w=2678400` says how much of which feature may be used in how many seconds,
`RateLimit: "tokens";r=4321;t=86400` how much of that is left, and for how many more seconds. Numbers are whole there,
so quantities are rounded down; they are in the unit of the feature's meter.
"""

from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from functools import lru_cache
from urllib.parse import quote

from rating.core.quota.answer import QuotaAnswer

INTEGER_MAX = 999_999_999_999_999
"""The largest integer of a structured field: RFC 9651, section 3.3.1."""

_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
_SECOND = timedelta(seconds=1)


def rate_limit_fields(answer: QuotaAnswer, now: datetime) -> dict[str, str]:
    """The two fields; none where there is no limit. Without an end of the window there is no time in them."""
    if answer.limit is None or answer.remaining is None:
        return {}
    name = _quoted(answer.feature)
    policy, left = f"{name};q={_whole(answer.limit)}", f"{name};r={_whole(answer.remaining)}"
    if answer.resets_at is not None:
        left += f";t={seconds_until(answer.resets_at, now)}"
        if answer.window_start is not None:
            policy += f";w={seconds_until(answer.resets_at, answer.window_start)}"
    return {"RateLimit-Policy": policy, "RateLimit": left}


def seconds_until(then: datetime, now: datetime) -> int:
    """Rounded up, so that who waits so long does not come too early; at least 1."""
    return max(1, -((now - then) // _SECOND))


def _whole(quantity: Decimal) -> int:
    return min(max(int(quantity.to_integral_value(ROUND_FLOOR)), 0), INTEGER_MAX)


@lru_cache(maxsize=1024)
def _quoted(feature: str) -> str:
    """The key as a string of structured fields; what these cannot hold is percent-encoded."""
    ascii_only = quote(feature, safe=_PRINTABLE)
    return '"' + ascii_only.replace("\\", "\\\\").replace('"', '\\"') + '"'
