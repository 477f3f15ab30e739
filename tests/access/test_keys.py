"""API keys: shown once, kept as a hash, expired, rotated, revoked at once, limited, and noted when they were used."""

import logging
from pathlib import Path

import httpx2
import pytest

from api.access import tokens
from api.access.buckets import SECOND, Bucket, RateLimit
from api.access.caller import Scope
from api.access.errors import NotAuthenticated, TooManyRequests
from api.engine import Engine
from api.lease_client import LeasedQuota, NotTaken
from api.settings import Settings
from store.errors import Refused
from tests.access.conftest import Clock, bearer, connected, key, token
from tests.api.conftest import CATALOG, event


def status(client: httpx2.Client, secret: str, path: str = "/v1/customers") -> int:
    return client.get(path, headers=bearer(secret)).status_code


def test_a_key_has_256_random_bits_and_a_checksum() -> None:
    made = {tokens.new_token(tokens.KEY, tokens.new_id()) for _ in range(100)}
    assert len(made) == 100
    assert {len(each) for each in made} == {tokens.LENGTH}
    assert 62**tokens.SECRET_CHARACTERS > 2**256
    assert all(tokens.is_well_formed(each) for each in made)
    assert not any(tokens.is_well_formed(each[:-1] + chr(ord(each[-1]) ^ 1)) for each in made)


def test_the_client_of_leases_shows_its_key(engine: Engine) -> None:
    key(engine, Scope.admin)

    def taken(server: httpx2.Client, secret: str | None) -> bool:
        with LeasedQuota("http://127.0.0.1", api_key=secret, transport=server._transport) as quota:
            return quota.take("nobody", "tokens")

    with connected(engine) as server:
        server.put("/v1/catalog", json=CATALOG, headers=bearer(key(engine, Scope.catalog))).raise_for_status()
        for secret, refusal in ((None, "401"), (key(engine, Scope.read), "403")):
            with pytest.raises(NotTaken, match=refusal):
                taken(server, secret)
        assert taken(server, key(engine, Scope.quota)) is False  # nobody has a plan


def test_a_key_is_shown_once(network: httpx2.Client, admin: dict[str, str]) -> None:
    made = network.post("/v1/api-keys", json={"name": "gateway", "scopes": ["ingest"]}, headers=admin).json()
    assert made["key"].startswith(f"tsk_{made['id']}_")
    read = [network.get(path, headers=admin) for path in ("/v1/api-keys", f"/v1/api-keys/{made['id']}", "/v1/audit")]
    assert not any(made["key"][20:] in answer.text for answer in read)
    assert network.post("/v1/events", json=[event()], headers=bearer(made["key"])).status_code == 200


def test_no_secret_is_on_the_disk_or_in_the_log(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """S1: keys, tokens, passwords and sessions, used well and badly, by every way in."""
    caplog.set_level(logging.DEBUG)
    first, rotated = key(engine, Scope.admin), engine.access.keys.create("b", [Scope.read], None, None)
    secrets = [first, rotated.token, engine.access.keys.rotate(rotated.record.id, 1).token, token(engine, subject="a")]
    engine.access.sessions.add("ada", "admin", "the password of ada")  # type: ignore[arg-type]  # a StrEnum's text
    session = engine.access.sessions.log_in("ada", "the password of ada", "here")
    secrets += [session, "the password of ada", "a new password of ada"]
    with connected(engine) as client:
        for secret in secrets:
            client.get("/v1/customers", headers=bearer(secret))
            client.get("/v1/customers", headers={"X-Tallystick-Key": secret})
            client.post("/v1/customers", json=[], headers=bearer(f"{secret}x"))
        client.patch("/v1/users/ada", json={"password": "a new password of ada"}, headers=bearer(first))
    engine.close()
    parts = [part for secret in secrets for part in (secret.encode(), secret.encode()[-40:])]
    for path in Path(engine.settings.data).rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not any(part in content for part in parts), path
    assert not any(part.decode() in caplog.text for part in parts)


def test_a_key_is_refused_from_the_instant_at_which_it_expires(
    network: httpx2.Client, engine: Engine, clock: Clock, admin: dict[str, str]
) -> None:
    body = {"name": "x", "scopes": ["read"], "expires_at": "2026-10-15T13:00:00Z"}
    made = network.post("/v1/api-keys", json=body, headers=admin).json()
    clock.move(minutes=59, seconds=59)
    assert status(network, made["key"]) == 200
    clock.move(seconds=1)
    refused = network.get("/v1/customers", headers=bearer(made["key"]))
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="tallystick"')
    assert "has expired" in refused.json()["detail"]
    late = network.post("/v1/api-keys", json=body, headers=admin)
    assert late.status_code == 422


def test_a_revoked_key_is_refused_at_once_and_after_a_restart(
    network: httpx2.Client, engine: Engine, admin: dict[str, str]
) -> None:
    made = engine.access.keys.create("x", [Scope.read], None, None)
    assert status(network, made.token) == 200
    revoked = network.delete(f"/v1/api-keys/{made.record.id}", headers=admin)
    assert status(network, made.token) == 401
    assert network.delete(f"/v1/api-keys/{made.record.id}", headers=admin).json() == revoked.json()
    engine.close()
    again = Engine.open(engine.settings, now=engine.now)
    with connected(again) as client:
        assert (status(client, made.token), status(client, admin["Authorization"][7:])) == (401, 200)
    again.close()


def test_the_secret_of_before_a_rotation_is_good_for_its_hours(
    network: httpx2.Client, clock: Clock, admin: dict[str, str]
) -> None:
    made = network.post("/v1/api-keys", json={"name": "x", "scopes": ["read"]}, headers=admin).json()
    rotated = network.post(f"/v1/api-keys/{made['id']}/rotate", json={"hours": 2}, headers=admin).json()
    assert rotated["id"] == made["id"]
    assert (status(network, made["key"]), status(network, rotated["key"])) == (200, 200)
    clock.move(hours=2)
    assert (status(network, made["key"]), status(network, rotated["key"])) == (401, 200)
    at_once = network.post(f"/v1/api-keys/{made['id']}/rotate", json={"hours": 0}, headers=admin).json()
    assert (status(network, rotated["key"]), status(network, at_once["key"])) == (401, 200)


def test_the_tokens_of_a_key_end_with_it(sold: httpx2.Client, engine: Engine, admin: dict[str, str]) -> None:
    portal = engine.access.keys.create("portal", [Scope.read], None, None)
    made = sold.post("/v1/subject-tokens", json={"customer": "acme"}, headers=bearer(portal.token)).json()
    assert status(sold, made["token"], "/v1/customers/acme") == 200
    assert sold.delete(f"/v1/api-keys/{portal.record.id}", headers=admin).status_code == 200
    assert status(sold, made["token"], "/v1/customers/acme") == 401
    listed = sold.get("/v1/subject-tokens", headers=admin).json()["items"]
    assert [each["revoked_at"] is not None for each in listed] == [True]


def test_a_token_lives_no_longer_than_the_key_that_made_it(
    network: httpx2.Client, engine: Engine, clock: Clock, admin: dict[str, str]
) -> None:
    short = engine.access.keys.create("x", [Scope.read], clock().replace(hour=13), None)
    made = network.post("/v1/subject-tokens", json={"subject": "a"}, headers=bearer(short.token)).json()
    assert made["expires_at"] == "2026-10-15T13:00:00Z"
    for body in ({}, {"subject": "a", "customer": "b"}, {"subject": "a", "seconds": 0}, {"subject": "a", "more": 1}):
        assert network.post("/v1/subject-tokens", json=body, headers=admin).status_code == 422


def test_the_first_key_can_make_others(engine: Engine) -> None:
    with pytest.raises(Refused, match="the first key needs the scope admin"):
        engine.access.keys.create("x", [Scope.ingest], None, None)
    with pytest.raises(Refused, match="make a key first"):
        token(engine, subject="a")
    assert engine.access.is_keyless


def test_a_gateway_speaks_for_itself_beside_what_its_client_sends(
    network: httpx2.Client, engine: Engine, admin: dict[str, str]
) -> None:
    good = key(engine, Scope.quota)
    answer = network.get("/v1/leases", headers={**bearer("of the client"), "X-Tallystick-Key": good})
    assert answer.status_code == 200
    assert network.get("/v1/leases", headers={**admin, "X-Tallystick-Key": "wrong"}).status_code == 401


def test_when_a_key_was_used_is_known_and_kept(engine: Engine, clock: Clock) -> None:
    secret = key(engine, Scope.admin)
    key_id = secret[4:16]
    assert engine.access.keys.get(key_id).last_used_at is None
    clock.move(minutes=5)
    engine.access.keys.caller(secret.encode())
    assert engine.access.keys.get(key_id).last_used_at == clock()
    engine.close()
    again = Engine.open(engine.settings, now=clock)
    assert again.access.keys.get(key_id).last_used_at == clock()
    again.close()


def test_a_limited_key_is_answered_429_with_when_to_come_again(network: httpx2.Client, engine: Engine) -> None:
    key(engine, Scope.admin)
    limited = bearer(key(engine, Scope.read, limit=RateLimit(3, 600)))
    assert [network.get("/v1/customers", headers=limited).status_code for _ in range(3)] == [200] * 3
    refused = network.get("/v1/customers", headers=limited)
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:tallystick:problem:too-many-requests")
    assert refused.headers["ratelimit-policy"] == '"key";q=3;w=600'
    assert 199 <= int(refused.headers["retry-after"]) <= 200
    assert refused.headers["ratelimit"] == f'"key";r=0;t={refused.headers["retry-after"]}'


@pytest.mark.parametrize(("requests", "seconds"), [(100, 1), (7, 3), (1, 60), (1000, 7)])
def test_at_twice_the_limit_the_limit_is_let_through(requests: int, seconds: int) -> None:
    """S8: what was saved up at first, and then exactly the rate: no more, and nothing lost to rounding."""
    limit, now = RateLimit(requests, seconds), 0
    bucket, taken = Bucket(limit, now), 0
    step = seconds * SECOND // (2 * requests)
    for _ in range(20 * requests):
        taken += bucket.take(now) == 0
        now += step
    assert requests + 10 * requests - 1 <= taken <= requests + 10 * requests


def test_who_waits_as_long_as_told_is_let_through() -> None:
    bucket = Bucket(RateLimit(7, 3), 0)
    while not (waits := bucket.take(0)):
        pass
    assert bucket.take(waits - 1) > 0
    assert bucket.take(waits) == 0


def test_a_key_that_is_not_known_is_not_told_apart_from_a_wrong_secret(engine: Engine) -> None:
    good = key(engine, Scope.admin)
    told = set()
    for wrong in (f"tsk_{tokens.new_id()}{good[16:]}", good[:17] + "0" * 49, good[:-1], f"{good}x", good.upper()):
        with pytest.raises(NotAuthenticated) as refused:
            engine.access.keys.caller(wrong.encode())
        told.add(str(refused.value))
    assert len([each for each in told if "not known" in each]) == 1


def test_a_limit_of_a_key_does_not_count_what_was_refused(engine: Engine) -> None:
    key(engine, Scope.admin)
    limited = key(engine, Scope.read, limit=RateLimit(1, 600))
    for _ in range(5):
        with pytest.raises(NotAuthenticated):
            engine.access.keys.caller(f"{limited[:-1]}~".encode())
    engine.access.keys.caller(limited.encode())
    with pytest.raises(TooManyRequests):
        engine.access.keys.caller(limited.encode())


def test_a_new_data_directory_is_for_its_user_alone(engine: Engine, tmp_path: Path) -> None:
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    assert Settings(data=tmp_path).database.startswith("sqlite")
    assert (tmp_path / "data" / "tallystick.sqlite").stat().st_mode & 0o077 == 0
