"""Every operation of the OpenAPI document by every scope, by tokens and by nobody: who is let in, and who is not.

To be let in is to get any answer of the route itself: the requests have neither bodies nor things that are there.
"""

from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from api.access.caller import SCOPES, Role, Scope
from api.access.requirements import REQUIREMENTS, Own, Requirement
from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from tests.access.conftest import Clock, bearer, key, token
from tests.api.conftest import document

OPERATIONS = [(method.upper(), path) for path, methods in document()["paths"].items() for method in methods]
NEEDED = {operation: REQUIREMENTS[operation] for operation in OPERATIONS}
OWN = {operation: row.own for operation, row in NEEDED.items() if row.own is not None}
OPEN = {("GET", "/healthz"), ("GET", "/readyz")}
WRITES_WITH_READ = {
    ("POST", "/v1/simulations"),  # these make nothing ...
    ("POST", "/v1/rating-runs/{run_id}/verify"),
    ("POST", "/api/v1/meters/{key}/query"),
    ("POST", "/v1/subject-tokens"),  # ... and this makes what may read less
}
READS_WITH_OTHERS = {
    ("GET", "/v1/quota/{subject}/{feature}"): Scope.quota,
    ("GET", "/v1/gateways/auth"): Scope.quota,
    ("GET", "/v1/gateways/auth/{path}"): Scope.quota,
    ("GET", "/v1/leases"): Scope.quota,
    ("GET", "/v1/leases/{id}"): Scope.quota,
    ("GET", "/v1/signals"): Scope.quota,
    ("GET", "/v1/subjects/{subject}/records"): Scope.admin,
    ("GET", "/v1/api-keys"): Scope.admin,
    ("GET", "/v1/api-keys/{id}"): Scope.admin,
    ("GET", "/v1/subject-tokens"): Scope.admin,
    ("GET", "/v1/users"): Scope.admin,
    ("GET", "/v1/audit"): Scope.admin,
    ("GET", "/v1/audit/verify"): Scope.admin,
}
IS_READ = {"GET", "HEAD"}


def ask(client: httpx2.Client, operation: tuple[str, str], headers: dict[str, str], **names: str) -> str:
    """How it ends: `let in`, or the status and name of a refusal."""
    method, path = operation
    for name in ("key", "subject", "feature", "path", "dimension", "id", "name"):
        path = path.replace(f"{{{name}}}", names.get(name, "nothing"))
    while "{" in path:
        path = path[: path.index("{")] + "nothing" + path[path.index("}") + 1 :]
    query = {name: value for name, value in names.items() if name in ("customer", "subject")}
    answer = client.request(method, path, headers=headers, params=query if OWN.get(operation) else {})
    problem = answer.json().get("type", "") if "problem" in answer.headers.get("content-type", "") else ""
    refusals = ("not-authenticated", "not-allowed", "too-many-requests")
    return f"{answer.status_code} {problem[23:]}" if problem.endswith(refusals) else "let in"


@pytest.mark.parametrize("scope", list(Scope))
def test_a_scope_opens_what_needs_it_and_nothing_else(network: httpx2.Client, engine: Engine, scope: Scope) -> None:
    key(engine, Scope.admin)
    headers = bearer(key(engine, scope))
    for operation, needed in NEEDED.items():
        is_let_in = needed.scope in (None, scope) or scope is Scope.admin
        assert ask(network, operation, headers) == ("let in" if is_let_in else "403 not-allowed"), operation


@pytest.mark.parametrize("how", ["no key", "unknown", "expired", "revoked", "cut", "changed", "a password"])
def test_who_is_not_known_is_let_in_nowhere(network: httpx2.Client, engine: Engine, clock: Clock, how: str) -> None:
    good = key(engine, Scope.admin)
    made = engine.access.keys.create("other", [Scope.admin], clock().replace(year=2027), None)
    headers = {
        "no key": {},
        "unknown": bearer("tsk_" + "x" * 62),
        "expired": bearer(made.token),
        "revoked": bearer(made.token),
        "cut": bearer(good[:-1]),
        "changed": bearer(good[:-1] + ("a" if good[-1] != "a" else "b")),
        "a password": {"Authorization": "Basic YWRhOnBhc3N3b3Jk"},
    }[how]
    if how == "revoked":
        engine.access.keys.revoke(made.record.id, "key")
    if how == "expired":
        clock.move(days=365)
    for operation in OPERATIONS:
        expected = "let in" if operation in OPEN else "401 not-authenticated"
        assert ask(network, operation, headers) == expected, operation


@pytest.mark.parametrize("whose", [{"subject": "acme"}, {"customer": "acme"}], ids=["subject", "customer"])
def test_a_token_reads_its_own_and_nothing_else(sold: httpx2.Client, engine: Engine, whose: dict[str, str]) -> None:
    headers = bearer(token(engine, **whose))
    is_customer = "customer" in whose
    for operation, needed in NEEDED.items():
        if needed.scope is None or needed.own is None:
            expected = "let in" if needed.scope is None else "403 not-allowed"
            assert ask(sold, operation, headers) == expected, operation
            continue
        of = {name: _read(sold, operation, headers, needed, name, is_customer) for name in ("acme", "globex", "nobody")}
        reads = is_customer or needed.own in (Own.subject_in_path, Own.in_query)
        is_not_there = (404, of["nobody"].text.replace("nobody", "acme"))
        assert ((of["acme"].status_code, of["acme"].text) != is_not_there) == reads, operation
        assert of["acme"].status_code in ((200,) if reads and "ledger" not in operation[1] else (404,)), operation
        assert of["globex"].status_code == 404, operation
        assert of["globex"].text == of["nobody"].text.replace("nobody", "globex"), operation


def _named(needed: Requirement, whom: str, *, is_customer: bool) -> dict[str, str]:
    match needed.own:
        case Own.subject_in_path:
            return {"subject": whom, "feature": "tokens"}
        case Own.customer_in_path:
            return {"key": whom}
        case Own.in_query:
            return {"key": "tokens", "customer" if is_customer else "subject": whom}
        case Own.customer_in_query:
            return {"customer": whom}
        case _:
            return {}


def _read(
    client: httpx2.Client, operation: tuple[str, str], headers: dict[str, str], row: Requirement, whom: str, many: bool
) -> httpx2.Response:
    """`many` is by customer."""
    names = _named(row, whom, is_customer=many)
    path = operation[1]
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", value)
    query = {name: value for name, value in names.items() if name in ("customer", "subject")}
    return client.get(path, headers=headers, params={} if "{subject}" in operation[1] else query)


def test_what_a_row_says_is_what_one_expects_of_its_method() -> None:
    """A second opinion on the table: to read is `read`, to change something is never, but for what is listed here."""
    for operation, needed in NEEDED.items():
        if operation in OPEN:
            assert needed.scope is None
        elif operation[0] == "GET":
            assert needed.scope is READS_WITH_OTHERS.get(operation, Scope.read), operation
            assert needed.action is None, operation
        else:
            assert (needed.scope is Scope.read) == (operation in WRITES_WITH_READ), operation
    assert {path for _, path in READS_WITH_OTHERS} <= {path for _, path in OPERATIONS}


def test_no_row_is_left_of_a_route_that_is_gone() -> None:
    paths = {path for _, path in OPERATIONS} | {"/api/{path}"}
    assert {path for _, path in REQUIREMENTS if path.startswith(("/v1/", "/api/"))} == paths - {
        "/healthz",
        "/readyz",
        "/metrics",
    }


def test_a_route_without_a_row_keeps_the_application_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(REQUIREMENTS, ("GET", "/v1/checks"))
    with pytest.raises(LookupError, match=r"GET /v1/checks has no row in api/access/requirements.py"):
        create_app(Settings())


def test_the_guard_finds_the_route_that_the_application_finds() -> None:
    """Two tables of routes must not differ: what one takes for open the other might answer with something else."""
    app = create_app(Settings())
    seen: list[str] = []
    odd = ["/v1/customers/a/b/credits", "/v1/quota/a/b/c", "/v1/customers/states", "/v1/rating-runs/lines", "/api/v1/x"]
    for method, path in [*OPERATIONS, *(("GET", each) for each in odd)]:
        found = _of_application(app, method, path.replace("{", "").replace("}", ""))
        seen.append(found)
        assert found == _of_guard(app, method, path.replace("{", "").replace("}", "")), (method, path)
    assert len(set(seen)) > 80


def _of_application(app: FastAPI, method: str, path: str) -> str:
    """The first route in FastAPI's order that fits method and path."""
    from api.access.guard import _found_by_path

    for route in _found_by_path(app.router.routes):
        methods: Any = getattr(route, "methods", None)
        if route.path_regex.match(path) and (methods is None or method in methods):  # type: ignore[attr-defined]
            return str(route.path)  # type: ignore[attr-defined]
    return "none"


def _of_guard(app: FastAPI, method: str, path: str) -> str:
    from api.access.guard import _found_by_path
    from api.plain_route import PlainRoutes

    async def nothing(*_: object) -> None:
        raise AssertionError

    found: dict[Any, str] = {}

    def named(route: Any, _answers: Any) -> Any:
        def answers(*_: object) -> None: ...

        found[answers] = "none" if route is None else route.path
        return answers

    routes = PlainRoutes(nothing, routes=_found_by_path(app.router.routes), handlers={}, guarded=named)
    return found[routes._found({"method": method, "path": path, "type": "http"})]


def test_roles_have_the_scopes_that_users_are_told() -> None:
    assert SCOPES[Role.admin] == set(Scope)
    assert SCOPES[Role.finance] == {Scope.read, Scope.rate}
    assert SCOPES[Role.developer] == {Scope.ingest, Scope.quota, Scope.read, Scope.catalog}
    assert SCOPES[Role.viewer] == {Scope.read}


def test_every_operation_says_what_it_needs() -> None:
    assert set(document()["components"]["securitySchemes"]) == {"apiKey", "gatewayKey", "session"}
    for (method, path), needed in NEEDED.items():
        operation = document()["paths"][path][method.lower()]
        if needed.scope is None:
            assert operation["security"] == []
        else:
            assert [*operation["security"][0].values()] == [[needed.scope]]
            assert {"401", "403", "429"} <= operation["responses"].keys()


def test_what_goes_in_has_no_fields_that_nobody_knows() -> None:
    """S13. What other systems' clients send is theirs to define."""
    schemas = document()["components"]["schemas"]
    for path, methods in document()["paths"].items():
        for operation in methods.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            name = content.get("$ref", "").rpartition("/")[2]
            if name and not path.startswith("/api/"):
                assert schemas[name].get("additionalProperties") is False, (path, name)
