"""What waits for one endpoint: in order for each customer, and none in the way of another."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from api.webhooks.lines import Lines
from store.webhooks import Delivery

NOW = datetime(2026, 10, 15, 12, tzinfo=UTC)


def delivery(signal: int, customer: str) -> Delivery:
    return Delivery("e", signal, customer, "waiting", 0, NOW, None, None, None)


def test_one_of_a_customer_is_on_its_way_at_a_time() -> None:
    lines = Lines([delivery(1, "a"), delivery(2, "a"), delivery(3, "b")])
    first, other = lines.take(NOW), lines.take(NOW)
    assert first is not None
    assert other is not None
    assert (first.signal, other.signal, lines.take(NOW)) == (1, 3, None)
    lines.settle(replace(first, state="delivered"))
    assert lines.take(NOW) == delivery(2, "a")


def test_one_that_failed_holds_up_its_customer_until_its_time_and_no_other() -> None:
    later = NOW + timedelta(seconds=5)
    lines = Lines([delivery(1, "a"), delivery(2, "a"), delivery(3, "b")])
    first = lines.take(NOW)
    assert first is not None
    lines.settle(replace(first, next_at=later))
    assert lines.take(NOW) == delivery(3, "b")
    assert (lines.take(NOW), lines.next_at, lines.waiting) == (None, later, 3)
    again = lines.take(later)
    assert again is not None
    assert again.signal == 1
    lines.settle(replace(again, state="dead"))
    assert lines.take(later) == delivery(2, "a")


def test_lines_that_are_read_again_leave_out_whom_something_is_on_its_way_to() -> None:
    lines = Lines([delivery(1, "a"), delivery(2, "b")], on_their_way=["a"])
    assert lines.take(NOW) == delivery(2, "b")
    assert lines.take(NOW) is None
    lines.settle(replace(delivery(1, "a"), state="delivered"))
    assert (lines.next_at, lines.waiting) == (None, 1)


@pytest.mark.parametrize("seed", range(20))
def test_every_delivery_goes_out_and_those_of_a_customer_in_their_order(seed: int) -> None:
    chance = random.Random(seed)
    owners = chance.choices("abc", k=chance.randint(0, 60))
    lines, out, busy = Lines(), list[Delivery](), list[Delivery]()
    rest = [delivery(number, owner) for number, owner in enumerate(owners)]
    while rest or lines.waiting:
        step = chance.randint(0, 2)
        if step == 0 and rest:
            lines.add([rest.pop(0)])
        elif step == 1 and busy:
            done = busy.pop(chance.randrange(len(busy)))
            is_taken = chance.random() < 0.5
            out += [done] if is_taken else []
            lines.settle(replace(done, state="delivered") if is_taken else replace(done, next_at=NOW))
        elif (taken := lines.take(NOW)) is not None:
            assert taken.customer not in {each.customer for each in busy}
            busy.append(taken)
    assert len(out) == len(owners)
    for owner in set(owners):
        numbers = [each.signal for each in out if each.customer == owner]
        assert numbers == sorted(numbers)
