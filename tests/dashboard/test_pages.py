"""The pages without a browser: what they say, what they let in, and what they never run."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.cli import main
from api.dashboard.navigation import PAGES
from api.dashboard.rendering import CONTENT_SECURITY_POLICY, environment
from api.dashboard.static_files import DIRECTORY, static_files
from api.engine import Engine
from api.settings import Settings
from tests.api.conftest import CATALOG, NOW, event

HTMX = {"HX-Request": "true"}
HOSTILE = '<img src=x onerror=alert(1)>"&\u2028'


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = Engine.open(Settings(data=tmp_path / "data"), now=lambda: NOW)
    yield opened
    opened.close()


@pytest.fixture
def empty(engine: Engine) -> Iterator[httpx2.Client]:
    with TestClient(create_app(engine.settings, engine=engine), raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def sold(empty: httpx2.Client) -> httpx2.Client:
    """The same with the catalog, and `acme` on plan `pro`."""
    empty.put("/v1/catalog", json=CATALOG)
    empty.put("/v1/customers/acme", json={})
    terms = {"customer": "acme", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
    empty.put("/v1/subscriptions/acme-pro", json=terms)
    return empty


def post(client: httpx2.Client, *events: dict[str, Any]) -> None:
    client.post("/v1/events", json=list(events), headers={"content-type": "application/cloudevents-batch+json"})


def text_of(answer: httpx2.Response) -> str:
    """What a person reads, blanks squeezed."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


@pytest.mark.parametrize("path", [page.path for page in PAGES])
def test_every_page_answers_before_there_is_anything(empty: httpx2.Client, path: str) -> None:
    answer = empty.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert '<main id="main"' in answer.text


@pytest.mark.parametrize("path", ["/", "/meters?meter=tokens", "/rejections", "/signals", "/system", "/signals/7"])
def test_no_page_runs_or_loads_anything_but_our_files(sold: httpx2.Client, path: str) -> None:
    answer = sold.get(path)
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    scripts = re.findall(r"<script([^>]*)>", answer.text)
    assert all('src="/static/' in found or 'type="application/json"' in found for found in scripts)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", answer.text)
    assert set(re.findall(r'(?:src|href)="(https?:[^"]*)"', answer.text)) == set()


def test_an_empty_start_says_what_to_do_with_commands_that_there_are(empty: httpx2.Client) -> None:
    assert "tallystick catalog apply data/catalogs/starter.yaml" in empty.get("/").text
    assert (DIRECTORY.parents[2] / "data/catalogs/starter.yaml").exists()


def test_every_command_of_a_template_is_one_of_ours() -> None:
    from api.cli.app import app

    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    names |= {str(group.name) for group in app.registered_groups}
    texts = [path.read_text() for path in (DIRECTORY.parent / "templates").glob("*.html")]
    said = {name for text in texts for name in re.findall(r'"tallystick ([a-z-]+)', text)}
    assert said
    assert said <= names


def test_the_overview_adds_up_to_what_the_api_says(sold: httpx2.Client) -> None:
    post(sold, event("1", data={"model": "big", "input_tokens": 1500.5}))
    usage = text_of(sold.get("/overview/usage", headers=HTMX))
    assert "tokens 1,500.5" in usage
    revenue = text_of(sold.get("/overview/revenue", headers=HTMX))
    assert "23.00 USD" in revenue  # 1000 at 2.50 a thousand, 500.5 at 1, and the fee of 20: 23.0005
    quotas = text_of(sold.get("/overview/quotas", headers=HTMX))
    assert "acme" in quotas
    assert "75.0 %" in quotas
    assert text_of(sold.get("/overview/live", headers=HTMX)).startswith(" Events a second")


def test_meters_show_exact_numbers_beside_the_span_before(sold: httpx2.Client) -> None:
    post(sold, event("1", data={"model": "big", "input_tokens": 3}, time="2026-10-12T10:00:00Z"))
    post(sold, event("2", data={"model": "small", "input_tokens": 0.25}, time="2026-10-14T10:00:00Z"))
    post(sold, event("3", data={"model": "big", "input_tokens": 2}, time="2026-10-05T10:00:00Z"))
    asked = {"meter": "tokens", "span": "week", "group": "model", "compare": "true"}
    answer = sold.get("/meters", params=asked, headers=HTMX)
    assert answer.status_code == 200
    said = text_of(answer)
    assert "tokens 3.25" in said
    assert "The span before 2" in said
    assert "+62.5 % +1.25" in said
    chart = json.loads(re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', answer.text)[0])
    assert [series["name"] for series in chart["series"]] == ["big", "small", "Before"]
    assert chart["x"][3] == "2026-10-12T00:00:00Z"
    assert chart["series"][0]["values"] == [None, None, None, "3", None, None, None]
    url = re.findall(r'href="(/v1/meters[^"]*)" data-accept="text/csv"', answer.text)[0].replace("&amp;", "&")
    downloaded = sold.get(url, headers={"accept": "text/csv"})
    assert downloaded.text.splitlines()[1].startswith("2026-10-12T00:00:00.000000+0000,big,3.000000000")


def test_a_question_that_makes_no_sense_is_answered_in_words(sold: httpx2.Client) -> None:
    wrong = sold.get("/meters", params={"meter": "tokens", "zone": "Mars/Base"}, headers=HTMX)
    assert wrong.status_code == 422
    assert "is no IANA time zone" in text_of(wrong)
    assert "<html" not in wrong.text
    unknown = sold.get("/meters", params={"meter": "nothing"})
    assert unknown.status_code == 404
    assert "<html" in unknown.text
    assert sold.get("/rejections", params={"after": "x"}).status_code == 422
    assert sold.get("/meters", params={"meter": "tokens", "window": "eon"}).status_code == 422


def test_names_of_events_are_text_and_nothing_else(sold: httpx2.Client) -> None:
    post(sold, event("1", subject=HOSTILE), event("2", subject=HOSTILE, id=HOSTILE, time="soon"))
    pages = [
        sold.get("/meters", params={"meter": "tokens", "group": "subject", "span": "month"}, headers=HTMX),
        sold.get("/rejections", params={"subject": HOSTILE}),
        sold.get("/rejections/1"),
        sold.get("/meters", params={"meter": "tokens", "subject": HOSTILE}),
    ]
    for answer in pages:
        assert answer.status_code == 200
        assert "<img" not in answer.text
        assert "img src=x" in answer.text


def test_a_rejection_is_corrected_and_counted(sold: httpx2.Client) -> None:
    post(sold, event("1", time="soon"))
    assert "invalid time" in text_of(sold.get("/rejections"))
    still = json.dumps(event("1", time="later"))
    again = sold.post("/rejections/1/correct", data={"event": still})
    assert again.status_code == 422
    assert "later" in text_of(again)  # what was written is still there
    broken = sold.post("/rejections/1/correct", data={"event": "{"})
    assert (broken.status_code, "no JSON object" in broken.text) == (422, True)
    right = json.dumps(event("1"), indent=2)
    done = sold.post("/rejections/1/correct", data={"event": right}, follow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, "/rejections/1")
    assert "This event was sent again and is counted: accepted." in text_of(sold.get("/rejections/1"))
    assert sold.get("/v1/meters/tokens/usage").json()["items"][0]["quantity"] == "100"
    assert "Nothing waits" in text_of(sold.get("/rejections"))
    twice = sold.post("/rejections/1/correct", data={"event": right}, follow_redirects=False)
    assert twice.status_code == 303
    assert sold.get("/v1/meters/tokens/usage").json()["items"][0]["quantity"] == "100"


def test_rejections_are_chosen_or_all_that_fit_sent_again(sold: httpx2.Client) -> None:
    sold.delete("/v1/customers/none")
    post(sold, event("1", time="soon"), event("2", subject=""), event("3", time="soon"))
    chosen = sold.post("/rejections/replay", data={"rejection": ["1", "2"]}, headers=HTMX)
    assert "2 events sent again: 2 refused again." in text_of(chosen)
    fits = sold.post("/rejections/replay", data={"all": "true", "code": "invalid_time"}, headers=HTMX)
    assert "2 events sent again: 2 refused again." in text_of(fits)
    assert sold.post("/rejections/replay", data={"rejection": "one"}, headers=HTMX).status_code == 422
    assert sold.post("/rejections/replay", data={"rejection": "99"}, headers=HTMX).status_code == 404
    nothing = sold.post("/rejections/replay", data={"state": "waiting"}, headers=HTMX)
    assert "0 events sent again: nothing was waiting." in text_of(nothing)


def test_a_demo_does_not_overwrite_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--serve", "--keep", str(tmp_path)])
    assert ended.value.code == 2
    assert "is there already" in capsys.readouterr().err


def test_signals_are_listed_the_newest_first(sold: httpx2.Client) -> None:
    assert "No signal" in text_of(sold.get("/signals"))
    post(sold, event("1", data={"model": "big", "input_tokens": 2500}))
    assert len(sold.get("/v1/signals").json()["items"]) == 2
    said = text_of(sold.get("/signals"))
    assert 0 < said.index("quota.negative") < said.rindex("quota.exhausted")
    assert "2,500 / 2,000" in said
    assert "None fits" not in said
    assert "No signal" in text_of(sold.get("/signals", params={"type": "quota.threshold"}, headers=HTMX))
    one = text_of(sold.get("/signals/1"))
    assert "Limit 2,000 Used 2,500" in one
    assert "Window start 2026-10-01 00:00:00 UTC" in one
    assert '"used": "2500"' in sold.get("/signals/1").text.replace("&#34;", '"')


def test_an_endpoint_is_refused_added_paused_and_its_secret_shown_once(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "open", webhook_private_addresses=True, webhook_http=True)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        refused = client.post("/signals/endpoints", data={"url": "ftp://127.0.0.1/x"}, headers=HTMX)
        assert refused.status_code == 422
        made = client.post("/signals/endpoints", data={"url": "http://127.0.0.1:9/x", "types": "a b"}, headers=HTMX)
        assert made.status_code == 200
        secret = re.findall(r"whsec_[\w+/=]+", made.text)[0]
        [endpoint] = client.get("/v1/webhooks").json()["items"]
        assert endpoint["types"] == ["a", "b"]
        path = f"/signals/endpoints/{endpoint['id']}"
        assert secret not in client.get(path).text + client.get("/signals").text
        failed = client.post(f"{path}/test", headers=HTMX)
        assert "A test was sent:" in failed.text
        paused = client.post(f"{path}/state", data={"state": "paused"}, follow_redirects=False)
        assert (paused.status_code, paused.headers["location"]) == (303, path)
        assert client.get("/v1/webhooks").json()["items"][0]["state"] == "paused"
        assert client.post(f"{path}/state", data={"state": "gone"}, headers=HTMX).status_code == 422
        again = client.post(f"{path}/replay", data={"what": "dead"}, headers=HTMX)
        assert "0 signals on the way again" in again.text
        assert client.get("/signals/endpoints/none").status_code == 404


def test_the_system_page_flushes_and_merges(sold: httpx2.Client) -> None:
    post(sold, event("1"), event("2"))
    assert sold.get("/readyz").json()["detail"]["log"]["events_behind_table"] == 2
    done = sold.post("/system/flush", headers=HTMX)
    assert "2 events moved from the journal to the table." in done.text
    assert sold.get("/readyz").json()["detail"]["log"]["events_behind_table"] == 0
    assert "Merged: " in sold.post("/system/maintain", headers=HTMX).text
    assert "Usage table events in Delta, by day" in text_of(sold.get("/system/disk", headers=HTMX))
    plain = sold.post("/system/flush")
    assert "<main" in plain.text  # without scripts it is a page


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_form_of_another_site_is_refused(sold: httpx2.Client, site: str) -> None:
    answer = sold.post("/system/flush", headers={"Sec-Fetch-Site": site})
    assert answer.status_code == 403
    assert sold.post("/system/flush", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_static_files_are_kept_by_their_digest(empty: httpx2.Client) -> None:
    path = re.findall(r'href="(/static/dashboard.css\?v=\w+)"', empty.get("/").text)[0]
    answer = empty.get(path, headers={"accept-encoding": "gzip"})
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text == (DIRECTORY / "dashboard.css").read_text()
    again = empty.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert empty.get("/static/dashboard.css").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["../shown.py", "..%2fshown.py", "%2e%2e/shown.py", "/etc/passwd", "vendored.md", ""])
def test_only_known_files_are_served(empty: httpx2.Client, name: str) -> None:
    assert empty.get(f"/static/{name}").status_code == 404


def test_the_vendored_files_are_those_that_were_looked_at() -> None:
    told = dict(re.findall(r"\| `(vendored/\S+)` \| `([0-9a-f]{64})`", (DIRECTORY / "vendored.md").read_text()))
    found = {f"vendored/{path.name}": path.read_bytes() for path in (DIRECTORY / "vendored").iterdir()}
    assert told == {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


def test_every_template_can_be_read() -> None:
    for name in environment().list_templates():
        assert environment().get_template(name)
    assert "dashboard.js" in static_files()
