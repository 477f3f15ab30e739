"""A second engine for the tier family: the frames of a price book as SQL of DuckDB.

per_unit, graduated, volume, package and flat, per line from the events up: DuckDB sums the events, cuts the sums at the
edges of tiers, and multiplies. It shares the compiled numbers with the engine and none of its code. DuckDB's decimals
have 38 digits and no exact division, so quantities have 6 decimals below 10^12, unit amounts 9, and `per` is 1.
"""

from decimal import Decimal

import duckdb
import polars as pl

from rating.core.book import PriceBook

SQL = """
WITH used AS (
    SELECT p.price, e.subject, CAST(sum(e.quantity) AS DECIMAL(18, 6)) AS metered
    FROM events e JOIN prices p USING (meter) GROUP BY ALL
), priced AS (
    SELECT u.*, r.rate, r.tier_mode,
        CASE WHEN w.divide_by IS NULL THEN metered
             WHEN metered <= 0 THEN 0
             ELSE CAST((millionths(metered) + millionths(w.divide_by) - 1) // millionths(w.divide_by) AS DECIMAL(18, 6))
        END AS quantity
    FROM used u JOIN rates r USING (price) LEFT JOIN weights w USING (rate)
), parts AS (
    SELECT p.price, p.subject, p.metered, t.unit_amount, t.flat_amount, p.quantity AS whole,
        CASE WHEN p.tier_mode = 'graduated' THEN
            CASE WHEN t.tier = 0 THEN least(p.quantity, coalesce(t.to_quantity, p.quantity))
                 ELSE greatest(least(p.quantity, coalesce(t.to_quantity, p.quantity)) - t.from_quantity, 0) END
        ELSE p.quantity END AS part,
        CASE WHEN p.tier_mode = 'graduated' THEN p.quantity > t.from_quantity ELSE p.quantity > 0 END AS is_reached
    FROM priced p JOIN tiers t USING (rate)
    WHERE p.tier_mode = 'graduated' OR (
        (t.tier = 0 OR p.quantity > t.from_quantity) AND (t.to_quantity IS NULL OR p.quantity <= t.to_quantity))
)
SELECT price, subject, any_value(metered) AS quantity,
    sum(CAST(part AS DECIMAL(19, 6)) * CAST(unit_amount AS DECIMAL(19, 9))
        + CASE WHEN is_reached THEN flat_amount ELSE 0 END) AS amount
FROM parts GROUP BY price, subject
"""

Amounts = dict[tuple[str, str], tuple[Decimal, Decimal]]


def amounts(events: pl.DataFrame, book: PriceBook) -> Amounts:
    """The quantity and amount of each price and subject. `events` has `meter`, `subject`, `quantity`; the book one
    version of each price, and plans with all of them."""
    tiers = book.tiers.with_columns(
        pl.col("from_quantity", "to_quantity").cast(pl.Decimal(18, 6)),
        pl.col("unit_amount", "flat_amount").cast(pl.Decimal(18, 9)),
    )
    prices = pl.concat([shape.prices.select("price", meter=pl.lit(shape.meter)) for shape in book.shapes]).unique()
    frames = {
        "events": events.with_columns(pl.col("quantity").cast(pl.Decimal(18, 6))),
        "prices": prices,
        "rates": book.rates.select("rate", "price", "tier_mode"),
        "weights": book.weights.select("rate", pl.col("divide_by").cast(pl.Decimal(18, 6))),
        "tiers": tiers.select("rate", "tier", "from_quantity", "to_quantity", "unit_amount", "flat_amount"),
    }
    with duckdb.connect() as connection:
        for name, frame in frames.items():
            connection.register(name, frame.to_arrow())
        connection.execute("CREATE MACRO millionths(x) AS CAST(CAST(x AS DECIMAL(38, 6)) * 1000000 AS HUGEINT)")
        rows = connection.execute(SQL).fetchall()
    return {(price, subject): (Decimal(quantity), Decimal(amount)) for price, subject, quantity, amount in rows}
