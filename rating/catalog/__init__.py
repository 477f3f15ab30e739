"""The catalog file: what is metered, what it costs, which plans there are. Text in, values out: no file is opened."""

from rating.catalog.compiling import compile_catalog
from rating.catalog.diffing import Change, diff, render_changes
from rating.catalog.model import Catalog
from rating.catalog.parsing import load_catalog, parse_catalog
from rating.catalog.problems import CatalogInvalid, Problem
from rating.catalog.reading import Format

__all__ = [
    "Catalog",
    "CatalogInvalid",
    "Change",
    "Format",
    "Problem",
    "compile_catalog",
    "diff",
    "load_catalog",
    "parse_catalog",
    "render_changes",
]
