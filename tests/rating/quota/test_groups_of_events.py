"""However events come in groups, the same levels are crossed by the same events, and a recount finds them again."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from rating.core.quota.seam import LevelChange
from tests.rating.quota.accounts import JANUARY
from tests.rating.quota.live import Live, catalog_of, terms_of

LIMITED = {"limit": "100", "thresholds": ["25%", "50%", "80"], "enforcement": "soft"}
AMOUNTS = st.lists(st.integers(0, 30), min_size=1, max_size=16)


@given(AMOUNTS, st.lists(st.integers(1, 4), min_size=16, max_size=16))
def test_levels_are_crossed_by_the_same_events(amounts: list[int], sizes: list[int]) -> None:
    catalog = catalog_of({"plan": {"tokens": LIMITED}})
    live = Live(catalog, terms_of(catalog), JANUARY)
    left = list(amounts)
    for size in sizes:
        group, left = left[:size], left[size:]
        if group:
            live.use(*group)
    running = [sum(amounts[: at + 1]) for at in range(len(amounts))]
    crossed = [
        (level, next((at for at, used in enumerate(running) if used >= level), None))
        for level in (25, 50, 80, 100, 101)
    ]
    expected = [(str(at), Decimal(running[at])) for _, at in crossed if at is not None]
    assert [(change.id, change.used) for change in live.changes] == expected
    recounted: list[LevelChange] = []
    answer = live.recounted(recounted).check("acme", "tokens", Decimal(0), live.now)
    assert [(change.key, change.id) for change in recounted] == [(change.key, change.id) for change in live.changes]
    assert answer.used == live.quota.check("acme", "tokens", Decimal(0), live.now).used == running[-1]
