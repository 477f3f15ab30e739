"""Users of the dashboard: their logins, what their roles may do, and what other sites cannot make their browsers do."""

import re
from collections.abc import Iterator

import httpx2
import pytest

from api.access.access import COOKIE
from api.access.caller import Role
from api.access.passwords import hashed, is_right
from api.access.sessions import TRIES_OF_A_NAME, form_token
from api.engine import Engine
from store.errors import Refused
from tests.access.conftest import HERE, Clock, connected

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def password_hash() -> str:
    return hashed(PASSWORD)


@pytest.fixture
def browser(engine: Engine, monkeypatch: pytest.MonkeyPatch, password_hash: str) -> Iterator[httpx2.Client]:
    monkeypatch.setattr("api.access.sessions.hashed", lambda _: password_hash)  # made once: it takes 50 ms
    for role in Role:
        engine.access.sessions.add(role.value, role, PASSWORD)
    with connected(engine, HERE, base_url="http://localhost") as client:
        yield client


def log_in(client: httpx2.Client, name: str, password: str = PASSWORD, **fields: str) -> httpx2.Response:
    return client.post("/login", data={"username": name, "password": password, **fields})


def form(client: httpx2.Client) -> dict[str, str]:
    return {"X-CSRF-Token": form_token(client.cookies[COOKIE])}


def test_a_password_is_kept_as_argon2id_and_found_right() -> None:
    kept = hashed(PASSWORD)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert is_right(kept, PASSWORD)
    assert not is_right(kept, f"{PASSWORD} ")
    assert not is_right(None, PASSWORD)
    assert not is_right("no hash", PASSWORD)
    with pytest.raises(Refused, match="12 to 1024 characters"):
        hashed("too short")


def test_who_logs_in_is_sent_where_they_wanted_to_go(browser: httpx2.Client) -> None:
    wanted = browser.get("/docs/assets/../../customers?x=1", headers={"accept": "text/html"})
    assert wanted.status_code in (303, 404)
    answer = log_in(browser, "viewer", next="/customers/acme")
    assert (answer.status_code, answer.headers["location"]) == (303, "/customers/acme")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie  # this machine has no TLS
    assert browser.get("/v1/customers").status_code == 200


@pytest.mark.parametrize("next", ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "/a\nb", ""])
def test_nobody_is_sent_to_another_site(browser: httpx2.Client, next: str) -> None:
    assert log_in(browser, "viewer", next=next).headers["location"] == "/"
    assert 'name="next" value="/"' in browser.get("/login", params={"next": next}).text


def test_a_name_of_the_network_has_a_cookie_for_tls_alone(engine: Engine, browser: httpx2.Client) -> None:
    with connected(engine, base_url="http://tallystick.example") as client:
        assert "secure" in log_in(client, "viewer").headers["set-cookie"].lower()


def test_a_wrong_name_and_a_wrong_password_are_not_told_apart(browser: httpx2.Client) -> None:
    texts = set()
    for name, password in (("nobody", PASSWORD), ("viewer", "wrong"), ("viewer", ""), ("", "")):
        answer = log_in(browser, name, password)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        texts.add(re.search(r'role="alert">([^<]*)', answer.text)[1])  # type: ignore[index]
    assert texts == {"the name or the password is not right"}


def test_what_somebody_typed_is_shown_as_text(browser: httpx2.Client) -> None:
    answer = log_in(browser, '"><script>alert(1)</script>', "wrong")
    assert "<script>" not in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_after_wrong_passwords_one_has_to_wait(browser: httpx2.Client) -> None:
    for _ in range(TRIES_OF_A_NAME.requests):
        assert log_in(browser, "viewer", "wrong").status_code == 401
    refused = log_in(browser, "viewer")
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert log_in(browser, "finance").status_code == 303


def test_right_passwords_are_not_counted_also_of_who_is_logged_in_already(browser: httpx2.Client) -> None:
    assert [log_in(browser, "viewer").status_code for _ in range(8)] == [303] * 8


def test_a_login_form_of_another_site_is_refused(browser: httpx2.Client) -> None:
    fields = {"username": "viewer", "password": PASSWORD}
    assert browser.post("/login", data=fields, headers={"origin": "https://evil.example"}).status_code == 403
    assert browser.post("/login", data=fields, headers={"origin": "http://localhost"}).status_code == 303


ALLOWED = {
    Role.viewer: {"GET /v1/customers"},
    Role.finance: {"GET /v1/customers", "POST /v1/rating-runs"},
    Role.developer: {"GET /v1/customers", "PUT /v1/catalog", "POST /v1/events", "GET /v1/leases"},
    Role.admin: {
        "GET /v1/customers", "POST /v1/rating-runs", "PUT /v1/catalog", "POST /v1/events", "GET /v1/leases",
        "GET /v1/users", "GET /v1/audit",
    },
}  # fmt: skip


@pytest.mark.parametrize("role", list(Role))
def test_a_role_may_do_what_it_is_for(browser: httpx2.Client, role: Role) -> None:
    log_in(browser, role.value)
    for operation in ALLOWED[Role.admin]:
        method, path = operation.split(" ")
        answer = browser.request(method, path, headers=form(browser) if method != "GET" else {})
        assert (answer.status_code != 403) == (operation in ALLOWED[role]), operation


@pytest.mark.parametrize(
    "given", [{}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "0" * 64}, {"Origin": "http://localhost"}]
)
def test_a_change_without_the_token_of_the_form_is_refused(browser: httpx2.Client, given: dict[str, str]) -> None:
    log_in(browser, "admin")
    refused = browser.put("/v1/customers/acme", json={}, headers=given)
    assert (refused.status_code, "X-CSRF-Token" in refused.json()["detail"]) == (403, True)
    assert browser.get("/v1/customers/acme").status_code == 404
    assert browser.put("/v1/customers/acme", json={}, headers=form(browser)).status_code == 200


def test_the_token_of_another_session_is_refused(engine: Engine, browser: httpx2.Client) -> None:
    log_in(browser, "admin")
    other = form_token(engine.access.sessions.log_in("admin", PASSWORD, "elsewhere"))
    assert browser.put("/v1/customers/acme", json={}, headers={"X-CSRF-Token": other}).status_code == 403


def test_a_form_sends_its_token_as_a_field(browser: httpx2.Client) -> None:
    log_in(browser, "admin")
    assert browser.post("/logout", data={}).status_code == 403
    answer = browser.post("/logout", data={"csrf": form(browser)["X-CSRF-Token"]})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


def test_after_logging_out_the_cookie_is_worth_nothing(browser: httpx2.Client) -> None:
    log_in(browser, "viewer")
    token = browser.cookies[COOKIE]
    browser.post("/logout", headers=form(browser))
    assert browser.get("/v1/customers", headers={"cookie": f"{COOKIE}={token}"}).status_code == 401


def test_a_session_ends_when_it_is_not_used_and_when_it_is_old(
    engine: Engine, browser: httpx2.Client, clock: Clock
) -> None:
    log_in(browser, "viewer")
    for _ in range(23):  # used every seven hours, for less than a week
        clock.move(hours=7)
        assert browser.get("/v1/customers").status_code == 200
    clock.move(hours=7)
    assert browser.get("/v1/customers").status_code == 401
    log_in(browser, "viewer")
    clock.move(hours=8)
    assert "log in again" in browser.get("/v1/customers").json()["detail"]


def test_a_session_outlives_a_restart(engine: Engine, browser: httpx2.Client) -> None:
    log_in(browser, "viewer")
    token = browser.cookies[COOKIE]
    engine.close()
    again = Engine.open(engine.settings, now=engine.now)
    with connected(again, HERE, base_url="http://localhost") as client:
        assert client.get("/v1/customers", headers={"cookie": f"{COOKIE}={token}"}).status_code == 200
    again.close()


@pytest.mark.parametrize("how", ["role", "password", "remove"])
def test_sessions_of_a_user_who_was_changed_end(engine: Engine, browser: httpx2.Client, how: str) -> None:
    log_in(browser, "finance")
    sessions = engine.access.sessions
    match how:
        case "role":
            sessions.change("finance", Role.viewer, None)
        case "password":
            sessions.change("finance", None, "another password")
        case _:
            sessions.remove("finance")
    assert browser.get("/v1/customers").status_code == 401


def test_a_browser_is_sent_to_log_in_and_a_program_is_told(browser: httpx2.Client) -> None:
    page = browser.get("/nothing", headers={"accept": "text/html,*/*"})
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=/nothing")
    assert browser.get("/nothing").status_code == 401
    assert browser.get("/v1/customers", headers={"accept": "text/html"}).status_code == 401


def test_without_users_the_page_says_how_to_make_one(machine: httpx2.Client) -> None:
    assert "tallystick users create" in machine.get("/login").text


@pytest.mark.parametrize("cookie", ["x", f"{COOKIE}=", f"{COOKIE}=x", f"{COOKIE}=\xff", "a=b; c", f'{COOKIE}="a;b"'])
def test_a_cookie_that_is_none_of_ours_is_nobody(browser: httpx2.Client, cookie: str) -> None:
    answer = browser.get("/v1/customers", headers={"cookie": cookie.encode("latin-1")})  # type: ignore[dict-item]
    assert answer.status_code == 401
