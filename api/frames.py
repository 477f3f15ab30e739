"""Frames as answers: JSON with plain decimal strings for a page, Arrow, Parquet or CSV for all of it."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import orjson
import polars as pl
from starlette.exceptions import HTTPException
from starlette.responses import Response

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
CSV = "text/csv"
JSON = "application/json"
TABLES = (ARROW, PARQUET, CSV)


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Instants are written in UTC with a Z; what `content` holds of decimals must be text already."""
    return Response(orjson.dumps(content, option=orjson.OPT_UTC_Z), status, headers, media_type=JSON)


def rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """One dict a row, with decimals as text, for JSON."""
    return with_text(frame).to_dicts()


def with_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The same with decimals as plain text, without zeros at their end."""
    return frame.with_columns(_as_text(pl.col(name), dtype) for name, dtype in frame.schema.items())


def media_of(accept: str | None, offered: Sequence[str] = (JSON, *TABLES)) -> str:
    """The offered media type that the header `Accept` ranks highest, the first where it does not care; else 406."""
    if not accept:
        return offered[0]
    ranges = [_media_range(part) for part in accept.split(",")]
    ranked = [(_quality(ranges, media), -index, media) for index, media in enumerate(offered)]
    quality, _, media = max(ranked)
    if quality == 0:
        raise HTTPException(406, f"this is offered as {', '.join(offered)}")
    return media


def table_response(frame: pl.DataFrame, media: str, name: str) -> Response:
    """The whole frame as a file called `name`, decimals kept exactly as they are typed."""
    out = BytesIO()
    if media == ARROW:
        frame.write_ipc_stream(out)
    elif media == PARQUET:
        frame.write_parquet(out)
    else:
        flat = frame.with_columns(_json_text(pl.col(n)) for n, t in frame.schema.items() if t.is_nested())
        flat.write_csv(out)
    suffix = {ARROW: "arrows", PARQUET: "parquet", CSV: "csv"}[media]
    headers = {"Content-Disposition": f'attachment; filename="{name}.{suffix}"'}
    return Response(out.getvalue(), 200, headers, media_type=media)


def _as_text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """`value` with every decimal in it, however deep, as text."""
    if isinstance(dtype, pl.Decimal):
        whole = value.cast(pl.String)
        return pl.when(whole.str.contains(".", literal=True)).then(_without_zeros(whole)).otherwise(whole)
    if isinstance(dtype, pl.List):
        return value.list.eval(_as_text(pl.element(), dtype.inner))  # type: ignore[arg-type] # an instance, not a class
    if isinstance(dtype, pl.Struct):
        return value.struct.with_fields(_as_text(pl.field(f.name), f.dtype) for f in dtype.fields)  # type: ignore[arg-type]
    return value


def _without_zeros(text: pl.Expr) -> pl.Expr:
    return text.str.strip_chars_end("0").str.strip_chars_end(".")


def _json_text(nested: pl.Expr) -> pl.Expr:
    name = nested.meta.output_name()
    wrapped = pl.struct(nested.alias("v")).struct.json_encode()
    return wrapped.str.strip_prefix('{"v":').str.strip_suffix("}").alias(name)


def _media_range(part: str) -> tuple[str, float]:
    media, *parameters = (piece.strip() for piece in part.lower().split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return media, min(max(float(parameter[2:]), 0.0), 1.0)
            except ValueError:
                return media, 0.0
    return media, 1.0


def _quality(ranges: Sequence[tuple[str, float]], media: str) -> float:
    """The most exact range that names `media` decides."""
    kind = media.split("/")[0]
    for wanted in (media, f"{kind}/*", "*/*"):
        for given, quality in ranges:
            if given == wanted:
                return quality
    return 0.0
