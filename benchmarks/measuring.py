"""What the benchmarks share: figures and how they are printed, the machine beside them, and a lean HTTP load."""

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Figure:
    """One measured number. `baseline` is of the same run and unit; `ratio` is figure / baseline."""

    figure: float
    unit: str
    baseline: float
    ratio: float
    target: str
    met: bool


def figure(value: float, unit: str, baseline: float, target: str, met: bool) -> Figure:
    return Figure(_short(value), unit, _short(baseline), _short(value / baseline), target, met)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def machine() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {system}"


def main(
    description: str,
    measure: Callable[[bool], dict[str, Figure]],
    soak: Callable[[float], dict[str, Figure]] | None = None,
) -> None:
    """Run `measure(quick)`, or `soak(minutes)` where that is asked for, and print the figures, as a table or as one
    JSON object."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="smaller, under 60 seconds")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    if soak is not None:
        text = "instead: so many minutes (10) under load, half a minute with --quick"
        parser.add_argument("--soak", metavar="MINUTES", type=float, nargs="?", const=10.0, help=text)
    given = parser.parse_args()
    minutes: float | None = getattr(given, "soak", None)
    if soak is not None and minutes is not None:
        figures = soak(0.5 if given.quick else minutes)
    else:
        figures = measure(given.quick)
    if given.json:
        print(json.dumps({**{key: asdict(f) for key, f in figures.items()}, "machine": machine()}, indent=2))
        return
    print(machine())
    print(f"{'':24}{'figure':>14} {'unit':<12}{'baseline':>14}{'ratio':>8}  target")
    for key, f in figures.items():
        met = "met" if f.met else "MISSED"
        print(f"{key:24}{f.figure:>14,.6g} {f.unit:<12}{f.baseline:>14,.6g}{f.ratio:>8.3g}  {f.target} {met}")


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def request(path: str, body: bytes, content_type: str) -> bytes:
    """An HTTP/1.1 POST as it goes over the wire."""
    headers = ["host: localhost", f"content-type: {content_type}", f"content-length: {len(body)}"]
    return "\r\n".join([f"POST {path} HTTP/1.1", *headers, "\r\n"]).encode() + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()


@dataclass(frozen=True)
class Load:
    """Seconds from the first byte out to the last answer in; of each answer its seconds and what was kept of it."""

    seconds: float
    latencies: list[float]
    bodies: list[bytes]

    def quantile(self, q: float) -> float:
        return sorted(self.latencies)[min(int(q * len(self.latencies)), len(self.latencies) - 1)]


def send(url: str, requests: Iterable[bytes], *, connections: int, keep: Callable[[bytes], bytes] = bytes) -> Load:
    """Send all requests over so many keep-alive connections, each waiting for its answer. Raises on any non-2xx.

    `keep` says what is kept of each body: in a long run all of them would fill the memory.
    """
    host, port = url.removeprefix("http://").split(":")
    return asyncio.run(_send(host, int(port), requests, connections, keep))


async def _send(
    host: str, port: int, requests: Iterable[bytes], connections: int, keep: Callable[[bytes], bytes]
) -> Load:
    waiting = iter(requests)
    latencies: list[float] = []
    bodies: list[bytes] = []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        for one in waiting:
            begun = time.perf_counter()
            writer.write(one)
            await writer.drain()
            status, body = await _answer(reader)
            latencies.append(time.perf_counter() - begun)
            bodies.append(keep(body))
            if not 200 <= status < 300:
                raise RuntimeError(f"{status}: {body[:500]!r}")
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(connections)))
    return Load(time.perf_counter() - begun, latencies, bodies)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length)
