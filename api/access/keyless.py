"""Before there is a key: this machine is served, and nobody else.

A request of this machine may still be somebody else's. A page of another site in a browser here can send one (it has an
`Origin`), or have its own name resolve to 127.0.0.1 (then the `Host` is that name); a proxy here passes on what it is
sent (most say so in a header field). All of these are refused. A proxy that leaves no trace cannot be seen: so a key
comes before a proxy. Gateways ask in the name of their clients, with any of these fields: their one question, which
tells of a quota and changes nothing, is let through.
"""

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import Scope

from api.access.caller import LOCAL, Caller
from api.access.errors import NotAllowed, NotAuthenticated

_CREATE = "make a key with `tallystick keys create`, and send it as `Authorization: Bearer tsk_...`"
_PROXIED = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via"})


def caller_of_machine(scope: Scope, *, is_gateway: bool) -> Caller:
    """The caller while there is no key. Raises NotAuthenticated and NotAllowed."""
    client = scope.get("client")
    is_here, is_network = _place(client[0] if client else "")
    if not is_here:
        raise NotAuthenticated(f"without a key only this machine is served: {_CREATE}")
    if is_network and not is_gateway:
        _refuse_strangers(scope)
    return LOCAL


def is_loopback(host: str) -> bool:
    """Whether an address or a name is this machine for sure: nothing is looked up."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


@lru_cache(maxsize=1024)
def _place(client: str) -> tuple[bool, bool]:
    """Whether a client is on this machine, and whether it came over a network: one in this process has a name there
    that is no address."""
    if client == "":
        return False, True
    try:
        ip_address(client)
    except ValueError:
        return True, False
    return is_loopback(client), True


def _refuse_strangers(scope: Scope) -> None:
    for name, value in scope["headers"]:
        if name == b"host":
            if not _is_ours(value):
                raise NotAllowed(f"without a key requests are for localhost or 127.0.0.1: {_CREATE}")
        elif name == b"origin":
            if not _is_here(value):
                raise NotAllowed(f"without a key no other site's requests are served: {_CREATE}")
        elif name in _PROXIED:
            raise NotAllowed(f"without a key nothing that comes through a proxy is served: {_CREATE}")


@lru_cache(maxsize=1024)
def _is_ours(host: bytes) -> bool:
    """Also a name without a dot, as machines of one network have: nobody can have such a name on the Internet."""
    return _is_here(b"//" + host) or not (set(b".:[") & set(host.partition(b":")[0]) or host[:1] == b"[")


@lru_cache(maxsize=1024)
def _is_here(url: bytes) -> bool:
    try:
        return is_loopback(urlsplit(url.decode("latin-1")).hostname or "")
    except ValueError:
        return False
