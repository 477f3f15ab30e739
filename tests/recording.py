"""Signals without the usage that raises them."""

from collections.abc import Sequence

from store import Store
from store.database import writing
from store.signals import Signal, insert_signals


def record_signals(store: Store, given: Sequence[Signal]) -> None:
    """Append those that are not there yet, in one commit."""
    with writing(store.signals.engine) as connection:
        insert_signals(connection, given)
