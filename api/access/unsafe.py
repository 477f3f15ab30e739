"""Settings that a server does not start with, because others could read or change what is not theirs."""

import stat

from sqlalchemy.engine import make_url

from api.access.access import Access
from api.access.keyless import is_loopback
from api.settings import Settings

BAD_SETTINGS = 78
"""Exit code (EX_CONFIG): starting again does not help."""
PRIVATE_UMASK = 0o077
"""Files of the data directory are for the user of the server alone."""
_OTHERS = stat.S_IRWXO


class Unsafe(Exception):
    """The server does not start; the message says what to do."""


def refuse_unsafe(settings: Settings, access: Access) -> None:
    """Raises Unsafe."""
    if access.is_keyless and not is_loopback(settings.host):
        raise Unsafe(
            f"without a key only this machine is served, and {settings.host} is reached by others: make a key first "
            f"with `tallystick keys create --scope admin --data {settings.data}`, or serve at 127.0.0.1"
        )
    url = make_url(settings.database)
    if url.get_backend_name() != "sqlite" or url.database is None:
        return
    path = settings.data.__class__(url.database)
    if path.exists() and path.stat().st_mode & _OTHERS:
        raise Unsafe(f"everybody on this machine can open {path}, which holds secrets: chmod 600 {path}")
