"""What is asked of quotas: an amount, or a body of checks -> QUOTA_ASKED; JSON, or columns of an Arrow stream."""

import re
from decimal import Decimal
from typing import Annotated

import msgspec
import polars as pl

from api.frames import ARROW, JSON
from ingest.decode import unpack
from ingest.decode.arrow_stream import UNREADABLE, read_stream
from ingest.decode.media_types import media_type_of
from ingest.errors import UnreadableBody, UnsupportedContentType
from ingest.limits import IngestLimits
from rating.core.quota.seam import QUOTA_ASKED
from store.errors import Refused

CHECKS_MAX = 10_000
"""Questions in one body of JSON."""
AMOUNT_PATTERN = r"[0-9]{1,29}(\.[0-9]{1,9})?"
_ZERO = Decimal(0)


class _Question(msgspec.Struct, forbid_unknown_fields=True):
    subject: str
    feature: str
    amount: Annotated[str, msgspec.Meta(pattern=rf"^{AMOUNT_PATTERN}\Z")] = "0"


class _Questions(msgspec.Struct, forbid_unknown_fields=True):
    items: Annotated[list[_Question], msgspec.Meta(max_length=CHECKS_MAX)]


_read = msgspec.json.Decoder(_Questions).decode
_amount = re.compile(AMOUNT_PATTERN).fullmatch


def amount_of(text: str) -> Decimal:
    """One amount. Raises Refused."""
    if _amount(text) is None:
        raise Refused([f"amount {text[:80]!r} is no plain decimal number with up to 29 digits and 9 decimals"])
    return Decimal(text)


def read_questions(
    content: bytes, content_type: str, content_encoding: str, limits: IngestLimits
) -> tuple[pl.DataFrame, bool]:
    """QUOTA_ASKED, and whether it was a table. A question without an amount asks whether anything is left.

    Raises UnreadableBody, UnsupportedContentType, UnsupportedEncoding, BodyTooLarge, Refused.
    """
    media = media_type_of(content_type)
    if media not in (JSON, ARROW):
        raise UnsupportedContentType(f"content type {content_type[:80]!r} is not taken here; send {JSON} or {ARROW}")
    unpacked = unpack(content, content_type, content_encoding, limits)
    return (_of_table(unpacked, limits), True) if media == ARROW else (_of_json(unpacked), False)


def _of_json(content: bytes) -> pl.DataFrame:
    try:
        items = _read(content).items
    except msgspec.ValidationError as error:
        raise Refused([str(error)]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableBody(f"the body is not JSON: {error}") from error
    columns = {name: [getattr(item, name) for item in items] for name in QUOTA_ASKED.names()}
    return pl.DataFrame(columns, schema=dict.fromkeys(QUOTA_ASKED, pl.String)).cast(QUOTA_ASKED)


def _of_table(content: bytes, limits: IngestLimits) -> pl.DataFrame:
    try:
        table = pl.from_arrow(read_stream(content, limits))
    except UNREADABLE as error:
        raise UnreadableBody(f"the body is not an Arrow IPC stream of values that can be read: {error}") from error
    assert isinstance(table, pl.DataFrame)
    known = ", ".join(QUOTA_ASKED)
    problems = [f"column {name!r} is not known; send {known}" for name in table.columns if name not in QUOTA_ASKED]
    problems += [f"there is no column {name!r}" for name in ("subject", "feature") if name not in table.columns]
    if problems:
        raise Refused(problems)
    columns = [_text(table[name]) for name in ("subject", "feature")]
    amounts = _amounts(table["amount"]) if "amount" in table.columns else pl.repeat(_ZERO, table.height, eager=True)
    return pl.DataFrame([*columns, amounts.alias("amount")]).cast(QUOTA_ASKED)


def _text(column: pl.Series) -> pl.Series:
    if not isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum):
        raise Refused([f"column {column.name!r} has type {column.dtype}; send strings"])
    if column.null_count():
        raise Refused([f"column {column.name!r} has no value in row {column.is_null().arg_max()}"])
    return column.cast(pl.String)


def _amounts(column: pl.Series) -> pl.Series:
    """Whole numbers and decimals as they are, text as it is in JSON; floats are not exact and no amounts."""
    if isinstance(column.dtype, pl.String):
        plain = pl.select(column.str.contains(rf"\A{AMOUNT_PATTERN}\z") | column.is_null()).to_series()
        amounts = pl.select(pl.when(plain).then(column)).to_series().cast(QUOTA_ASKED["amount"])
    elif column.dtype.is_integer() or column.dtype.is_decimal():
        plain = column.is_null() | (column >= 0)
        amounts = column.cast(QUOTA_ASKED["amount"], strict=False)
        plain = plain & (amounts.is_null() == column.is_null())
    else:
        raise Refused([f"column 'amount' has type {column.dtype}; send decimals, whole numbers or strings"])
    if not plain.all():
        at = (~plain).arg_max() or 0
        raise Refused([f"amount {column[at]} in row {at} is none; send 0 to 29 digits and up to 9 decimals"])
    return amounts.fill_null(_ZERO)
