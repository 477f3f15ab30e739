"""Amounts of quota that end soon, as signals: each once, for each end."""

import hashlib
import json
from datetime import datetime

from rating.core.money import plain
from rating.core.quota.expiring import Expiring
from rating.core.quota.judging import quantity_of
from store.outbox import Raised
from store.signals import Signal

CUSTOMERS = 50
"""So many are looked at at a time."""


def raised_by_expiring(customer: str, feature: str, found: Expiring, now: datetime) -> Raised:
    """That an amount ends: the same one and end, the same id."""
    end = found.expires_at.isoformat()
    own_id = found.grant if found.grant is not None else f"{customer}/{feature}/rollover"
    key = hashlib.sha256(json.dumps(["grant.expiring", own_id, end]).encode()).hexdigest()[:32]
    data = {
        "feature": feature,
        "grant": found.grant,
        "amount": plain(quantity_of(found.amount)),
        "left": plain(quantity_of(found.left)),
        "expires_at": end,
    }
    own = {"feature": feature, "scope": "customer", "owner": customer}
    return Raised(Signal(f"sig_{key}", "grant.expiring", customer, now, data, **own))
