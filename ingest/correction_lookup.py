"""Find stored events by identity in a table of any size, quickly.

Identities are texts in no order, so a search for a few of them reads the texts of the whole table. But the index of
identities knows the fingerprint of each event: the search is for 64-bit integers, and texts are read only where one of
these is found. docs/decisions/0010 has the figures.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from ingest.backfill_shown import ShownBackfill, as_of_all_logs, find_in, find_numbered
from ingest.contents import View
from ingest.correction_body import TARGET_ID, TARGET_SOURCE
from ingest.correction_state import ENDED, REPLACE
from ingest.identity import IdentityHash
from ingest.identity_index import filter as bits
from ingest.identity_index.records import Records
from ingest.lift import completed, lift
from ingest.schema import DAY, FINGERPRINT, IDENTITY_COLUMNS, stored_schema
from rating.core.schema import PropertyType


def named_identities(corrections: pl.DataFrame) -> pl.DataFrame:
    """The identities (source, id) that corrections have and name, each once."""
    targets = corrections.select(pl.col(TARGET_SOURCE).alias("source"), pl.col(TARGET_ID).alias("id"))
    return pl.concat([corrections.select(IDENTITY_COLUMNS), targets]).unique()


def find_events(
    view: View,
    wanted: pl.DataFrame,
    properties: Mapping[str, PropertyType],
    *,
    after_sequence: int = 0,
) -> pl.DataFrame:
    """The stored events behind `after_sequence` with the identities of `wanted` (source, id, fingerprint), also those
    that are corrected: `stored_schema(properties)`."""
    if wanted.is_empty():
        return stored_schema(properties).to_frame()
    is_wanted = pl.col(FINGERPRINT).is_in(wanted[FINGERPRINT].implode()) & (pl.col("sequence") > after_sequence)
    identities = wanted.select(IDENTITY_COLUMNS)
    found = _matching(view, is_wanted, properties, after_sequence + 1, view.last_sequence)
    return found.join(identities, on=IDENTITY_COLUMNS, how="semi")


def find_sequences(view: View, wanted: pl.Series, properties: Mapping[str, PropertyType]) -> pl.DataFrame:
    """The stored events with these sequences among the events of all logs: `stored_schema(properties)`. Those of
    backfills that do not count are not found."""
    names = stored_schema(properties).names()
    staged = [find_numbered(backfill, wanted, properties).select(names) for backfill in view.backfills]
    own = wanted.filter(wanted <= view.last_sequence)
    if own.is_empty():
        return pl.concat([stored_schema(properties).to_frame(), *staged])
    first, last = own.min(), own.max()
    assert isinstance(first, int)
    assert isinstance(last, int)
    return pl.concat([_matching(view, pl.col("sequence").is_in(own.implode()), properties, first, last), *staged])


def in_backfills(
    view: View, wanted: pl.DataFrame, identity: IdentityHash, properties: Mapping[str, PropertyType]
) -> tuple[pl.DataFrame, dict[int, str]]:
    """The events of committed backfills with the identities of `wanted` (source, id): `stored_schema(properties)`, with
    the sequences that they have among the events of all logs; and of those that do not count, by sequence, why."""
    asked = Records(*identity, np.zeros(wanted.height, np.int64))
    found = [stored_schema(properties).to_frame()]
    uncounted: dict[int, str] = {}
    for backfill in view.backfills:
        rows, _ = backfill.holds(asked, bits.first_masks(asked.low))
        if len(rows):
            staged = find_in(backfill, wanted[rows], properties)
            refused = as_of_all_logs(backfill, staged.filter(~backfill.shows()))
            uncounted |= dict.fromkeys(refused["sequence"], f"does not count in backfill {backfill.id}")
            found.append(as_of_all_logs(backfill, staged).select(found[0].columns))
            for later in view.backfills:
                if later.number > backfill.number:
                    uncounted |= _replaced(later, found[-1].filter(later.range.matches()))
    return pl.concat(found), uncounted


def out_of_force_by_backfills(view: View, events: pl.DataFrame) -> dict[int, str]:
    """Why events of the log do not count, by sequence: those that committed backfills hide, and corrections that have
    ended with a reverted backfill."""
    uncounted: dict[int, str] = {}
    for backfill in view.backfills:
        uncounted |= _replaced(backfill, events.filter(backfill.hides()))
    ended = events["sequence"].is_in(view.corrected.ended(view.backfills).implode())
    return uncounted | dict.fromkeys(events["sequence"].filter(ended), ENDED)


def _replaced(backfill: ShownBackfill, events: pl.DataFrame) -> dict[int, str]:
    return dict.fromkeys(events["sequence"], f"was replaced by backfill {backfill.id}")


def replacements_in(view: View, backfill: ShownBackfill, hidden: pl.Series) -> pl.DataFrame:
    """The events that were accepted after a backfill was opened in the place of one that it replaces, of the log or of
    an earlier backfill, or of one that is `hidden`, or in the place of such a replacement: `stored_schema({})`. If they
    counted too, an event would count twice."""
    rows = view.corrected.rows.filter(
        (pl.col("correction") == REPLACE) & (pl.col("sequence") > backfill.opened_sequence)
    )
    is_earlier = (pl.col("corrects") <= backfill.opened_sequence) | (pl.col("corrects") > view.last_sequence)
    first = rows.filter(is_earlier)["corrects"]
    replaced = {*hidden, *find_sequences(view, first, {}).filter(backfill.range.matches())["sequence"]}
    for sequence, corrects in rows.select("sequence", "corrects").iter_rows():
        if corrects in replaced:
            replaced.add(sequence)
    later = pl.Series("sequence", sorted(replaced.difference(first, hidden)), dtype=pl.Int64)
    return find_sequences(view, later, {})


def _matching(
    view: View, wanted: pl.Expr, properties: Mapping[str, PropertyType], first: int, last: int
) -> pl.DataFrame:
    """The events for which `wanted` holds; they are known to have sequences from `first` to `last`."""
    schema = stored_schema(properties)
    del schema[DAY]
    files = view.table.files.filter(pl.col("last_sequence") >= first, pl.col("first_sequence") <= last)
    stored = replace(view.table, files=files).scan(schema, {})
    in_table = pl.concat([schema.to_frame().lazy(), *(frame.filter(wanted) for frame in stored)]).collect()
    in_table = lift(in_table, properties)  # only here: not of all events of the files that lack a column
    found = [in_table.with_columns(pl.col("time").dt.date().alias(DAY)).select(stored_schema(properties).names())]
    for frame in view.frames:
        if frame["sequence"][-1] >= first and frame["sequence"][0] <= last:
            matching = frame.filter(wanted)
            if matching.height:
                found.append(completed(matching, properties))
    return pl.concat(found)
