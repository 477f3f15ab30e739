"""What goes in and out over HTTP about keys, subject tokens, users and the audit log."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from api.access.caller import Role, Scope
from api.models import Input, Key, Moment, Output

SCOPE_EXAMPLE = [["ingest", "quota"]]
Name = Annotated[Key, Field(examples=["gateway in Madrid"], description="what it is for")]
UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@+-]{1,128}$"), Field(examples=["ada@example.com"])]
Password = Annotated[str, StringConstraints(min_length=12, max_length=1024)]
Hours = Annotated[int, Field(ge=0, le=720, description="for so long the secret of before is good, too")]


class RateLimitIn(Input):
    requests: Annotated[int, Field(ge=1, le=1_000_000)]
    seconds: Annotated[int, Field(ge=1, le=86_400)] = 1


class RateLimitOut(Output):
    requests: int
    seconds: int


class ApiKeyIn(Input):
    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=16, examples=SCOPE_EXAMPLE)]
    expires_at: Moment | None = Field(None, description="never, unless given")
    rate_limit: RateLimitIn | None = Field(None, description="requests in so many seconds; none, unless given")


class ApiKeyOut(Output):
    id: str
    name: str
    scopes: list[Scope]
    rate_limit: RateLimitOut | None
    created_at: datetime
    expires_at: datetime | None
    secret_before_until: datetime | None = Field(description="until then the secret of before is good, too")
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="noted once a minute")


class ApiKeyWithSecret(ApiKeyOut):
    key: str = Field(description="what requests send; it is shown this once")


class ApiKeyPage(Output):
    items: list[ApiKeyOut]
    next: None


class KeyRotateIn(Input):
    hours: Hours = 24


class SubjectTokenIn(Input):
    """Either a subject or a customer."""

    subject: Key | None = Field(None, description="it reads the usage and the quotas of this subject")
    customer: Key | None = Field(None, description="it reads what is about this customer and its subjects")
    seconds: int = Field(3600, ge=1, le=30 * 86_400, description="how long it is good")


class SubjectTokenOut(Output):
    id: str
    subject: str | None
    customer: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class SubjectTokenWithSecret(SubjectTokenOut):
    token: str = Field(description="what requests send; it is shown this once")


class SubjectTokenPage(Output):
    items: list[SubjectTokenOut]
    next: None


class UserIn(Input):
    name: UserName
    role: Role
    password: Password


class UserChange(Input):
    """What is given is changed, and the sessions of the user end."""

    role: Role | None = None
    password: Password | None = None


class UserOut(Output):
    name: str
    role: Role
    created_at: datetime


class UserPage(Output):
    items: list[UserOut]
    next: None


class AuditEntryOut(Output):
    sequence: int
    at: datetime
    caller_kind: Literal["local", "key", "token", "session"]
    caller: str
    caller_name: str
    action: str
    object: str
    before: Any = Field(description="as it was; null where there was nothing, or it is large")
    after: Any = Field(description="what was asked for, without secrets; null where there was nothing, or it is large")
    before_digest: str | None
    after_digest: str | None
    request_id: str | None
    previous_hash: str
    hash: str


class AuditPage(Output):
    items: list[AuditEntryOut]
    next: int | None


class AuditVerifiedOut(Output):
    entries: int
    head: str = Field(description="hash of the newest entry that fits: keep it elsewhere, to see that none is replaced")
    problem: str | None = Field(description="the first entry that does not fit; null where all do")
