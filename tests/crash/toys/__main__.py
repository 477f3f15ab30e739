"""A toy server on TALLYSTICK_DATA, `python -m tests.crash.toys KIND`: with as much HTTP as the crash harness speaks."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.crash.toys.stores import Log, Row, Sqlite, open_store


class Handler(BaseHTTPRequestHandler):
    """POST takes a batch of CloudEvents, GET gives the totals by subject, PUT is content with any catalog."""

    protocol_version = "HTTP/1.1"
    store: Log | Sqlite

    def do_POST(self) -> None:
        rows: list[Row] = [
            (event["id"], event["subject"], event["data"]["quantity"]) for event in json.loads(self._body())
        ]
        added = self.store.add(rows)
        self._answer({"accepted": added, "duplicates": len(rows) - added})

    def do_GET(self) -> None:
        items = [
            {"group": {"subject": subject}, "quantity": total, "events": events}
            for subject, total, events in self.store.totals()
        ]
        self._answer({"items": items})

    def do_PUT(self) -> None:
        self._body()
        self._answer({})

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["content-length"]))

    def _answer(self, answer: object) -> None:
        content = json.dumps(answer).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        self.wfile.write(head.encode() + content)


class Toy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


if __name__ == "__main__":
    Handler.store = open_store(Path(os.environ["TALLYSTICK_DATA"]), sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with Toy(("127.0.0.1", 0), Handler) as server:
        print(f"a toy at http://127.0.0.1:{server.server_port}", file=sys.stderr, flush=True)
        server.serve_forever()
