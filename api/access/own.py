"""What a subject token may read: what is about its subject, or its customer and the subjects of that.

Somebody else's is answered like what is not there.
"""

from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from api.access.access import Access
from api.access.caller import Caller
from api.access.errors import NotAllowed, NotYours
from api.access.requirements import Own


async def refuse_others(scope: Scope, own: Own, caller: Caller, access: Access) -> None:
    """Raises NotYours, and NotAllowed for a request that does not say whom it is about."""
    subjects, customers = _about(scope, own)
    if not subjects and not customers:
        whom = "customer" if caller.customer is not None or own is Own.customer_in_query else "subject"
        raise NotAllowed(f"this token reads what is its own: say whose, by the parameter `{whom}`")
    for customer in customers:
        if customer != caller.customer:
            raise NotYours(f"there is no customer {customer!r}")
    for subject in subjects:
        if subject != caller.subject and not await _is_of(subject, caller, access):
            raise NotYours(f"there is no subject {subject!r}")


def _about(scope: Scope, own: Own) -> tuple[list[str], list[str]]:
    """The subjects and the customers that a request is about."""
    if own is Own.subject_in_path:
        return [scope["path_params"]["subject"]], []
    if own is Own.customer_in_path:
        return [], [scope["path_params"]["key"]]
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    subjects = [value for name, value in query if name == "subject" and own is Own.in_query]
    return subjects, [value for name, value in query if name == "customer"]


async def _is_of(subject: str, caller: Caller, access: Access) -> bool:
    return caller.customer is not None and await run_in_threadpool(access.payer_of, subject) == caller.customer
