"""The relational side: catalog versions, customers, subscriptions, rating runs and the outbox of signals."""

from store.open import Store, open_store

__all__ = ["Store", "open_store"]
