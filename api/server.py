"""Serve a data directory over HTTP: one process, one event loop, until a signal ends it."""

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import uvicorn

from api.access.unsafe import BAD_SETTINGS, PRIVATE_UMASK, Unsafe, refuse_unsafe
from api.app import create_app
from api.engine import Engine
from api.http_protocol import BoundedProtocol, connections_max, end_overdue
from api.observing.logs import configure_logs
from api.observing.tracing import configure_tracing
from api.security_headers import EVERYWHERE
from api.settings import Settings
from api.starting import Starting

DISK_FAILED = 70  # exit code: nothing more is acknowledged until the process has started again (RELIABILITY R4)
GRACE_SECONDS = 30
KEEP_ALIVE_SECONDS = 75
SWITCH_SECONDS = 0.001  # after which a thread must let another run; Python's 5 ms are what an event waits at each step
GARBAGE_OBJECTS = 10_000  # new ones between two looks for cycles; Python's 700 are less than one batch makes


def _say(url: str, settings: Settings) -> None:
    print(f"tallystick serves {settings.data.absolute()} at {url}", file=sys.stderr, flush=True)


def serve(settings: Settings, *, announce: Callable[[str, Settings], None] = _say) -> None:
    """Open the data directory, listen, and say where; returns after SIGTERM or SIGINT with everything written.

    Raises OSError when the address is taken, Unsafe, and what Engine.open raises, before anything is answered. Exits
    with DISK_FAILED when the log cannot be written any more; what it has acknowledged is safe, the next start recovers
    it.
    """
    configure_logs(settings.log_level, settings.log_format)
    if settings.tracing:
        configure_tracing()
    os.umask(PRIVATE_UMASK)
    sys.setswitchinterval(SWITCH_SECONDS)
    with closing(_listening(settings)) as listening:
        host, port = listening.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        with Starting(listening):
            engine = Engine.open(settings, url=url)
        try:
            refuse_unsafe(settings, engine.access)
        except Unsafe:
            engine.close()
            raise
        server = _server(settings, engine)
        engine.signalling.start()
        engine.access.start()
        _rest_what_stays()
        with _rate_limits(settings, engine):
            announce(url, settings)
            _run(server, listening)
        if engine.failure is not None:
            sys.exit(DISK_FAILED)
        engine.close()


@contextmanager
def _rate_limits(settings: Settings, engine: Engine) -> Iterator[None]:
    """Envoy's rate limit service meanwhile, where a port is set for it. Raises OSError when that is taken, ImportError
    without the packages that it needs."""
    if settings.ratelimit_port is None:
        yield
        return
    from api.gateways.envoy_rate_limit import serve_rate_limits

    with closing(serve_rate_limits(engine, settings.host, settings.ratelimit_port)):
        yield


def _rest_what_stays() -> None:
    """Modules, routes and models stay until the end: looking through them again and again would stop every thread for
    40 ms at a time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)


def _run(server: uvicorn.Server, listening: socket.socket) -> None:
    """Until a signal ends it. Uvicorn then raises that signal again, which must not end us before all is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    server.run(sockets=[listening])


def _listening(settings: Settings) -> socket.socket:
    """Bound before the engine opens, so that the lock file can say where the server is; 0 takes a free port."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=2048)


def _server(settings: Settings, engine: Engine) -> uvicorn.Server:
    async def look_after() -> None:
        server.should_exit = server.should_exit or engine.failure is not None
        end_overdue(server.server_state.connections)

    BoundedProtocol.connections_max = connections_max()

    config = uvicorn.Config(
        create_app(settings, engine=engine),
        http=BoundedProtocol,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        headers=EVERYWHERE,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        callback_notify=look_after,
        timeout_notify=1,
    )
    server = _Server(config, engine)
    return server


class _Server(uvicorn.Server):
    """Ends the streams first: they would keep their connections open until the end of GRACE_SECONDS."""

    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._engine.signalling.streams.end()
        await super().shutdown(sockets)


def _main() -> None:
    try:
        serve(Settings())
    except Unsafe as error:
        print(f"tallystick: {error}", file=sys.stderr)
        sys.exit(BAD_SETTINGS)


if __name__ == "__main__":
    _main()
