"""The server as it is shipped, whose threads take turns as often as they can."""

from api import server
from api.settings import Settings

if __name__ == "__main__":
    server.SWITCH_SECONDS = 1e-6
    server.serve(Settings())
