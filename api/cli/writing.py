"""Charge lines as files, or on stdout."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli.failing import FAILED, USAGE, Failure

if TYPE_CHECKING:
    import polars as pl

STDOUT = "-"
FORMATS = {".csv": "csv", ".parquet": "parquet", ".arrow": "arrow", ".arrows": "arrow", ".json": "json"}


def format_of(target: Path) -> str:
    """By the ending of the name. Raises Failure for another one."""
    format = FORMATS.get(target.suffix.lower())
    if format is None:
        raise Failure(f"{target.name}: its ending is no format. Use one of {', '.join(FORMATS)}.", USAGE)
    return format


def write_table(frame: "pl.DataFrame", format: str, target: str) -> None:
    """Write `frame` as `format` to the file `target`, whole or not at all, or to stdout."""
    from api.frames import ARROW, CSV, PARQUET, table_response

    if format == "json":
        write_bytes(json.dumps(records(frame), ensure_ascii=False, indent=1).encode() + b"\n", target)
    else:
        media = {"csv": CSV, "parquet": PARQUET, "arrow": ARROW}[format]
        write_bytes(bytes(table_response(frame, media, "lines").body), target)


def write_bytes(content: bytes, target: str) -> None:
    """Put a file at `target`, whole or not at all, or write to stdout."""
    from rating.disk import Disk

    if target == STDOUT:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        Disk().publish(Path(target).absolute(), [content])
    except OSError as error:
        raise Failure(f"{target} cannot be written: {error.strerror or error}.", FAILED) from error


def records(frame: "pl.DataFrame") -> list[dict[str, Any]]:
    """Charge lines as JSON values: decimals as text, group values as an object."""
    from rating.run import json_value

    rows = ({name: json_value(value) for name, value in row.items()} for row in frame.iter_rows(named=True))
    return [{**row, "group": json.loads(row["group"])} for row in rows]
