"""Hypothesis strategies for chains: any operators in any order that a price version may have."""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.strategies import money

some = st.sampled_from(["0.5", "1", "2", "10", "50"])
PER = st.sampled_from([1, 7])
MODE = st.sampled_from(["graduated", "volume"])
LEVELS = ["event", "day", "line"]
TOGETHER = st.sampled_from(["row", "line", "group", "meter", "price"])
BY_DAY = {"meter": "meter_by_day", "price": "price_by_day"}


def tiers(name: str = "up_to", **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Tiers whose bounds rise; the last one is open."""
    bounds = st.lists(some, max_size=3, unique=True).map(lambda found: [*sorted(found, key=Decimal), None])
    return bounds.flatmap(
        lambda found: st.tuples(*(st.fixed_dictionaries({**fields, name: st.just(bound)}) for bound in found)).map(list)
    )


WEIGH = st.fixed_dictionaries(
    {"operator": st.just("weight")},
    optional={"factor": some, "divide_by": some, "rounding": st.sampled_from(["up", "down"]), "first": some,
              "increment": some, "minimum": some, "maximum": st.just("60")},
)  # fmt: skip
CARRIED = st.fixed_dictionaries(
    {"operator": st.just("weight"), "level": st.just("event"), "property": st.just("k")},
    optional={"instead": st.booleans(), "factor": some},
)
"""At the level of events, so in front of everything."""
ALLOW = st.fixed_dictionaries(
    {"operator": st.just("allow"), "together": TOGETHER},
    optional={"units": some, "count": st.integers(0, 3), "either": st.booleans()},
)
LARGEST = st.just({"operator": "partition", "together": "meter"})
ROUNDING = {"rounding": st.sampled_from(["half_away_from_zero", "half_even", "up", "down"])}
CLAMP = st.one_of(
    st.fixed_dictionaries({"operator": st.just("clamp")}, optional={"minimum": some, "maximum": st.just("60")}),
    st.fixed_dictionaries(
        {"operator": st.just("clamp"), "multiple": st.sampled_from(["0.01", "0.05", "1"]), **ROUNDING},
        optional={"maximum": st.just("60")},
    ),
)
COMPOSE = st.fixed_dictionaries(
    {"operator": st.just("compose")},
    optional={
        "percent": st.sampled_from(["-10", "33.3", "-120"]),
        "above": some,
        "fixed": st.sampled_from(["-3", "1"]),
    },
)
PER_BLOCK = tiers(flat_amount=money, flat_per=some)
USUAL = tiers(unit_amount=money, flat_amount=some, percent=some)


@st.composite
def chains(draw: st.DrawFn) -> dict[str, Any]:
    """A chain whose levels become coarser from step to step: up to four steps, tiers, up to three more steps."""
    first = draw(st.lists(CARRIED, max_size=1))
    before = draw(st.lists(st.one_of(WEIGH, ALLOW, LARGEST), max_size=3))
    after = draw(st.lists(st.one_of(CLAMP, COMPOSE), max_size=2))
    last = draw(st.sampled_from([[], [], [{"operator": "partition", "together": "price"}]]))
    levels = sorted(draw(st.lists(st.sampled_from(LEVELS), min_size=6, max_size=6)), key=LEVELS.index)
    together = draw(TOGETHER)
    return {
        "before": [*first, *(_at(step, level) for step, level in zip(before, levels, strict=False))],
        "tier_mode": draw(MODE),
        "chain_tiers": draw(st.one_of(USUAL, USUAL, PER_BLOCK)),
        "tier_level": levels[3],
        "tier_together": together if levels[3] != "day" else BY_DAY.get(together, together),
        "per": draw(PER),
        "after": [*(_at(step, level) for step, level in zip(after, levels[4:], strict=False)), *last],
        **({"flat_when_unused": True} if together == "row" and draw(st.integers(0, 3)) == 0 else {}),
    }


def _at(step: dict[str, Any], level: str) -> dict[str, Any]:
    """What days share, they share within the day."""
    shared = {"together": BY_DAY.get(step["together"], step["together"])} if "together" in step else {}
    return {**step, "level": level, **(shared if level == "day" else {})}


@st.composite
def cliffs(draw: st.DrawFn) -> dict[str, Any]:
    """A chain whose tiers go by the size of each event."""
    made = draw(chains())
    shares = [step for step in made["before"] if step["operator"] == "allow" and step["level"] == "event"]
    return {
        **{name: value for name, value in made.items() if name not in ("flat_when_unused", "tier_together")},
        "before": shares,
        "chain_tiers": draw(USUAL),
        "tier_mode": "cliff",
        "size": "m",
    }
