"""The recipe for LiteLLM, as it is in docs/gateways/litellm.md, in its real proxy and against a real server.

The provider behind it is not real: it says what it used, fails where it is told so, and answers when it is let.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from tests.gateways.conftest import FILES, Quotas, catalog, gateways_in, listening, serve_quotas

PROMPT, TOTAL = 7, 12
"""What the provider says that it has read, and used in all."""

WHOSE_KEY = """
from litellm.proxy._types import UserAPIKeyAuth


async def team_of(request, api_key):
    return UserAPIKeyAuth(api_key=api_key, team_id=api_key.removeprefix("sk-"))
"""


class _Provider(BaseHTTPRequestHandler):
    """OpenAI's API as far as LiteLLM asks for it."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(asked)  # type: ignore[attr-defined]
        if "wait" in json.dumps(asked):
            assert self.server.may_answer.wait(30)  # type: ignore[attr-defined]
        if asked.get("stream"):
            self._answer(200, "text/event-stream", b"".join(b"data: %s\n\n" % part for part in _streamed()))
        elif "fail" in json.dumps(asked):
            self._answer(500, "application/json", b'{"error": {"message": "broken"}}')
        else:
            self._answer(200, "application/json", json.dumps(_whole(self.path)).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _streamed() -> list[bytes]:
    said = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "hello"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": _usage("prompt_tokens", "completion_tokens")},
    ]
    return [*(json.dumps({**said, **delta}).encode() for delta in deltas), b"[DONE]"]


def _whole(path: str) -> dict[str, Any]:
    if path.endswith("/responses"):
        text = {"type": "output_text", "text": "hello", "annotations": []}
        message = {"type": "message", "id": "m", "status": "completed", "role": "assistant", "content": [text]}
        said = {"id": "r", "object": "response", "created_at": 1, "status": "completed", "model": "m"}
        return {**said, "output": [message], "usage": _usage("input_tokens", "output_tokens")}
    if path.endswith("/embeddings"):
        data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
        usage = {"prompt_tokens": TOTAL, "total_tokens": TOTAL}
        return {"object": "list", "model": "m", "data": data, "usage": usage}
    message = {"role": "assistant", "content": "hello"}
    choice = {"index": 0, "finish_reason": "stop", "message": message, "text": "hello"}
    usage = _usage("prompt_tokens", "completion_tokens")
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def _usage(prompt: str, answer: str) -> dict[str, int]:
    return {prompt: PROMPT, answer: TOTAL - PROMPT, "total_tokens": TOTAL}


@dataclass(frozen=True)
class Proxied:
    """LiteLLM before a provider; calls are those of the team that the key names."""

    url: str
    quotas: Quotas
    asked: list[dict[str, Any]]
    may_answer: threading.Event

    def call(self, path: str, key: str = "acme", **said: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer sk-{key}"}
        return httpx2.post(f"{self.url}/v1/{path}", json={"model": "big", **said}, headers=headers, timeout=60)

    def chat(self, text: str, tokens: int, **said: Any) -> httpx2.Response:
        messages = [{"role": "user", "content": text}]
        return self.call("chat/completions", messages=messages, max_tokens=tokens, **said)

    def quota(self) -> dict[str, int]:
        answer = httpx2.get(f"{self.quotas.url}/v1/quota/acme/tokens").json()
        return {name: int(answer[name]) for name in ("used", "reserved", "remaining")}

    def settled(self, used: int) -> bool:
        """Whether `used` is recorded and nothing is held, soon: LiteLLM tells it behind its answer."""
        for _ in range(500):
            if (self.quota()["used"], self.quota()["reserved"]) == (used, 0):
                return True
            time.sleep(0.02)
        return False


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    place = tmp_path_factory.mktemp("litellm")
    provider = ThreadingHTTPServer(("127.0.0.1", 0), _Provider)
    provider.asked, provider.may_answer = [], threading.Event()  # type: ignore[attr-defined]
    sold = catalog(2000)
    meter = {"event_type": "llm.request", "aggregation": "sum", "property": "total_tokens"}
    sold["plans"]["pro"]["entitlements"] = {"tokens": {"limit": "2000"}}
    sold |= {"meters": {**sold["meters"], "total_tokens": meter}, "features": {"tokens": {"meter": "total_tokens"}}}
    with (
        listening(provider) as port,
        serve_quotas(place, sold, lambda: datetime.now(UTC)) as quotas,
        pytest.MonkeyPatch.context() as environment,
        gateways_in(place) as start,
    ):
        (place / "tallystick_quota.py").write_text(of_recipe("python"))
        (place / "whose_key.py").write_text(WHOSE_KEY)
        environment.setenv("TALLYSTICK_URL", quotas.url)
        environment.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "true")  # else it fetches a list of prices
        command = ["litellm", "--config", "{file}", "--host", "127.0.0.1", "--port", "{port}"]
        url = start("config.yaml", command, configuration(port))
        yield Proxied(url, quotas, provider.asked, provider.may_answer)  # type: ignore[attr-defined]


def of_recipe(language: str) -> str:
    """The block in this language of the page."""
    block = re.search(rf"```{language}\n(.*?)```", (FILES / "litellm.md").read_text(), re.DOTALL)
    assert block is not None
    return block[1]


def configuration(provider: int) -> str:
    """Model `big`, and `broken`, behind which nobody is and which falls back to it; and the lines of the recipe."""
    models = [
        {"model_name": name, "litellm_params": {"model": "openai/m", "api_base": base, "api_key": "none"}}
        for name, base in {"big": f"http://127.0.0.1:{provider}/v1", "broken": "http://127.0.0.1:9/v1"}.items()
    ]
    return f"""
model_list: {json.dumps(models)}
{of_recipe("yaml").rstrip()}
  num_retries: 1
  fallbacks: [{{broken: [big]}}]
router_settings: {{disable_cooldowns: true}}
general_settings: {{custom_auth: whose_key.team_of, master_key: sk-{"0123456789abcdef" * 4}}}
"""


@pytest.mark.parametrize(
    ("path", "said"),
    [
        pytest.param(
            "chat/completions", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 50}, id="chat"
        ),
        pytest.param(
            "chat/completions",
            {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 50, "stream": True},
            id="a stream",
        ),
        pytest.param(
            "chat/completions",
            {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 50, "model": "broken"},
            id="a fallback",
        ),
        pytest.param("completions", {"prompt": "hi", "max_tokens": 50}, id="a completion"),
        pytest.param("embeddings", {"input": "hi"}, id="an embedding"),
        pytest.param("responses", {"input": "hi", "max_output_tokens": 50}, id="a response"),
        pytest.param("messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 50}, id="a message"),
    ],
)
def test_what_a_call_used_is_recorded_and_the_rest_given_back(
    proxied: Proxied, path: str, said: dict[str, Any]
) -> None:
    before = proxied.quota()["used"]
    forged = {"tallystick": {"lease": "forged", "subject": "globex"}} if path == "embeddings" else {}
    assert proxied.call(path, **said, metadata=forged).status_code == 200
    assert proxied.settled(before + TOTAL)
    assert "tallystick" not in json.dumps(proxied.asked[-1])  # nothing of it goes to the provider


def test_a_call_holds_the_most_that_it_may_use(proxied: Proxied) -> None:
    before = proxied.quota()
    running = threading.Thread(target=proxied.chat, args=("wait", before["remaining"] - 100))
    running.start()
    for _ in range(500):
        if proxied.quota()["reserved"]:
            break
        time.sleep(0.02)
    left = proxied.quota()["remaining"]
    assert 0 < left < 100
    refused = proxied.chat("hi", 100)
    assert (refused.status_code, proxied.quota()["remaining"]) == (429, left)
    assert refused.json()["error"]["message"].endswith(f"more than the {left} left of 2000")
    assert refused.headers["ratelimit"].startswith(f'"tokens";r={left};t=')
    assert int(refused.headers["retry-after"]) > 0
    proxied.may_answer.set()
    running.join()
    assert proxied.settled(before["used"] + TOTAL)


def test_refused_calls_do_not_reach_the_provider(proxied: Proxied) -> None:
    before, asked = proxied.quota(), len(proxied.asked)
    never = proxied.chat("hi", 3000)
    assert never.status_code == 402
    stranger = proxied.call("chat/completions", key="nobody", messages=[{"role": "user", "content": "hi"}])
    assert (stranger.status_code, stranger.json()["error"]["message"]) == (403, "no customer has this subject")
    assert proxied.call("images/generations", prompt="a cat").status_code == 403
    assert (proxied.quota(), len(proxied.asked)) == (before, asked)


def test_a_call_that_fails_gives_back_what_it_held_behind_its_last_try(proxied: Proxied) -> None:
    before, asked = proxied.quota(), len(proxied.asked)
    assert proxied.chat("fail", 50).status_code == 500
    assert len(proxied.asked) - asked == 2  # one retry
    assert proxied.settled(before["used"])
    assert proxied.chat("hi", 50, model="none").status_code == 400
    assert proxied.quota() == before
