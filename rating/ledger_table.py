"""The ledgers of prepaid credits of every run, beside its charge lines: what each grant paid, and what it kept."""

from pathlib import Path

import polars as pl

from rating.core.credits.schema import CREDIT_ENTRY
from rating.disk import Disk
from rating.run_table import RunTable

STORED_ENTRY = pl.Schema({"run": pl.String(), **CREDIT_ENTRY})
"""One row is one entry of the ledger of one run; (`run`, `entry`) is unique."""


class LedgerTable(RunTable):
    """The ledgers of runs, by entry."""

    def __init__(self, directory: Path, *, disk: Disk) -> None:
        super().__init__(directory, STORED_ENTRY, sorted_by="entry", disk=disk)
