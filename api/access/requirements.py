"""What each route needs: one row for each method and path. A route without a row keeps the application from starting.

`scope` is what a caller must have; none is open to everybody. `own` is where the request says whom it is about: there a
subject token may ask too, for what is its own. `action` names the entry of the audit log that a success leaves.
"""

from dataclasses import dataclass
from enum import StrEnum

from api.access.caller import Scope


class Own(StrEnum):
    """Where a request says whom it is about."""

    subject_in_path = "subject"
    customer_in_path = "key"
    in_query = "query"
    customer_in_query = "customer"


@dataclass(frozen=True, slots=True)
class Requirement:
    scope: Scope | None
    own: Own | None = None
    action: str | None = None
    is_gateway: bool = False


OPEN = Requirement(None)
INGEST, QUOTA, READ = Requirement(Scope.ingest), Requirement(Scope.quota), Requirement(Scope.read)
GATEWAY = Requirement(Scope.quota, is_gateway=True)
ADMIN = Requirement(Scope.admin)


def _own(scope: Scope, own: Own) -> Requirement:
    return Requirement(scope, own)


def _ingest(action: str) -> Requirement:
    return Requirement(Scope.ingest, action=action)


def _rate(action: str | None = None) -> Requirement:
    return Requirement(Scope.rate, action=action)


def _catalog(action: str | None = None) -> Requirement:
    return Requirement(Scope.catalog, action=action)


def _admin(action: str) -> Requirement:
    return Requirement(Scope.admin, action=action)


_ANY = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_OF_CUSTOMER = _own(Scope.read, Own.customer_in_path)

REQUIREMENTS: dict[tuple[str, str], Requirement] = {
    # usage events
    ("POST", "/v1/events"): INGEST,
    ("GET", "/v1/events"): READ,
    ("POST", "/v1/events/corrections"): _ingest("events.correct"),
    ("GET", "/v1/events/corrections"): READ,
    ("POST", "/v1/backfills"): _ingest("backfills.open"),
    ("GET", "/v1/backfills"): READ,
    ("GET", "/v1/backfills/{backfill}"): READ,
    ("POST", "/v1/backfills/{backfill}/events"): INGEST,
    ("GET", "/v1/backfills/{backfill}/preview"): READ,
    ("POST", "/v1/backfills/{backfill}/commit"): _ingest("backfills.commit"),
    ("POST", "/v1/backfills/{backfill}/drop"): _ingest("backfills.drop"),
    ("POST", "/v1/backfills/{backfill}/revert"): _ingest("backfills.revert"),
    ("GET", "/v1/rejections"): READ,
    ("GET", "/v1/rejections/{rejection}"): READ,
    ("POST", "/v1/rejections/replay"): _ingest("rejections.replay"),
    ("GET", "/v1/meters/{key}/usage"): _own(Scope.read, Own.in_query),
    # quotas
    ("POST", "/v1/quota/consume"): QUOTA,
    ("GET", "/v1/quota/{subject}/{feature}"): _own(Scope.quota, Own.subject_in_path),
    ("POST", "/v1/quota/check"): QUOTA,
    ("GET", "/v1/quota/comparison"): READ,
    ("POST", "/v1/leases"): QUOTA,
    ("GET", "/v1/leases"): QUOTA,
    ("GET", "/v1/leases/{id}"): QUOTA,
    ("POST", "/v1/leases/{id}/report"): QUOTA,
    ("POST", "/v1/leases/{id}/release"): QUOTA,
    **{(method, path): GATEWAY for method in _ANY for path in ("/v1/gateways/auth", "/v1/gateways/auth/{path}")},
    ("GET", "/v1/signals"): _own(Scope.quota, Own.customer_in_query),
    # catalog and customers
    ("PUT", "/v1/catalog"): _catalog("catalog.apply"),
    ("GET", "/v1/catalog"): READ,
    ("GET", "/v1/catalog/versions"): READ,
    ("GET", "/v1/shadow-catalog"): READ,
    ("PUT", "/v1/shadow-catalog"): _catalog("shadow-catalog.set"),
    ("DELETE", "/v1/shadow-catalog"): _catalog("shadow-catalog.end"),
    ("GET", "/v1/shadow-catalog/comparison"): READ,
    ("POST", "/v1/shadow-catalog/switch"): _catalog("shadow-catalog.switch"),
    ("POST", "/v1/simulations"): READ,
    ("POST", "/v1/customers"): _catalog("customers.put"),
    ("GET", "/v1/customers"): READ,
    ("PUT", "/v1/customers/{key}"): _catalog("customers.put"),
    ("GET", "/v1/customers/{key}"): _OF_CUSTOMER,
    ("POST", "/v1/subscriptions"): _catalog("subscriptions.put"),
    ("GET", "/v1/subscriptions"): READ,
    ("POST", "/v1/subscriptions/{key}/changes"): _catalog("subscriptions.change"),
    ("GET", "/v1/subscriptions/{key}/changes"): READ,
    ("GET", "/v1/subscriptions/{key}/timeline"): READ,
    ("PUT", "/v1/subscriptions/{key}"): _catalog("subscriptions.put"),
    ("GET", "/v1/subscriptions/{key}"): READ,
    ("POST", "/v1/customers/{key}/quota-grants"): _catalog("quota-grants.add"),
    ("GET", "/v1/customers/{key}/quota-grants"): _OF_CUSTOMER,
    ("POST", "/v1/quota-grants/{grant}/void"): _catalog("quota-grants.void"),
    ("PUT", "/v1/customers/{key}/overrides/{feature}"): _catalog("overrides.put"),
    ("DELETE", "/v1/customers/{key}/overrides/{feature}"): _catalog("overrides.end"),
    ("GET", "/v1/customers/{key}/overrides"): READ,
    ("GET", "/v1/customers/{key}/entitlements"): _OF_CUSTOMER,
    ("GET", "/v1/customers/{key}/charges/current"): _OF_CUSTOMER,
    ("POST", "/v1/customers/{key}/states"): _catalog("states.add"),
    ("GET", "/v1/customers/{key}/states"): READ,
    ("DELETE", "/v1/customers/{key}/states/{id}"): _catalog("states.end"),
    # money
    ("POST", "/v1/customers/{key}/credits"): _rate("credits.grant"),
    ("GET", "/v1/customers/{key}/credits"): _OF_CUSTOMER,
    ("GET", "/v1/customers/{key}/credits/ledger"): _OF_CUSTOMER,
    ("POST", "/v1/credits/{grant}/void"): _rate("credits.void"),
    ("POST", "/v1/charge-lines/{line}/refund"): _rate("charge-lines.refund"),
    ("POST", "/v1/rating-runs"): _rate("rating-runs.make"),
    ("GET", "/v1/rating-runs"): READ,
    ("POST", "/v1/rating-runs/{run_id}/finalize"): _rate("rating-runs.finalize"),
    ("GET", "/v1/rating-runs/{run_id}"): READ,
    ("POST", "/v1/rating-runs/{run_id}/verify"): READ,
    ("GET", "/v1/rating-runs/{run_id}/lines"): READ,
    ("GET", "/v1/charge-lines/{line}/explain"): READ,
    ("GET", "/v1/rating-runs/{run_id}/focus"): READ,
    ("GET", "/v1/rating-runs/{run_id}/invoice-lines"): READ,
    ("GET", "/v1/rating-runs/{run_id}/summary"): READ,
    ("GET", "/v1/checks"): READ,
    ("GET", "/v1/rating-runs/{run_id}/rated-events"): READ,
    ("GET", "/v1/charge-lines/{line}/events"): READ,
    # webhooks
    ("GET", "/v1/webhooks"): READ,
    ("POST", "/v1/webhooks"): _catalog("webhooks.add"),
    ("GET", "/v1/webhooks/{id}"): READ,
    ("PATCH", "/v1/webhooks/{id}"): _catalog("webhooks.change"),
    ("DELETE", "/v1/webhooks/{id}"): _catalog("webhooks.remove"),
    ("POST", "/v1/webhooks/{id}/rotate"): _catalog("webhooks.rotate"),
    ("POST", "/v1/webhooks/{id}/test"): _catalog("webhooks.test"),
    ("POST", "/v1/webhooks/{id}/replay"): _catalog("webhooks.replay"),
    ("GET", "/v1/webhooks/{id}/deliveries"): READ,
    # access
    ("POST", "/v1/api-keys"): _admin("keys.create"),
    ("GET", "/v1/api-keys"): ADMIN,
    ("GET", "/v1/api-keys/{id}"): ADMIN,
    ("POST", "/v1/api-keys/{id}/rotate"): _admin("keys.rotate"),
    ("DELETE", "/v1/api-keys/{id}"): _admin("keys.revoke"),
    ("POST", "/v1/subject-tokens"): Requirement(Scope.read, action="subject-tokens.create"),
    ("GET", "/v1/subject-tokens"): ADMIN,
    ("DELETE", "/v1/subject-tokens/{id}"): _admin("subject-tokens.revoke"),
    ("POST", "/v1/users"): _admin("users.create"),
    ("GET", "/v1/users"): ADMIN,
    ("PATCH", "/v1/users/{name}"): _admin("users.change"),
    ("DELETE", "/v1/users/{name}"): _admin("users.remove"),
    ("GET", "/v1/audit"): ADMIN,
    ("GET", "/v1/audit/verify"): ADMIN,
    ("GET", "/login"): OPEN,
    ("POST", "/login"): OPEN,
    ("POST", "/logout"): READ,
    # what other systems' clients call
    ("POST", "/api/v1/events"): INGEST,
    ("GET", "/api/v1/events"): READ,
    ("POST", "/api/v1/events/batch"): INGEST,
    ("GET", "/api/v1/meters"): READ,
    ("GET", "/api/v1/meters/{key}/query"): READ,
    ("POST", "/api/v1/meters/{key}/query"): READ,
    ("GET", "/api/v1/meters/{key}/subjects"): READ,
    ("GET", "/api/v1/meters/{key}/group-by/{dimension}/values"): READ,
    ("GET", "/api/v1/meters/{key}"): READ,
    **{(method, "/api/{path}"): READ for method in ("GET", "POST", "PUT", "PATCH", "DELETE")},
    # the service
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/metrics"): READ,
    ("GET", "/docs"): OPEN,
    ("GET", "/docs/assets"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/static/{name}"): OPEN,
    ("GET", "/v1/subjects/{subject}/records"): _admin("subjects.export"),
    ("POST", "/v1/snapshots"): _admin("snapshots.make"),
    ("DELETE", "/v1/snapshots/{id}"): _admin("snapshots.drop"),
    # the dashboard
    ("GET", "/"): READ,
    **{("GET", f"/overview/{part}"): READ for part in ("live", "activity", "usage", "revenue", "quotas")},
    ("GET", "/meters"): READ,
    ("GET", "/customers"): READ,
    ("GET", "/customers/{key}"): READ,
    ("GET", "/lines/{id}"): READ,
    ("GET", "/runs"): READ,
    ("GET", "/runs/{id}"): READ,
    ("POST", "/runs"): _rate("rating-runs.make"),
    ("POST", "/runs/{run_id}/finalize"): _rate("rating-runs.finalize"),
    ("GET", "/catalog"): READ,
    ("GET", "/catalog/prices/{key}"): READ,
    ("GET", "/catalog/diff"): READ,
    ("GET", "/catalog/what-if"): READ,
    ("POST", "/catalog/what-if"): READ,
    ("POST", "/catalog/what-if/download"): READ,
    ("GET", "/rejections"): READ,
    ("GET", "/rejections/{sequence}"): READ,
    ("POST", "/rejections/{sequence}/correct"): _ingest("rejections.correct"),
    ("POST", "/rejections/replay"): _ingest("rejections.replay"),
    ("GET", "/signals"): READ,
    ("GET", "/signals/{sequence}"): READ,
    ("POST", "/signals/endpoints"): _catalog("webhooks.add"),
    ("GET", "/signals/endpoints/{key}"): READ,
    ("POST", "/signals/endpoints/{key}/test"): _catalog("webhooks.test"),
    ("POST", "/signals/endpoints/{key}/state"): _catalog("webhooks.change"),
    ("POST", "/signals/endpoints/{key}/replay"): _catalog("webhooks.replay"),
    ("GET", "/system"): READ,
    ("GET", "/system/live"): READ,
    ("GET", "/system/disk"): READ,
    ("POST", "/system/flush"): _admin("system.flush"),
    ("POST", "/system/maintain"): _admin("system.maintain"),
}


def requirement_of(methods: frozenset[str], path: str) -> Requirement:
    """The row of a route, the same for all its methods (HEAD is as GET). Raises LookupError: a route that nobody has
    thought about is not served."""
    rows = {_row(method, path) for method in methods or {"GET"}}
    if len(rows) > 1:
        raise LookupError(f"the methods of {path} need different things: make them routes of their own")
    return rows.pop()


def _row(method: str, path: str) -> Requirement:
    found = REQUIREMENTS.get((method, path)) or (REQUIREMENTS.get(("GET", path)) if method == "HEAD" else None)
    if found is None:
        raise LookupError(f"{method} {path} has no row in api/access/requirements.py: say what it needs")
    return found
