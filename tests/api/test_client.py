"""One client, whether a server holds the data directory, or nobody does."""

import pytest

from api.client import connect
from api.engine import Engine
from api.settings import Settings
from ingest.errors import DataDirectoryLocked


def test_without_a_server_the_application_answers_in_this_process(settings: Settings) -> None:
    with connect(settings) as client:
        assert client.put("/v1/customers/acme", json={}).status_code == 200
    with connect(settings) as client:
        assert client.get("/v1/customers/acme").json()["key"] == "acme"


def test_a_directory_held_without_a_server_is_said_to_be_in_use(settings: Settings) -> None:
    engine = Engine.open(settings)
    with pytest.raises(DataDirectoryLocked, match="in use by another process"), connect(settings):
        pass
    engine.close()
