"""The server as it is shipped, whose threads take turns as often as they can."""

import sys

from api.server import serve
from api.settings import Settings

if __name__ == "__main__":
    sys.setswitchinterval(1e-6)
    serve(Settings())
