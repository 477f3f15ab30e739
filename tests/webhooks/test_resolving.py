"""Which URLs and addresses a webhook is sent to (RELIABILITY S9)."""

import pytest

from api.webhooks.resolving import Forbidden, Rules, addresses_of, is_global, resolved, target_of

STRICT = Rules(private=False, http=False, ports=frozenset({443, 8443}))
LOOSE = Rules(private=True, http=True, ports=frozenset())
PUBLIC = "93.184.215.14"

NOT_GLOBAL = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.255.254", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.0.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "2002:a9fe:a9fe::1",
    "fc00::1", "fd12:3456:789a::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "5f00::1", "nonsense",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_GLOBAL)
def test_an_address_that_is_not_of_the_public_internet_is_refused(address: str) -> None:
    assert not is_global(address)
    target = target_of("https://hooks.example.com/", STRICT)
    for found in ([address], [PUBLIC, address], [address, PUBLIC]):
        with pytest.raises(Forbidden, match="public Internet"):
            addresses_of(target, STRICT, lambda host, port, found=found: found)  # type: ignore[misc]


@pytest.mark.parametrize(
    "address", [PUBLIC, "8.8.8.8", "100.128.0.1", "172.32.0.1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111"]
)
def test_an_address_of_the_public_internet_is_allowed(address: str) -> None:
    assert is_global(address)


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "localhost", "[::1]", "[::ffff:7f00:1]"]
)
def test_other_ways_to_write_an_address_mean_the_same_address(host: str) -> None:
    with pytest.raises(Forbidden, match="public Internet"):
        addresses_of(target_of(f"https://{host}/", STRICT), STRICT, resolved)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://hooks.example.com/", "https://"),
        ("ftp://hooks.example.com/", "https://"),
        ("//hooks.example.com/", "https://"),
        ("hooks.example.com", "https://"),
        ("https://user:word@hooks.example.com/", "password"),
        ("https://@hooks.example.com/", "password"),
        ("https://hooks.example.com/#part", "fragment"),
        ("https:///path", "host"),
        ("https://hooks.example.com:22/", "port 22"),
        ("https://hooks.example.com:0/", "port 0"),
        ("https://hooks.example.com:99999/", "no URL"),
        ("https://[::1/", "no URL"),
        ("https://hooks.example.com/a b", "printable"),
        ("https://hooks.example.com\\@evil/", "backslashes"),
        ("https://hooks.example.com/\r\nX: y", "printable"),
        ("https://hööks.example.com/", "ASCII"),
        (f"https://hooks.example.com/{'a' * 2048}", "2048"),
    ],
)
def test_a_url_that_is_none_for_webhooks_is_refused(url: str, says: str) -> None:
    with pytest.raises(Forbidden, match=says):
        target_of(url, STRICT)


def test_a_url_is_taken_apart() -> None:
    target = target_of("https://Hooks.example.com:8443/a?b=c", STRICT)
    assert (target.host, target.port, target.path) == ("hooks.example.com", 8443, "/a?b=c")
    assert (target.authority, target.is_tls) == ("Hooks.example.com:8443", True)
    assert target_of("https://[2606:4700::1111]", STRICT).host == "2606:4700::1111"


def test_a_deployment_may_allow_more() -> None:
    target = target_of("http://127.0.0.1:9/", LOOSE)
    assert addresses_of(target, LOOSE, resolved) == ["127.0.0.1"]


def test_a_host_without_addresses_is_no_host() -> None:
    with pytest.raises(OSError, match="no address"):
        addresses_of(target_of("https://hooks.example.com/", STRICT), STRICT, lambda host, port: [])
