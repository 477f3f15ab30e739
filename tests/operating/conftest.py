"""A command line in this process, and a clock that stands still."""

from tests.api.conftest import client, engine, settings, sold
from tests.cli.conftest import run

__all__ = ["client", "engine", "run", "settings", "sold"]
