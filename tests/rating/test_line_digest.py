"""The digest of charge lines: what it says of lines, however they come, and what every change of a line does to it."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import polars as pl
import pytest

from rating.core.line_digest import LineDigest, digest
from rating.core.lines import CHARGE_LINE
from rating.core.schema import OPERATION, TIER_AMOUNT

_AT = datetime(2026, 10, 1, tzinfo=UTC)
_TIER = {**dict.fromkeys(TIER_AMOUNT, Decimal(1)), "tier": 0, "per": 1, "to_quantity": None}
_OPERATION = {**dict.fromkeys(OPERATION, "x"), "before": Decimal("-0.5"), "after": Decimal(2)}


def line(customer: str, key: str, **values: Any) -> dict[str, Any]:
    texts = {name: "é1" for name, dtype in CHARGE_LINE.items() if dtype == pl.String}
    instants = {name: _AT for name, dtype in CHARGE_LINE.items() if isinstance(dtype, pl.Datetime)}
    numbers = {name: Decimal("12.5") for name, dtype in CHARGE_LINE.items() if dtype.is_decimal()}
    integers = {name: 3 for name, dtype in CHARGE_LINE.items() if dtype.is_integer()}
    lists = {"tiers": [_TIER, {**_TIER, "tier": 1}], "operations": [_OPERATION]}
    return {**texts, **instants, **numbers, **integers, **lists, "customer": customer, "line": key, **values}


ROWS = [
    line("a", "2", group="", meter=None, window=None),
    line("a", "3", tiers=[], operations=[]),
    line("b", "1", adjustment=0, effective_from=None, amount=Decimal("-0.000000000000000000001")),
    line("c", "0", group="xé", meter=""),
]


def lines(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=CHARGE_LINE)


def by_hand(rows: list[dict[str, Any]]) -> str:
    """The same by loops, as the documentation has it."""
    columns: dict[str, Any] = {}
    in_order = sorted(rows, key=lambda row: (row["customer"], row["line"]))
    for name, dtype in CHARGE_LINE.items():
        for key, content in _streams(name, dtype, [row[name] for row in in_order]):
            columns[key] = hashlib.sha256(content)
    each = "".join(f"{name} {stream.hexdigest()}\n" for name, stream in columns.items())
    return hashlib.sha256(each.encode()).hexdigest()


def _streams(name: str, dtype: pl.DataType, values: list[Any]) -> Iterator[tuple[str, bytes]]:
    if isinstance(dtype, pl.String):
        texts = [None if value is None else value.encode() for value in values]
        yield f"{name}:lengths", b"".join(_integer(2**32 - 1 if t is None else len(t), 4) for t in texts)
        yield f"{name}:bytes", b"".join(t for t in texts if t is not None)
    elif isinstance(dtype, pl.List):
        assert isinstance(dtype.inner, pl.Struct)
        yield f"{name}:lengths", b"".join(_integer(len(value), 4) for value in values)
        items = [item for value in values for item in value]
        for field in dtype.inner.fields:
            yield from _streams(f"{name}.{field.name}", field.dtype, [item[field.name] for item in items])
    else:
        yield f"{name}:nulls", b"".join(_integer(value is None, 1) for value in values)
        yield f"{name}:values", b"".join(_of_number(value, dtype) for value in values)


def _of_number(value: Any, dtype: pl.DataType) -> bytes:
    if isinstance(dtype, pl.Decimal):
        return _integer(0 if value is None else int(value.scaleb(dtype.scale)), 16)
    if isinstance(dtype, pl.Datetime):
        return _integer(0 if value is None else int(value.timestamp()) * 1_000_000, 8)
    return _integer(value or 0, 4 if dtype == pl.Int32 else 8)


def _integer(value: int, width: int) -> bytes:
    return int(value).to_bytes(width, "little", signed=value < 0)


def test_it_is_what_the_documentation_says() -> None:
    assert digest(lines(ROWS)) == by_hand(ROWS)
    assert digest(lines([])) == by_hand([])


@pytest.mark.parametrize("cut", [(), (0,), (2,), (2, 3), (2, 2, 4)], ids=str)
def test_parts_and_order_change_nothing(cut: tuple[int, ...]) -> None:
    made = LineDigest()
    for first, behind in zip((0, *cut), (*cut, len(ROWS)), strict=True):
        made.add(lines(ROWS[first:behind][::-1]))
    assert made.hexdigest() == digest(lines(ROWS))


def test_nor_do_chunks_slices_and_files() -> None:
    chunks = pl.concat([lines([row]) for row in ROWS], rechunk=False)
    slices = lines([ROWS[0], *ROWS, ROWS[0]]).slice(1, len(ROWS))
    file = BytesIO()
    lines(ROWS).write_parquet(file)
    file.seek(0)
    for same in (chunks, slices, pl.read_parquet(file)):
        assert digest(same) == digest(lines(ROWS))


def test_parts_whose_customers_do_not_follow_are_a_bug() -> None:
    made = LineDigest()
    made.add(lines(ROWS[2:]))
    with pytest.raises(AssertionError, match="come behind"):
        made.add(lines(ROWS[:2]))


_OTHER: dict[Any, Any] = {pl.String: "other", pl.Int32: 4, pl.Int64: 4, pl.Decimal: Decimal("12.6")}


def _changed(value: Any, dtype: pl.DataType) -> Any:
    if isinstance(dtype, pl.List):
        return value[:1] if len(value) > 1 else []
    return _AT.replace(day=2) if isinstance(dtype, pl.Datetime) else _OTHER[dtype.base_type()]


@pytest.mark.parametrize("name", CHARGE_LINE.names())
def test_every_column_counts(name: str) -> None:
    changed = [{**ROWS[0], name: _changed(ROWS[0][name], CHARGE_LINE[name])}, *ROWS[1:]]
    assert digest(lines(changed)) == by_hand(changed) != digest(lines(ROWS))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({0: {"group": "x"}, 3: {"group": "é"}}, id="where one text ends and the next begins"),
        pytest.param({3: {"meter": None}}, id="no text and an empty one"),
        pytest.param({2: {"adjustment": None}}, id="no number and zero"),
        pytest.param({0: {"tiers": [_TIER]}, 1: {"tiers": [{**_TIER, "tier": 1}]}}, id="whose tier it is"),
        pytest.param({0: {"tiers": [_TIER, {**_TIER, "tier": 1, "to_quantity": Decimal(0)}]}}, id="inside a tier"),
        pytest.param({0: {"operations": [{**_OPERATION, "numbers": "{}"}]}}, id="inside an operation"),
    ],
)
def test_what_is_nearly_equal_is_told_apart(change: dict[int, dict[str, Any]]) -> None:
    changed = [{**row, **change.get(place, {})} for place, row in enumerate(ROWS)]
    assert digest(lines(changed)) == by_hand(changed) != digest(lines(ROWS))
