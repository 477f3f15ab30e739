"""What the versions of prices charge: tiers that nothing reaches, and totals that fall when more is bought.

Works on charges, the chains that every model expands to, so it knows no model by name. Amounts are worked out with
plain decimals, at the quantity that a tier ends with and just above it.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from itertools import pairwise

from rating.catalog.charge import NOTHING, Charge, StepNumbers, TierRow
from rating.catalog.compiling_meters import compiled_meter
from rating.catalog.findings import Finding, error, warning
from rating.catalog.literals import decimal_text
from rating.catalog.meters import Meter
from rating.catalog.model import Catalog
from rating.catalog.parts import Version
from rating.catalog.presets import FeePrice, UsagePrice
from rating.core.book import EXACTLY

_HUNDRED = Decimal(100)


def charge_findings(catalog: Catalog) -> Iterator[Finding]:
    """The findings in every different charge of every version of the prices of usage."""
    for key, price in catalog.prices.items():
        if isinstance(price, FeePrice):
            continue
        charges = list(_charges(f"prices.{key}", price))
        in_wholes = all(_counts_wholes(key, catalog.meters[key]) for key in price.meter_keys)
        values = {compiled_meter(meter, catalog.meters[meter]).add for meter in price.meter_keys}
        for path, field, charge in charges:
            by_size = charge.tier_mode == "cliff" and values == {(charge.size,)}
            if charge.tier_mode == "volume" or by_size:
                yield from _cliffs(f"{path}.{field}", charge, price.currency, in_wholes)
            yield from _unreachable(f"{path}.{field}", charge, in_wholes)
            yield from _steps(path, charge)
        has_adjustments = any(version.adjust for version in price.versions)
        if not has_adjustments and all(map(_is_free, (charge for _, _, charge in charges))):
            message = "The price charges nothing, whatever is used."
            cure = "Write its amounts, unless the usage is free."
            yield warning("price_charges_nothing", f"prices.{key}", "", message, cure)


def _charges(path: str, price: UsagePrice) -> Iterator[tuple[str, str, Charge]]:
    """The different charges of each version and band, with their path and the field that has their tiers."""
    versions: Sequence[Version] = price.versions
    for index, version in enumerate(versions):
        place = f"{path}.versions[{index}]"
        field = "bands" if getattr(version, "bands", ()) else "time_of_day"
        bands = [(f"{place}.{field}[{n}]", version.within(w)) for n, w in enumerate(getattr(version, field, ()))]
        for where, numbers in [(place, version), *bands]:
            seen: list[Charge] = []
            for cell in price.cells():
                charge = price.shaped(numbers.charge_of(cell))
                if charge not in seen:
                    seen.append(charge)
                    yield where, _tiers_field(numbers), charge


def _tiers_field(numbers: Version) -> str:
    return next(
        (name for name in ("chain_tiers", "block_tiers", "capacity_tiers") if getattr(numbers, name, ())), "tiers"
    )


def _cliffs(path: str, charge: Charge, currency: str, in_wholes: bool) -> Iterator[Finding]:
    """Tiers that all of a quantity falls into, whose end costs more than what is just above it: volume tiers, and those
    of an event by the same property that is its quantity."""
    behind = " (of the quantity behind the steps before the tiers)" if charge.before else ""
    steps_whole = _stays_whole(charge.before, in_wholes)
    for (place, lower), (_, upper) in pairwise(enumerate(charge.tiers)):
        edge = lower.to_quantity
        assert edge is not None, "only the last tier is open"
        last, following = (Decimal(int(edge)), Decimal(int(edge) + 1)) if steps_whole else (edge, None)
        if _is_beyond(last, following, lower, upper):
            continue
        here = _total(lower, last, charge.per)
        above = _total(upper, following or last, charge.per, above=following is None)
        if above >= here:
            continue
        units = decimal_text(last)
        bought = f"an event of {units} units costs" if charge.tier_mode == "cliff" else f"{units} units cost"
        more = f"{decimal_text(following)} units" if following is not None else "anything above them"
        message = (
            f"Buying more costs less{behind}: {bought} {_shown(here)} {currency}, "
            f"{more} {_shown(above)} {currency}{_until(upper, here, charge.per)}."
        )
        cure = "Use graduated tiers, or flat amounts that make up for the difference, unless that is meant."
        yield warning("volume_cliff", f"{path}[{place}].up_to", decimal_text(edge), message, cure)


def _is_beyond(last: Decimal, following: Decimal | None, lower: TierRow, upper: TierRow) -> bool:
    """Whether no whole quantity is in one of two tiers: such tiers are found by themselves."""
    if following is None:
        return False
    return last <= lower.from_quantity or (upper.to_quantity is not None and following > upper.to_quantity)


def _total(tier: TierRow, quantity: Decimal, per: int, *, above: bool = False) -> Decimal:
    """What a quantity in the tier costs; with `above`, what the least more than it does."""
    with localcontext(prec=60):
        blocks = Decimal(1)
        if tier.flat_per is not None:
            whole, rest = divmod(quantity, tier.flat_per)
            blocks = whole + (1 if rest or above else 0)
        by_unit = quantity * tier.unit_amount / per + quantity * tier.percent / _HUNDRED
        return by_unit + tier.flat_amount * blocks


def _until(tier: TierRow, amount: Decimal, per: int) -> str:
    """From which quantity on the tier costs the amount again."""
    with localcontext(prec=60):
        each = tier.unit_amount / per + tier.percent / _HUNDRED
        if tier.flat_per is not None or not each:
            return ""
        again = (amount - tier.flat_amount) / each
    if tier.to_quantity is not None and again > tier.to_quantity:
        return ""
    return f", and as much again from {_shown(again)} on"


def _shown(number: Decimal) -> str:
    return decimal_text(number.quantize(Decimal("1e-12")))


def _unreachable(path: str, charge: Charge, in_wholes: bool) -> Iterator[Finding]:
    """Tiers above the most that a step lets through, and volume tiers that no whole quantity falls into."""
    most = _most(charge) if charge.tier_together == "row" else None
    in_wholes = _stays_whole(charge.before, in_wholes)
    if charge.tier_mode == "cliff":
        return
    for index, tier in enumerate(charge.tiers):
        place = f"{path}[{index}]"
        if most is not None and tier.from_quantity >= most:
            message = f"No quantity reaches this tier: a step before it lets at most {decimal_text(most)} through."
            yield warning("unreachable_tier", place, decimal_text(tier.from_quantity), message, "Remove the tier.")
        elif in_wholes and charge.tier_mode == "volume" and _has_no_whole(tier):
            message = "No whole quantity falls into this tier, and the quantity is always whole."
            yield warning("unreachable_tier", place, decimal_text(tier.from_quantity), message, "Remove the tier.")


def _counts_wholes(key: str, meter: Meter) -> bool:
    return meter.aggregation in ("count", "unique_count") and compiled_meter(key, meter).conversion == EXACTLY


def _stays_whole(steps: Sequence[StepNumbers], whole: bool) -> bool:
    """Whether whole quantities are whole behind the steps, or are made so."""
    for it in steps:
        rounds, divides = "rounding" in it.numbers, "divide_by" in it.numbers
        others = [number for name, number in it.numbers.items() if name != "divide_by" and isinstance(number, Decimal)]
        kept = whole and not divides and it.step.property is None
        whole = (rounds or kept) and all(number == int(number) for number in others)
    return whole


def _has_no_whole(tier: TierRow) -> bool:
    return tier.to_quantity is not None and int(tier.to_quantity) <= int(tier.from_quantity) and tier.to_quantity > 0


def _most(charge: Charge) -> Decimal | None:
    """The most that the steps let through to the tiers, where the last that changes a quantity says so: of a line, or
    of each day or event where tiers are filled by these."""
    for it in reversed(charge.before):
        if it.step.level != charge.tier_level:
            return None
        most = _number(it, "maximum")
        if most is not None or it.step.operator == "weight":
            return most
    return None


def _number(it: StepNumbers, name: str) -> Decimal | None:
    number = it.numbers.get(name)
    return number if isinstance(number, Decimal) else None


def _steps(path: str, charge: Charge) -> Iterator[Finding]:
    for it in (*charge.before, *charge.after):
        low, high, percent = (_number(it, name) for name in ("minimum", "maximum", "percent"))
        if low is not None and high is not None and low > high:
            message = f"The minimum of `{it.step.operator}` is above its maximum, {decimal_text(high)}."
            cure = "Let the minimum be at most the maximum."
            yield error("minimum_above_maximum", path, decimal_text(low), message, cure)
        if percent is not None and percent < -_HUNDRED:
            message = "The discount is more than all of it; it takes off all there is and no more."
            yield error("discount_over_all", path, decimal_text(percent), message, "Write at most 100 percent off.")


def _is_free(charge: Charge) -> bool:
    adds = any((_number(it, name) or NOTHING) > 0 for it in charge.after for name in ("minimum", "fixed"))
    amounts = (n for tier in charge.tiers for n in (tier.unit_amount, tier.flat_amount, tier.percent))
    return not adds and all(amount == NOTHING for amount in amounts)
