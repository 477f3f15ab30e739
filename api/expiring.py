"""Grants of quota that end soon, as signals: each once, for each end."""

import hashlib
import json
from datetime import datetime

from rating.core.money import plain
from store.expiring import ExpiringGrant
from store.outbox import Raised
from store.signals import Signal

EXPIRING_DAYS = 7


def expiring(grant: ExpiringGrant, now: datetime) -> Raised:
    """That a grant ends: the same grant and end, the same id."""
    end = grant.expires_at.isoformat()
    key = hashlib.sha256(json.dumps(["grant.expiring", grant.id, end]).encode()).hexdigest()[:32]
    data = {"feature": grant.feature, "grant": grant.id, "amount": plain(grant.amount), "expires_at": end}
    own = {"feature": grant.feature, "scope": "customer", "owner": grant.customer}
    return Raised(Signal(f"sig_{key}", "grant.expiring", grant.customer, now, data, **own))
