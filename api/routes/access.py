"""API keys, subject tokens, users of the dashboard, and the log of what they changed."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request

from api.access.buckets import RateLimit
from api.access.caller import Caller
from api.access.keys import Made
from api.access_models import (
    ApiKeyIn,
    ApiKeyOut,
    ApiKeyPage,
    ApiKeyWithSecret,
    AuditEntryOut,
    AuditPage,
    AuditVerifiedOut,
    KeyRotateIn,
    SubjectTokenIn,
    SubjectTokenOut,
    SubjectTokenPage,
    SubjectTokenWithSecret,
    UserChange,
    UserIn,
    UserName,
    UserOut,
    UserPage,
)
from api.documentation import problems
from api.models import Key
from api.wiring import TheEngine
from store.api_keys import KeyRecord
from store.audit_log import AuditEntry

router = APIRouter(prefix="/v1", tags=["access"])

KeyId = Annotated[Key, Path(description="of a key")]
TokenId = Annotated[Key, Path(description="of a token")]
User = Annotated[UserName, Path(description="of a user")]


@router.post("/api-keys", status_code=201, response_model=ApiKeyWithSecret, responses=problems(400, 413, 507))
def create_key(engine: TheEngine, given: ApiKeyIn) -> ApiKeyWithSecret:
    """Make a key. The answer has it whole, this once. From the first key on every request needs one."""
    limit = None if given.rate_limit is None else RateLimit(given.rate_limit.requests, given.rate_limit.seconds)
    return _with_secret(engine.access.keys.create(given.name, given.scopes, given.expires_at, limit))


@router.get("/api-keys", response_model=ApiKeyPage)
def list_keys(engine: TheEngine) -> ApiKeyPage:
    """All keys, oldest first, those that were revoked too."""
    return ApiKeyPage(items=[_key(record) for record in engine.access.keys.all("key")], next=None)


@router.get("/api-keys/{id}", response_model=ApiKeyOut, responses=problems(404))
def read_key(engine: TheEngine, id: KeyId) -> ApiKeyOut:
    return _key(engine.access.keys.get(id, "key"))


@router.post("/api-keys/{id}/rotate", response_model=ApiKeyWithSecret, responses=problems(400, 404, 413, 507))
def rotate_key(engine: TheEngine, id: KeyId, given: KeyRotateIn) -> ApiKeyWithSecret:
    """Give a key another secret. The one of before is good until its time has passed."""
    return _with_secret(engine.access.keys.rotate(id, given.hours))


@router.delete("/api-keys/{id}", response_model=ApiKeyOut, responses=problems(404, 507))
def revoke_key(engine: TheEngine, id: KeyId) -> ApiKeyOut:
    """Refuse a key from now on, and the tokens that it made."""
    return _key(engine.access.keys.revoke(id, "key"))


@router.post("/subject-tokens", status_code=201, response_model=SubjectTokenWithSecret, responses=problems(400, 413))
def create_token(request: Request, engine: TheEngine, given: SubjectTokenIn) -> SubjectTokenWithSecret:
    """Make a token for a customer's portal: it reads what is about one subject or one customer, for a while. It is good
    no longer than the key that made it."""
    caller: Caller = request.state.caller
    made = engine.access.keys.create_token(given.subject, given.customer, given.seconds, made_by=caller)
    return SubjectTokenWithSecret.model_validate({**vars(made.record), "token": made.token})


@router.get("/subject-tokens", response_model=SubjectTokenPage)
def list_tokens(engine: TheEngine) -> SubjectTokenPage:
    """All tokens, oldest first, those that have expired or were revoked too."""
    found = engine.access.keys.all("token")
    return SubjectTokenPage(items=[SubjectTokenOut.model_validate(record) for record in found], next=None)


@router.delete("/subject-tokens/{id}", response_model=SubjectTokenOut, responses=problems(404, 507))
def revoke_token(engine: TheEngine, id: TokenId) -> SubjectTokenOut:
    """Refuse a token from now on."""
    return SubjectTokenOut.model_validate(engine.access.keys.revoke(id, "token"))


@router.post("/users", status_code=201, response_model=UserOut, responses=problems(400, 413, 507))
def add_user(engine: TheEngine, given: UserIn) -> UserOut:
    """Let somebody log in to the dashboard. From the first user on every request needs a key or a login."""
    return UserOut.model_validate(engine.access.sessions.add(given.name, given.role, given.password))


@router.get("/users", response_model=UserPage)
def list_users(engine: TheEngine) -> UserPage:
    """All users, by name."""
    return UserPage(items=[UserOut.model_validate(user) for user in engine.access.sessions.users()], next=None)


@router.patch("/users/{name}", response_model=UserOut, responses=problems(400, 404, 413, 507))
def change_user(engine: TheEngine, name: User, given: UserChange) -> UserOut:
    """Another role or password. The sessions of the user end."""
    return UserOut.model_validate(engine.access.sessions.change(name, given.role, given.password))


@router.delete("/users/{name}", response_model=UserOut, responses=problems(404, 507))
def remove_user(engine: TheEngine, name: User) -> UserOut:
    """Remove a user; the sessions of the user end."""
    return UserOut.model_validate(engine.access.sessions.remove(name))


@router.get("/audit", response_model=AuditPage)
def list_audit_log(
    engine: TheEngine,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="the `next` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    action: Annotated[str | None, Query(description="such as `catalog.apply`")] = None,
    object: Annotated[str | None, Query(description="key or id of what was changed")] = None,
) -> AuditPage:
    """Who changed what, oldest first. Entries are added, never altered; each is chained to the one before."""
    found = engine.store.audit.page(after=after, limit=limit, action=action, object=object)
    items = [AuditEntryOut.model_validate(_entry(entry)) for entry in found]
    return AuditPage(items=items, next=found[-1].sequence if len(found) == limit else None)


@router.get("/audit/verify", response_model=AuditVerifiedOut)
def verify_audit_log(engine: TheEngine) -> AuditVerifiedOut:
    """Whether every entry is as it was written, and none is missing before the newest."""
    return AuditVerifiedOut.model_validate(engine.audit.verify())


def _key(record: KeyRecord) -> ApiKeyOut:
    return ApiKeyOut.model_validate(_fields(record))


def _with_secret(made: Made) -> ApiKeyWithSecret:
    return ApiKeyWithSecret.model_validate({**_fields(made.record), "key": made.token})


def _fields(record: KeyRecord) -> dict[str, Any]:
    has_limit = record.limit_requests is not None
    limit = {"requests": record.limit_requests, "seconds": record.limit_seconds} if has_limit else None
    return {**vars(record), "scopes": list(record.scopes), "rate_limit": limit}


def _entry(entry: AuditEntry) -> dict[str, Any]:
    shown = {name: orjson.loads(text) if text is not None else None for name, text in _contents(entry).items()}
    return {**vars(entry), **shown}


def _contents(entry: AuditEntry) -> dict[str, str | None]:
    return {"before": entry.before, "after": entry.after}
