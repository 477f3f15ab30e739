"""Which addresses a webhook may be sent to: a URL is the caller's, and must not make us talk to our own network.

A name says nothing, for its owner can let it mean another address at any time. So the addresses themselves are judged,
at each delivery anew, and the connection is made to an address that was judged (never to the name again).
"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

URL_MAX = 2048
_PORTS = {"https": 443, "http": 80}
_GLOBAL_V6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_CGNAT = IPv4Network("100.64.0.0/10")
_TUNNELS = (IPv6Network("2001::/32"), IPv6Network("2002::/16"))  # hold an IPv4 address that nobody here can judge

Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host, as text. Raises OSError."""


class Forbidden(Exception):
    """The URL, or what its host means, is nothing that a webhook may be sent to; the message says why."""


@dataclass(frozen=True)
class Rules:
    """What webhooks may reach. `private` allows every address and port, `http` URLs without TLS."""

    private: bool
    http: bool
    ports: frozenset[int]


@dataclass(frozen=True)
class Target:
    """A URL in parts. `host` is as in the URL, without brackets; `authority` goes into the header Host."""

    is_tls: bool
    host: str
    port: int
    authority: str
    path: str


def target_of(url: str, rules: Rules) -> Target:
    """The parts of a URL that may be used as it is written. Raises Forbidden."""
    if len(url) > URL_MAX or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise Forbidden(f"a URL has at most {URL_MAX} printable ASCII characters, without spaces and backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Forbidden(f"{url!r} is no URL: {error}") from None
    if parts.scheme not in ("https", *(["http"] if rules.http else [])):
        raise Forbidden("the URL must begin with https://" + (" or http://" if rules.http else ""))
    if parts.username is not None or parts.password is not None:
        raise Forbidden("the URL must not hold a user or a password; the receiver checks the signature")
    if parts.fragment or not parts.hostname:
        raise Forbidden("the URL needs a host, and no fragment")
    port = _PORTS[parts.scheme] if port is None else port
    if not rules.private and port not in rules.ports:
        raise Forbidden(f"port {port} is not among {', '.join(map(str, sorted(rules.ports)))}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme == "https", parts.hostname, port, parts.netloc, path)


def addresses_of(target: Target, rules: Rules, resolve: Resolve) -> list[str]:
    """The addresses of a host, all of them such as may be connected to. Raises Forbidden, and OSError when the host has
    none."""
    found = list(dict.fromkeys(resolve(target.host, target.port)))
    if not found:
        raise OSError(f"{target.host} has no address")
    if not rules.private:
        refused = [address for address in found if not is_global(address)]
        if refused:
            raise Forbidden(f"{target.host} is {refused[0]}, which is no address of the public Internet")
    return found


def is_global(address: str) -> bool:
    """Whether an address is one of the public Internet, also where it is an IPv4 address in an IPv6 one."""
    try:
        known = ip_address(address)
    except ValueError:
        return False
    if isinstance(known, IPv4Address):
        return _is_global_v4(known)
    if known.ipv4_mapped is not None:
        return _is_global_v4(known.ipv4_mapped)
    if known in _NAT64:
        return _is_global_v4(IPv4Address(int(known) & 0xFFFFFFFF))
    return _is_global_v6(known)


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host by the system's resolver. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host} is no host name") from error
    return [str(address[0]) for *_, address in found]


def _is_global_v4(address: IPv4Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved or address in _CGNAT)


def _is_global_v6(address: IPv6Address) -> bool:
    if address not in _GLOBAL_V6 or any(address in tunnel for tunnel in _TUNNELS):
        return False
    return address.is_global and address.scope_id is None
