"""The gallery of price models is what the engine says now, and leaves no model out."""

import importlib.util
from pathlib import Path
from typing import Any, get_args

from rating.catalog import presets

ROOT = Path(__file__).parents[2]


def _gallery() -> Any:
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "docs/making/gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_and_its_charts_are_what_the_engine_says():
    stale = [path.name for path, text in _gallery().pages() if path.read_text() != text]
    assert stale == [], "make them again: python docs/making/gallery.py"


def test_every_price_model_of_a_catalog_has_its_section():
    fields = (
        getattr(presets, name).model_fields
        for name in presets.__all__
        if hasattr(getattr(presets, name), "model_fields")
    )
    models = {model for own in fields if "model" in own for model in get_args(own["model"].annotation)}
    assert {entry["model"] for entry in _gallery().entries()} == models
