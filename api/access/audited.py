"""What was there before a change: read for the audit log when a request for the change comes in."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from api.engine import Engine
from store.errors import NotFound, Refused

Path = Mapping[str, str]

_SECRETS = frozenset({"secret", "secret_before", "secret_hash", "secret_before_hash", "password_hash"})


def before(engine: Engine, action: str, path: Path) -> Any:
    """What `action` on the object of `path` will change; null for what is new, and for what adds to others."""
    read = _READERS.get(action)
    with suppress(NotFound, Refused):
        return None if read is None else read(engine, path)
    return None


def _plain(record: Any) -> dict[str, Any]:
    """The fields of a record, without secrets."""
    return {name: value for name, value in vars(record).items() if name not in _SECRETS}


def _catalog(engine: Engine, _path: Path) -> Any:
    return {"version": engine.read_catalog(None).version}


def _customer(engine: Engine, path: Path) -> Any:
    return _plain(engine.store.customers.get(path["key"])) if "key" in path else None


def _subscription(engine: Engine, path: Path) -> Any:
    return _plain(engine.store.subscriptions.get(path["key"])) if "key" in path else None


def _endpoint(engine: Engine, path: Path) -> Any:
    return _plain(engine.store.webhooks.get(path.get("id") or path["key"]))


def _backfill(engine: Engine, path: Path) -> Any:
    return {"state": engine.store.backfills.get(path["backfill"]).state}


def _run(engine: Engine, path: Path) -> Any:
    found = engine.store.runs.get(path["run_id"])
    return {"kind": found.kind, "status": found.status, "digest": found.digest}


def _key(engine: Engine, path: Path) -> Any:
    return _plain(engine.access.keys.get(path["id"]))


def _user(engine: Engine, path: Path) -> Any:
    return _plain(engine.access.sessions.get(path["name"]))


_READERS: dict[str, Callable[[Engine, Path], Any]] = {
    "catalog.apply": _catalog,
    "shadow-catalog.switch": _catalog,
    "customers.put": _customer,
    "subscriptions.put": _subscription,
    "webhooks.change": _endpoint,
    "webhooks.remove": _endpoint,
    "webhooks.rotate": _endpoint,
    "backfills.commit": _backfill,
    "backfills.drop": _backfill,
    "backfills.revert": _backfill,
    "rating-runs.finalize": _run,
    "keys.revoke": _key,
    "keys.rotate": _key,
    "subject-tokens.revoke": _key,
    "users.change": _user,
    "users.remove": _user,
}
