"""How values are written for a person: exact, grouped by thousands, with their unit. Nothing here rounds money."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache

import iso4217
from markupsafe import Markup

from rating.core.money import plain

NOTHING = "\N{EN DASH}"
"""Stands where there is no value."""
MINUS = "\N{MINUS SIGN}"
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")
_SHORT = ((Decimal(10) ** 12, "T"), (Decimal(10) ** 9, "G"), (Decimal(10) ** 6, "M"), (Decimal(10) ** 3, "k"))
_AGES = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def number(value: Decimal | int | str | None) -> str:
    """All digits, in groups of three: 1234567.5 -> 1,234,567.5."""
    if value is None:
        return NOTHING
    text = plain(Decimal(value))
    sign, text = (MINUS, text[1:]) if text.startswith("-") else ("", text)
    whole, point, rest = text.partition(".")
    return f"{sign}{int(whole):,}{point}{rest}"


def money(amount: Decimal | str | None, currency: str) -> str:
    """An amount with all its digits, at least those of the currency's minor unit: 12.5 USD -> 12.50 USD."""
    if amount is None:
        return NOTHING
    whole, _, rest = number(amount).partition(".")
    rest = rest.ljust(minor_digits(currency), "0")
    return f"{whole}.{rest} {currency}" if rest else f"{whole} {currency}"


@cache
def minor_digits(currency: str) -> int:
    """The decimals of a currency's minor unit; 2 for a code that ISO 4217 does not know."""
    try:
        return int(iso4217.Currency(currency).exponent or 0)
    except ValueError:
        return 2


def short(value: Decimal | int | str | None) -> str:
    """About how much, in few digits: 1234567 -> 1.23 M. To be shown beside the exact value or with it as its title."""
    if value is None:
        return NOTHING
    exact = Decimal(value)
    for size, letter in _SHORT:
        if abs(exact) >= size:
            return f"{_digits(exact / size)} {letter}"
    return number(_digits(exact)) if exact == exact.to_integral_value() or abs(exact) >= 1 else number(exact)


def _digits(value: Decimal) -> str:
    """Three of them."""
    places = max(0, 2 - max(value.adjusted(), 0))
    return plain(value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN))


def percent(part: Decimal | int, whole: Decimal | int) -> str:
    """With one decimal, rounded down, so that 100 % means all of it: 999 of 1000 -> 99.9 %."""
    if not whole:
        return NOTHING
    tenths = int(Decimal(part) * 1000 / Decimal(whole))
    return f"{tenths // 10:,}.{tenths % 10} %" if tenths >= 0 else f"{MINUS}{-tenths // 10:,}.{-tenths % 10} %"


def change(now: Decimal, before: Decimal) -> str:
    """By how much it changed since before: +12.5 %."""
    if not before:
        return NOTHING if not now else "new"
    said = percent(now - before, abs(before))
    return said if now < before else f"+{said}"


def size(count: int | None) -> str:
    """Bytes in binary units: 1536 -> 1.5 KiB."""
    if count is None:
        return NOTHING
    unit, value = 0, Decimal(count)
    while value >= 1024 and unit < len(_BYTES) - 1:
        unit, value = unit + 1, value / 1024
    return f"{_digits(value)} {_BYTES[unit]}"


def age(span: timedelta | float | int | None) -> str:
    """A length of time in its two largest units: 3700 s -> 1 h 1 min."""
    if span is None:
        return NOTHING
    seconds = int(span.total_seconds() if isinstance(span, timedelta) else span)
    parts: list[str] = []
    for length, name in _AGES:
        count, seconds = divmod(max(seconds, 0), length)
        if count or (parts and len(parts) < 2):
            parts.append(f"{count} {name}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 ")) or "0 s"


def instant(at: datetime | None, precision: str = "minute") -> Markup | str:
    """In UTC here, in the viewer's time zone by the browser, with UTC on hover. `precision`: day, minute or second."""
    if at is None:
        return NOTHING
    utc = at.astimezone(UTC)
    text = utc.strftime({"day": "%Y-%m-%d", "minute": "%Y-%m-%d %H:%M UTC"}.get(precision, "%Y-%m-%d %H:%M:%S UTC"))
    value = utc.isoformat().replace("+00:00", "Z")
    return Markup('<time datetime="{}" title="{}" data-precision="{}">{}</time>').format(value, value, precision, text)


def many(count: int, one: str, several: str | None = None) -> str:
    """A count with its noun: 1 event, 2 events."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"
