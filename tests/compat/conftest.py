"""One real server for the clients of a module: started with the catalog, and with `acme` on a plan."""

from collections.abc import Iterator

import pytest

from tests.api.test_server import Server, sell


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("compat") / "data")
    sell(running)
    yield running
    running.process.kill()
    running.process.communicate()
