"""A second engine for the tier family: the frames of a price book as SQL of DuckDB.

per_unit, graduated, volume, package and flat, per line from the events up: DuckDB sums the events, cuts the sums at the
edges of tiers, and multiplies; and requests under the imported price book, each in its version, time of day and tier.
It shares the compiled numbers with the engine and none of its code. DuckDB's decimals have 38 digits and no exact
division, so amounts are whole numbers here: quantities in millionths below 10^12, unit amounts in billionths (those of
requests in units of the 18th decimal), and the amount of a tier in units of the 21st decimal, rounded half to even
where `per` leaves an endless quotient.
"""

from decimal import Context, Decimal
from typing import Any

import duckdb
import polars as pl

from rating.core.book import PriceBook

SQL = """
WITH used AS (
    SELECT p.price, e.subject, CAST(sum(e.quantity) AS DECIMAL(18, 6)) AS metered
    FROM events e JOIN prices p USING (meter) GROUP BY ALL
), priced AS (
    SELECT u.*, r.rate, r.tier_mode, r.per,
        CASE WHEN w.divide_by IS NULL THEN metered
             WHEN metered <= 0 THEN 0
             ELSE CAST((millionths(metered) + millionths(w.divide_by) - 1) // millionths(w.divide_by) AS DECIMAL(18, 6))
        END AS quantity
    FROM used u JOIN rates r USING (price) LEFT JOIN weights w USING (rate)
), parts AS (
    SELECT p.price, p.subject, p.metered, p.per, t.unit_amount, t.flat_amount, p.quantity AS whole,
        CASE WHEN p.tier_mode = 'graduated' THEN
            CASE WHEN t.tier = 0 THEN least(p.quantity, coalesce(t.to_quantity, p.quantity))
                 ELSE greatest(least(p.quantity, coalesce(t.to_quantity, p.quantity)) - t.from_quantity, 0) END
        ELSE p.quantity END AS part,
        CASE WHEN p.tier_mode = 'graduated' THEN p.quantity > t.from_quantity ELSE p.quantity > 0 END AS is_reached
    FROM priced p JOIN tiers t USING (rate)
    WHERE p.tier_mode = 'graduated' OR (
        (t.tier = 0 OR p.quantity > t.from_quantity) AND (t.to_quantity IS NULL OR p.quantity <= t.to_quantity))
)
SELECT price, subject, CAST(any_value(metered) AS VARCHAR) AS quantity, CAST(sum(
    divided(millionths(part) * billionths(unit_amount) * 1000000, per)
    + CASE WHEN is_reached THEN billionths(flat_amount) * 1000000000000 ELSE 0 END
) AS VARCHAR) AS amount
FROM parts GROUP BY price, subject
UNION ALL
SELECT price, subject, '0', CAST(billionths(flat_amount) * 1000000000000 AS VARCHAR)
FROM fees JOIN rates USING (price) JOIN tiers USING (rate), (SELECT DISTINCT subject FROM subjects)
"""

REQUESTS = """
WITH met AS (
    SELECT r.*, p.price FROM requests r JOIN prices p USING (meter, provider, model)
), in_force AS (
    SELECT m.*, r.rate AS base FROM met m JOIN rates r USING (price)
    WHERE r."window" IS NULL AND m.time >= r.effective_from AND m.time < r.effective_to
), chosen AS (
    SELECT f.*, coalesce(b.rate, f.base) AS rate
    FROM in_force f LEFT JOIN bands b ON b.base = f.base AND CASE WHEN b."from" < b."to"
        THEN clock(f.time) >= b."from" AND clock(f.time) < b."to"
        ELSE clock(f.time) >= b."from" OR clock(f.time) < b."to" END
), sums AS (
    SELECT c.price, c.meter, r.version, r."window", r.per, t.unit, sum(c.quantity) AS quantity, count(*) AS events
    FROM chosen c JOIN rates r ON r.rate = c.rate JOIN tiers t ON t.rate = c.rate
    WHERE CASE WHEN r.tier_mode = 'cliff'
        THEN (t.tier = 0 OR c.size > t.from_quantity) AND (t.to_quantity IS NULL OR c.size <= t.to_quantity)
        ELSE t.tier = 0 END
    GROUP BY ALL
)
SELECT price, meter, version, "window", CAST(sum(quantity) AS VARCHAR) AS quantity,
    CAST(sum(events) AS BIGINT) AS events,
    CAST(sum(divided(quantity * CAST(unit AS HUGEINT) * 1000, per)) AS VARCHAR) AS amount
FROM sums GROUP BY ALL
"""

MACROS = (
    "CREATE MACRO millionths(x) AS CAST(CAST(x AS DECIMAL(38, 6)) * 1000000 AS HUGEINT)",
    "CREATE MACRO billionths(x) AS CAST(CAST(x AS DECIMAL(38, 9)) * 1000000000 AS HUGEINT)",
    "CREATE MACRO clock(t) AS epoch_us(t) % 86400000000",
    "CREATE MACRO half_even(q, r, d) AS q + CASE WHEN 2 * r > d OR (2 * r = d AND q % 2 = 1) THEN 1 ELSE 0 END",
    "CREATE MACRO divided(n, d) AS sign(n)::HUGEINT * half_even(abs(n) // d, abs(n) % d, d)",
)

Amounts = dict[tuple[str, str], tuple[Decimal, Decimal]]


Requests = dict[tuple[str, str, int, int | None], tuple[Decimal, int, Decimal]]


def amounts(events: pl.DataFrame, book: PriceBook) -> Amounts:
    """The quantity and amount of each price and subject. `events` has `meter`, `subject`, `quantity`; the book one
    version of each price, and plans with all of them. Fees are of every subject that has an event."""
    tiers = book.tiers.with_columns(
        pl.col("from_quantity", "to_quantity").cast(pl.Decimal(18, 6)),
        pl.col("unit_amount", "flat_amount").cast(pl.Decimal(18, 9)),
    )
    metered = [shape.prices.select("price", meter=pl.lit(shape.meter)) for shape in book.shapes]
    frames = {
        "events": events.with_columns(pl.col("quantity").cast(pl.Decimal(18, 6))),
        "subjects": events.select("subject").unique(),
        "prices": pl.concat([pl.DataFrame(schema={"price": pl.String, "meter": pl.String}), *metered]).unique(),
        "fees": book.fees.select("price").unique(),
        "rates": book.rates.select("rate", "price", "tier_mode", "per"),
        "weights": book.weights.select("rate", pl.col("divide_by").cast(pl.Decimal(18, 6))),
        "tiers": tiers.select("rate", "tier", "from_quantity", "to_quantity", "unit_amount", "flat_amount"),
    }
    rows = _answers(SQL, frames)
    return {(price, subject): (Decimal(quantity), _amount(amount)) for price, subject, quantity, amount in rows}


def requests(events: pl.DataFrame, book: PriceBook) -> Requests:
    """What requests come to by price, meter, version and time of the day, with their quantity and their number.

    `events` has `provider`, `model`, `time`, `meter`, a whole `quantity`, and the `size` of the request.
    """
    unit = pl.col("unit_amount").cast(pl.Decimal(38, 18)).cast(pl.String).str.replace(".", "", literal=True)
    metered = [shape.prices.select("price", "provider", "model", meter=pl.lit(shape.meter)) for shape in book.shapes]
    frames = {
        "requests": events,
        "prices": pl.concat(metered).unique(),
        "rates": book.rates.drop("numbers"),
        "bands": book.bands,
        "tiers": book.tiers.with_columns(unit=unit),
    }
    return {
        (price, meter, version, window): (Decimal(quantity), count, _amount(amount))
        for price, meter, version, window, quantity, count, amount in _answers(REQUESTS, frames)
    }


def _answers(sql: str, frames: dict[str, pl.DataFrame]) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, frame in frames.items():
            connection.register(name, frame.to_arrow())
        for macro in MACROS:
            connection.execute(macro)
        return connection.execute(sql).fetchall()


def _amount(text: str) -> Decimal:
    return Decimal(text).scaleb(-21, Context(prec=60))
