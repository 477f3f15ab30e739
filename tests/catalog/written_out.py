"""A charge of any model, written out as a version of the model `chain`."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rating.catalog.charge import NOTHING, Charge, StepNumbers, TierRow
from rating.catalog.literals import decimal_text
from rating.catalog.presets.chain import ChainNumbers


def explicit(charge: Charge) -> dict[str, Any]:
    """A version of the model `chain` that charges the same: every number as text, nothing that goes without saying."""
    named = {
        "before": [_step(it) for it in charge.before],
        "chain_tiers": [_tier(row) for row in charge.tiers],
        "tier_mode": charge.tier_mode,
        "tier_level": charge.tier_level,
        "tier_together": charge.tier_together,
        "per": charge.per,
        "size": charge.size,
        "flat_when_unused": charge.flat_when_unused,
        "after": [_step(it) for it in charge.after],
    }
    usual = {name: field.default for name, field in ChainNumbers.model_fields.items()}
    return {name: value for name, value in named.items() if value != usual[name] and value != []}


def _step(it: StepNumbers) -> dict[str, Any]:
    step = it.step
    of_step = {"operator": step.operator, "level": step.level, "property": step.property, "together": step.together}
    said = {name: value for name, value in of_step.items() if value is not None}
    if step.instead:
        said["instead"] = True  # type: ignore[assignment]
    return {**said, **_texts(it.numbers)}


def _tier(row: TierRow) -> dict[str, Any]:
    said = row._asdict()
    said["up_to"] = said.pop("to_quantity")
    del said["from_quantity"]
    return _texts({name: value for name, value in said.items() if value is not None and value != NOTHING})


def _texts(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _text(value) for name, value in sorted(numbers.items())}


def _text(value: Any) -> Any:
    if isinstance(value, Decimal):
        return decimal_text(value)
    return [_text(one) for one in value] if isinstance(value, (list, tuple)) else value
