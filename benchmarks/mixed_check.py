"""What mixed usage must come to, by DuckDB from the same files: the formula of each price written out once more, in
whole billionths of a dollar for `q` units of one customer."""

from decimal import Decimal
from pathlib import Path

import duckdb

from benchmarks.mixed_usage import MODELS, OPERATIONS, PLANS

_UNIT_TIERS = "CASE WHEN q <= 500 THEN 4000000 WHEN q <= 900 THEN 3000000 ELSE 2000000 END"
_PACKAGES = "((q + 999999) // 1000000)"
_TOKENS, _REQUESTS, _BYTES = "data_input_tokens + data_output_tokens", "1", "data_bytes"


def _factors(column: str, values: list[str]) -> str:
    """1, 2, 3 ... for each value but the last, which is 9: the cells of `mixed_usage.catalog`."""
    cells = " ".join(f"WHEN '{value}' THEN {place + 1}" for place, value in enumerate(values[:-1]))
    return f"CASE {column} {cells} ELSE 9 END"


_PRICES = {  # what one event adds to q, and what q costs
    "requests/graduated": (
        _REQUESTS,
        "4000000 * least(q, 500) + 3000000 * greatest(least(q, 900) - 500, 0) + 2000000 * greatest(q - 900, 0)",
    ),
    "requests/volume": (_REQUESTS, f"q * {_UNIT_TIERS}"),
    "requests/stairstep": (
        _REQUESTS,
        "CASE WHEN q <= 500 THEN 1 WHEN q <= 1000 THEN 8 ELSE 20 END * 1000000000::BIGINT",
    ),
    "requests/package": (_REQUESTS, "(greatest(q - 50, 0) + 99) // 100 * 300000000"),
    "operations/matrix": (_factors("data_operation", OPERATIONS), "q * 1000000000"),
    "bytes/per_unit": (_BYTES, "q * 90"),
    "bytes/package": (_BYTES, f"{_PACKAGES} * 100000000"),
    "bytes/tiered_package": (
        _BYTES,
        f"500000000 * least({_PACKAGES}, 10) + 400000000 * greatest({_PACKAGES} - 10, 0)",
    ),
    "input/per_unit": ("data_input_tokens", "3000 * greatest(q - 1000, 0)"),
    "output/per_unit": ("data_output_tokens", "15000 * q"),
    "input/graduated": (
        "data_input_tokens",
        "3000 * least(q, 2000000) + CASE WHEN q > 2000000 THEN 2400 * (q - 2000000) + 1000000000 ELSE 0 END",
    ),
    "output/volume": ("data_output_tokens", "CASE WHEN q <= 2000000 THEN 3000 * q ELSE 2400 * q + 1000000000 END"),
    "tokens/allowance": (_TOKENS, "5000 * greatest(q - 1000000, 0)"),
    "tokens/weighted_matrix": (
        f"data_input_tokens * {_factors('data_model', MODELS)}",
        "4000000 * least(q, 500) + 3000000 * greatest(least(q, 900) - 500, 0) + 2000000 * greatest(q - 900, 0)",
    ),
    "tokens/blocks": (_TOKENS, f"4000000000 * {_PACKAGES}"),
    "payments/basis_points": ("data_value", "2500000 * q"),
    "payments/graduated_percentage": (
        "data_value",
        "15000000 * least(q, 20000) + CASE WHEN q > 20000 THEN 12000000 * (q - 20000) + 3000000000 ELSE 0 END",
    ),
}


def expected(directory: Path) -> dict[str, Decimal]:
    """The amount of each price of usage, all customers together."""
    connection = duckdb.connect()
    return {price: _amount(connection, directory, price, *formula) for price, formula in _PRICES.items()}


def _amount(connection: duckdb.DuckDBPyConnection, directory: Path, price: str, each: str, costs: str) -> Decimal:
    (plan,) = (place for place, (_, keys) in enumerate(PLANS.values()) if price in keys)
    kind = list(PLANS.values())[plan][0]
    query = f"""
        SELECT sum({costs}) FROM (
            SELECT sum(({each})::BIGINT)::BIGINT AS q FROM read_parquet(?)
            WHERE type = ? AND subject_number % ? = ? GROUP BY subject_number
        )"""
    row = connection.execute(query, [str(directory / "*.parquet"), kind, len(PLANS), plan]).fetchone()
    assert row is not None
    return Decimal(row[0]).scaleb(-9)
