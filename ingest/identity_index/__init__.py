"""Every identity that was ever accepted, with the fingerprint of its event, for ever (docs/decisions/0004).

recent.py   the newest identities, a hash table in memory
run.py      older ones, sorted and immutable on disk, each run with a filter in memory
merge.py    which runs become one, and how
index.py    the levels together, and the thread that writes and merges runs
opening.py  what is on disk, and from the usage table whatever of it is missing or damaged
secret.py   the secret under which identities are hashed
"""

from ingest.identity_index.index import IdentityIndex
from ingest.identity_index.opening import forget, open_index, open_runs

__all__ = ["IdentityIndex", "forget", "open_index", "open_runs"]
