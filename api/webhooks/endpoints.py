"""Webhook endpoints as they are asked for: made, changed, tried, and given another secret."""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson

from api.access.audit import about
from api.webhooks.delivering import Deliverer
from api.webhooks.resolving import Forbidden
from api.webhooks.sending import Sender, Sent, signed
from store.changes import Now
from store.errors import Refused
from store.webhooks import Endpoint, EndpointState, Replayed, Webhooks

SECRET_BYTES = 32
ROTATION_HOURS = 24
TEST_TYPE = "webhook.test"


@dataclass(frozen=True)
class EndpointService:
    """Whatever is changed here, `deliverer` is told."""

    records: Webhooks
    deliverer: Deliverer
    sender: Sender
    now: Now
    waiting_max: int

    def add(self, url: str, types: Sequence[str], customers: Sequence[str]) -> Endpoint:
        """Signals from now on go to `url`; of these types and customers, empty is all. Raises Refused."""
        self._check(url)
        key = f"wh_{uuid4().hex}"
        made = Endpoint(
            key, url, tuple(types), tuple(customers), new_secret(), None, None, "active", None, 0, self.now()
        )
        about(object=key)
        self.records.add(made)
        self.deliverer.changed(key)
        return self.records.get(key)

    def change(
        self,
        key: str,
        url: str | None,
        types: Sequence[str] | None,
        customers: Sequence[str] | None,
        state: EndpointState | None,
    ) -> Endpoint:
        """Change what is given. Raises NotFound and Refused."""
        if url is not None:
            self._check(url)
        given: dict[str, Any] = {
            "url": url,
            "types": None if types is None else tuple(types),
            "customers": None if customers is None else tuple(customers),
            "state": state,
        }
        values = {name: value for name, value in given.items() if value is not None}
        changed = self.records.change(key, **values, **({"reason": None} if state is not None else {}))
        self.deliverer.changed(key)
        return changed

    def remove(self, key: str) -> None:
        """Raises NotFound."""
        self.records.remove(key)
        self.deliverer.changed(key)

    def rotate(self, key: str, hours: int) -> Endpoint:
        """Another secret; the one of before signs too, for so many hours. Raises NotFound."""
        until = self.now() + timedelta(hours=hours)
        before = self.records.get(key).secret
        changed = self.records.change(key, secret=new_secret(), secret_before=before, secret_before_until=until)
        self.deliverer.changed(key)
        return changed

    def test(self, key: str) -> Sent:
        """Send something that is no signal, at once and once. Raises NotFound."""
        endpoint, at = self.records.get(key), self.now()
        body = orjson.dumps(_test_signal(at), option=orjson.OPT_UTC_Z)
        return self.sender.send(endpoint.url, signed(f"test_{uuid4().hex}", at, body, endpoint.secrets(at)), body)

    def replay(self, key: str, after: int, until: int | None) -> Replayed:
        """Deliver again what is behind sequence `after`. Raises NotFound."""
        replayed = self.records.replay(key, after, until, self.waiting_max)
        self.deliverer.changed(key)
        return replayed

    def replay_dead(self, key: str) -> Replayed:
        """Deliver again what was given up. Raises NotFound."""
        replayed = self.records.replay_dead(key, self.waiting_max)
        self.deliverer.changed(key)
        return replayed

    def _check(self, url: str) -> None:
        try:
            self.sender.check(url)
        except Forbidden as error:
            raise Refused([f"url: {error}"]) from None
        except OSError as error:
            raise Refused([f"url: its host has no address now ({error.strerror or error}); check the name"]) from None


def new_secret() -> str:
    """As Standard Webhooks writes them."""
    return f"whsec_{b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


def _test_signal(at: datetime) -> dict[str, Any]:
    nobody = dict.fromkeys(("feature", "scope", "owner"))
    return {"sequence": 0, "id": "test", "type": TEST_TYPE, "customer": "", "raised_at": at.astimezone(UTC),
            "data": {}, **nobody}  # fmt: skip
