"""Operations: what each step of a chain made of a line, with the numbers that it did it by."""

from collections.abc import Iterator, Mapping

import polars as pl

from rating.core.book import Chain, PriceBook
from rating.core.line_tiers import NUMBER
from rating.core.money import plain_text
from rating.core.operators.prorate import SHOWN
from rating.core.schema import LINE, OPERATION, PAYER, QUANTITY
from rating.core.windows import EARLIER, PLAN_EARLIER, PLAN_UNITS


def described(lines: pl.LazyFrame, chain: Chain, book: PriceBook, parts: pl.DataFrame) -> pl.LazyFrame:
    """LINE, NUMBER, `quantity` as metered, `events`, `amount` and `operations` of lines behind all steps of their
    chain. It takes PART."""
    of_rate = [*(["tiers_by"] if chain.prorates_tiers else []), *(_WINDOW if chain.goes_on else [])]
    numbered = lines.join(book.rates.lazy().select("rate", "numbers", *of_rate), on="rate", validate="m:1")
    for place, step in enumerate(chain.before):
        if step.prorates:
            by = book.allowances.lazy().filter(pl.col("step") == place).select("rate", pl.col("prorate"))
            numbered = _with_part(numbered.join(by, on="rate", validate="m:1"), parts, "prorate", place).drop("prorate")
    if chain.prorates_tiers:
        numbered = _with_part(numbered, parts, "tiers_by", "tiers")
    columns = numbered.collect_schema().names()
    steps = list(_steps(chain, columns))
    trace = pl.concat_list(steps) if steps else pl.lit([], dtype=pl.List(pl.Struct(OPERATION)))
    quantity = pl.col("metered").cast(QUANTITY)
    return numbered.select(*LINE, NUMBER, "events", "amount", quantity=quantity, operations=trace)


_WINDOW = ["window_interval", "window_intervals"]


def _with_part(lines: pl.LazyFrame, parts: pl.DataFrame, by: str, name: str | int) -> pl.LazyFrame:
    """Lines with the part of the period that column `by` counts, as `served_<name>` and `whole_<name>`."""
    of_payer = parts.lazy().select(PAYER, pl.col("by").alias(by), *_part(name, pl.col("served"), pl.col("whole")))
    return lines.join(of_payer, on=[PAYER, by], how="left", validate="m:1")


def _part(name: str | int, served: pl.Expr, whole: pl.Expr) -> list[pl.Expr]:
    return [served.cast(pl.String).alias(f"served_{name}"), whole.cast(pl.String).alias(f"whole_{name}")]


def _steps(chain: Chain, columns: list[str]) -> Iterator[pl.Expr]:
    """What each step made of what."""
    value = "metered"
    for place, step in enumerate((*chain.before, *chain.after)):
        if place == len(chain.before):
            yield from _tiers(chain, value)
            value = "tier_amount"
        yield pl.struct(
            operator=pl.lit(step.operator),
            level=pl.lit(step.level),
            on=pl.lit("quantity" if place < len(chain.before) else "amount"),
            before=pl.col(value),
            after=pl.col(f"after_{place}"),
            numbers=pl.col(SHOWN) if step.operator == "prorate" else _numbers(place, step.together, columns),
        )
        value = f"after_{place}"
    if not chain.after:
        yield from _tiers(chain, value)


def _tiers(chain: Chain, value: str) -> Iterator[pl.Expr]:
    """The tiers themselves, where they are prorated or go on behind others."""
    if not chain.prorates_tiers and not chain.goes_on:
        return
    fields: dict[str, pl.Expr] = {}
    if chain.prorates_tiers:
        fields |= {"by": pl.col("tiers_by"), "served": pl.col("served_tiers"), "whole": pl.col("whole_tiers")}
    if chain.goes_on:
        window = pl.concat_str(pl.col("window_intervals").cast(pl.String), pl.lit(" "), "window_interval")
        fields |= {"window": window, "earlier": plain_text(pl.col(EARLIER))}
    yield pl.struct(
        operator=pl.lit("tier"),
        level=pl.lit(chain.tier_level),
        on=pl.lit("quantity"),
        before=pl.col(value),
        after=pl.col(value),
        numbers=_encoded(fields),
    )


def _encoded(fields: Mapping[str, pl.Expr]) -> pl.Expr:
    return pl.struct(value.alias(name) for name, value in fields.items()).struct.json_encode()


def _numbers(place: int, together: str, columns: list[str]) -> pl.Expr:
    """The numbers of the step, and of an allowance the payer's part of the period and what was used before."""
    own = pl.col("numbers").list.get(place)
    if together == "plan" and PLAN_UNITS in columns:
        told = {"units": PLAN_UNITS, "earlier": PLAN_EARLIER}
        of_plan = _encoded({name: plain_text(pl.col(it)) for name, it in told.items()})
        return pl.when(pl.col(PLAN_UNITS).is_null()).then(own).otherwise(of_plan)
    said = {"served": f"served_{place}", "whole": f"whole_{place}"}
    more = {name: pl.col(column) for name, column in said.items() if column in columns}
    if f"{EARLIER}_{place}" in columns:
        more["earlier"] = plain_text(pl.col(f"{EARLIER}_{place}"))
    if not more:
        return own
    added = pl.concat_str(*(pl.concat_str(pl.lit(f',"{name}":"'), value, pl.lit('"')) for name, value in more.items()))
    return pl.concat_str(own.str.strip_suffix("}"), added, pl.lit("}"))
