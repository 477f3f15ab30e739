"""The relational side: catalog versions, customers, subscriptions, rating runs and the outbox of signals."""

from store import quota_tables as quota_tables  # its tables belong to the schema
from store.open import Store, open_store

__all__ = ["Store", "open_store"]
