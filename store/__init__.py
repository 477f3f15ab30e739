"""The relational side: catalog versions, customers, subscriptions, rating runs and the outbox of signals."""

from store import access_tables as access_tables  # these tables belong to the schema
from store import quota_tables as quota_tables
from store.open import Store, open_store

__all__ = ["Store", "open_store"]
