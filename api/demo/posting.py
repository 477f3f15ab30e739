"""Post batches over a few connections at once."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import httpx2

from api.cli.failing import Failure

CONNECTIONS = 4
WAITING_MAX = 12  # bodies that are made before one is answered
TRIES_MAX = 10
JSON_BATCH = {"Content-Type": "application/cloudevents-batch+json"}
VERDICTS = ("accepted", "duplicates", "conflicts", "rejected")


def post_all(client: httpx2.Client, bodies: Iterable[bytes], on_answer: Callable[[int], None]) -> Counter[str]:
    """Post every body and add up the verdicts; `on_answer` is told how many events are answered so far."""
    sums: Counter[str] = Counter()
    waiting: deque[Future[dict[str, int]]] = deque()

    def take() -> None:
        sums.update({name: count for name, count in waiting.popleft().result().items() if name in VERDICTS})
        on_answer(sums.total())

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for body in bodies:
            if len(waiting) == WAITING_MAX:
                take()
            waiting.append(pool.submit(_post, client, body))
        while waiting:
            take()
    return sums


def _post(client: httpx2.Client, body: bytes) -> dict[str, int]:
    """The verdict; a server that is busy is asked again, which is harmless."""
    for _ in range(TRIES_MAX):
        response = client.post("/v1/events", content=body, headers=JSON_BATCH)
        if response.status_code in (200, 207, 422):
            answer: dict[str, int] = response.json()
            return answer
        if response.status_code not in (429, 503):
            break
        time.sleep(float(response.headers.get("Retry-After", 1)))
    raise Failure(f"the server answered {response.status_code} to a batch: {response.text[:300]}")
