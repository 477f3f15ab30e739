"""Who gets the webhooks of the dashboard's demonstration: it takes most of them, and now and then has a bad minute."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

FAILS_EVERY = 7


class _Receiver(BaseHTTPRequestHandler):
    taken = 0

    def do_POST(self) -> None:  # as http.server calls it
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        type(self).taken += 1
        self.send_response(503 if self.taken % FAILS_EVERY == 0 else 204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


@contextmanager
def running_receiver() -> Iterator[str]:
    """Listen on a free port of this machine; gives the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hooks/billing"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
