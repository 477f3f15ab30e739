"""What access costs a request: processor time of one decision, for a key, a key with a limit, and without keys."""

import sys
import tempfile
from pathlib import Path
from time import process_time_ns

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from api.access.buckets import RateLimit
from api.access.caller import Scope
from api.access.requirements import REQUIREMENTS
from api.engine import Engine
from api.settings import Settings

TRIES, ROUNDS = 50_000, 5
INGEST = REQUIREMENTS["POST", "/v1/events"]


def measured(engine: Engine, headers: list[tuple[bytes, bytes]]) -> float:
    """Microseconds of one decision, the best of some rounds."""
    scope = {"headers": headers, "client": ("127.0.0.1", 5000)}
    identify, best = engine.access.identify, float("inf")
    for _ in range(ROUNDS):
        begun = process_time_ns()
        for _ in range(TRIES):
            assert INGEST.scope in identify(scope, INGEST).scopes
        best = min(best, (process_time_ns() - begun) / TRIES / 1000)
    return best


def main() -> None:
    usual = [(b"host", b"127.0.0.1:8080"), (b"user-agent", b"x"), (b"content-type", b"application/json")]
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine.open(Settings(data=Path(folder) / "data"))
        print(f"without keys    {measured(engine, usual):.2f} us")
        keys = engine.access.keys
        plain = keys.create("a", [Scope.admin], None, None).token
        limited = keys.create("b", [Scope.ingest], None, RateLimit(1_000_000, 1)).token
        for name, token in (("a key", plain), ("a limited key", limited)):
            headers = [*usual, (b"authorization", f"Bearer {token}".encode())]
            print(f"{name:15} {measured(engine, headers):.2f} us")
        engine.close()


if __name__ == "__main__":
    main()
