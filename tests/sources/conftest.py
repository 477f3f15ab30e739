"""A real broker on a loopback port of its own, with its store in a temporary directory."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

START_SECONDS = 20


SHARDS = 'mappings = { "metered.*": "shard.{{partition(2,1)}}.{{wildcard(1)}}" }'
"""The configuration of docs/sources.md: what is published at metered.CUSTOMER is in one of two shards for good."""


class Broker:
    """A child process `nats-server`; started again it has the same port and the same store."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = -1
        (directory / "config").write_text(SHARDS)
        self.start()

    def start(self) -> None:
        config, store, log = (str(self.directory / name) for name in ("config", "store", "log"))
        command = ["nats-server", "-c", config, "-js", "-sd", store, "-l", log]
        command += ["-a", "127.0.0.1", "-p", str(self.port), "--ports_file_dir", str(self.directory)]
        self.process = subprocess.Popen(command)
        ports = self.directory / f"nats-server_{self.process.pid}.ports"
        for _ in range(START_SECONDS * 50):
            if ports.exists() and (text := ports.read_text()):
                break
            time.sleep(0.02)
        self.url: str = json.loads(text)["nats"][0]
        self.port = int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    if shutil.which("nats-server") is None:
        pytest.skip("nats-server is not installed: apt-get install nats-server")
    directory = tmp_path / "broker"
    directory.mkdir()
    running = Broker(directory)
    yield running
    running.process.kill()
    running.process.wait()
