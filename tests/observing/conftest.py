"""The application of tests/api on a real directory."""

from tests.api.conftest import client as client
from tests.api.conftest import engine as engine
from tests.api.conftest import settings as settings
from tests.api.conftest import sold as sold
