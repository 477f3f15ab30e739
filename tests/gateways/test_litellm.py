"""The recipe for LiteLLM, as it is in docs/gateways/litellm.md, against a server.

LiteLLM is not installed: two names of it are stood in for.
"""

import asyncio
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx2
import pytest
from fastapi import HTTPException

from tests.api.conftest import NOW
from tests.gateways.conftest import FILES, Quotas, catalog

KEY = SimpleNamespace(team_id="acme", user_id=None)
MESSAGES = [{"role": "user", "content": "one two three"}]


@pytest.fixture
def recipe(tmp_path: Path, quotas: Quotas, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`quota` of the recipe; a token is a word."""
    litellm, integrations = ModuleType("litellm"), ModuleType("litellm.integrations")
    logger = ModuleType("litellm.integrations.custom_logger")
    litellm.token_counter = lambda model, messages: sum(len(m["content"].split()) for m in messages)  # type: ignore[attr-defined]
    logger.CustomLogger = object  # type: ignore[attr-defined]
    for module in (litellm, integrations, logger):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("TALLYSTICK_URL", quotas.url)
    meters = {"total_tokens": {"event_type": "llm.request", "aggregation": "sum", "property": "total_tokens"}}
    sold = catalog(2000)
    sold["plans"]["pro"]["entitlements"] = {"tokens": {"limit": "2000", "window": "month"}}
    sold = {**sold, "meters": {**sold["meters"], **meters}, "features": {"tokens": {"meter": "total_tokens"}}}
    assert httpx2.put(f"{quotas.url}/v1/catalog", json=sold).status_code == 200
    code = re.search(r"```python\n(.*?)```", (FILES / "litellm.md").read_text(), re.DOTALL)
    assert code is not None
    file = tmp_path / "tallystick_quota.py"
    file.write_text(code[1])
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made.quota


def before(recipe: Any, **call: Any) -> dict[str, Any]:
    data = {"model": "big", "messages": MESSAGES, **call}
    found: dict[str, Any] = asyncio.run(recipe.async_pre_call_hook(KEY, None, data, "completion"))
    return found


def after(recipe: Any, data: dict[str, Any], total_tokens: int | None) -> None:
    kwargs = {"model": data["model"], "litellm_params": {"metadata": data["metadata"]}}
    if total_tokens is None:
        asyncio.run(recipe.async_log_failure_event(kwargs, None, NOW, NOW))
    else:
        usage = {"prompt_tokens": 3, "completion_tokens": total_tokens - 3, "total_tokens": total_tokens}
        asyncio.run(recipe.async_log_success_event(kwargs, {"usage": usage}, NOW, NOW))


def left(quotas: Quotas) -> tuple[str, str, str]:
    answer = httpx2.get(f"{quotas.url}/v1/quota/acme/tokens").json()
    return answer["used"], answer["reserved"], answer["remaining"]


def test_a_call_reserves_its_most_and_is_recorded_with_what_it_used(recipe: Any, quotas: Quotas) -> None:
    first, second = before(recipe, max_tokens=497), before(recipe, max_tokens=997)
    assert left(quotas) == ("0", "1500", "500")
    after(recipe, first, 120)
    assert left(quotas) == ("120", "1000", "880")
    after(recipe, first, 120)  # told twice
    after(recipe, second, None)
    assert left(quotas) == ("120", "0", "1880")


def test_a_call_that_may_not_fit_is_refused(recipe: Any, quotas: Quotas) -> None:
    held = before(recipe, max_tokens=997)
    with pytest.raises(HTTPException) as refused:
        before(recipe, max_tokens=998)
    assert (refused.value.status_code, refused.value.headers["Retry-After"]) == (429, "1425600")
    with pytest.raises(HTTPException) as never:
        before(recipe)
    assert never.value.status_code == 402  # 3 + 4,096 are more than 2,000
    after(recipe, held, 10)
    assert before(recipe, max_tokens=998)["metadata"]["tallystick"]["subject"] == "acme"
