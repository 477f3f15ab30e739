"""From a call to a request of httpx2, and back."""

from collections.abc import Mapping
from typing import Any

import httpx2

from tallystick.calls import Call, Reply


def options(url: str, api_key: str | None, timeout_seconds: float) -> dict[str, Any]:
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    return {"base_url": url, "headers": headers, "timeout": timeout_seconds}


def arguments(call: Call[Any]) -> dict[str, Any]:
    headers: Mapping[str, str] = (
        call.headers if call.content is None else {"content-type": call.content_type, **call.headers}
    )
    return {
        "method": call.method,
        "url": call.path,
        "params": list(call.query) or None,
        "content": call.content,
        "headers": dict(headers),
    }


def reply_of(response: httpx2.Response) -> Reply:
    return Reply(response.status_code, {k.lower(): v for k, v in response.headers.items()}, response.content)
