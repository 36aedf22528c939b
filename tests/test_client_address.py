"""Whose address a request is held against: a table of proxies, peers and headers."""

import pytest

from mailer.callers.client_address import TrustedProxies

CASES = {
    "nobody is trusted": ((), "10.0.0.1", "1.2.3.4", "10.0.0.1"),
    "loopback is not trusted by itself": ((), "127.0.0.1", "1.2.3.4", "127.0.0.1"),
    "a stranger": (("10.0.0.0/8",), "9.9.9.9", "1.2.3.4", "9.9.9.9"),
    "one proxy": (("10.0.0.1",), "10.0.0.1", "1.2.3.4", "1.2.3.4"),
    "rightmost that is no proxy": (("10.0.0.0/8",), "10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
    "what the client made up": (("10.0.0.1",), "10.0.0.1", "127.0.0.1, 1.2.3.4", "1.2.3.4"),
    "all are proxies": (("10.0.0.0/8",), "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
    "no header": (("10.0.0.1",), "10.0.0.1", "", "10.0.0.1"),
    "no address": (("10.0.0.1",), "10.0.0.1", "1.2.3.4, unknown", "10.0.0.1"),
    "no address before a proxy": (("10.0.0.0/8",), "10.0.0.1", "<script>, 10.0.0.2", "10.0.0.2"),
    "with a port": (("10.0.0.1",), "10.0.0.1", "1.2.3.4:5678", "1.2.3.4"),
    "IPv6": (("::1",), "::1", "2001:db8::7", "2001:db8::7"),
    "IPv6 with a port": (("::1",), "::1", "[2001:DB8::7]:443", "2001:db8::7"),
    "IPv6 in another spelling": (("2001:db8::/32",), "2001:db8::1", "1.2.3.4, 2001:0db8:0:0::9", "1.2.3.4"),
    "IPv4 in IPv6": (("10.0.0.0/8",), "::ffff:10.0.0.1", "::ffff:1.2.3.4", "1.2.3.4"),
    "unix socket": (("unix",), "", "1.2.3.4", "1.2.3.4"),
    "unix socket that is not trusted": (("10.0.0.1",), "", "1.2.3.4", ""),
    "unix is no address": (("unix",), "10.0.0.1", "1.2.3.4", "10.0.0.1"),
}


@pytest.mark.parametrize(("trusted", "peer", "forwarded", "client"), CASES.values(), ids=CASES)
def test_client_is_the_rightmost_that_is_no_trusted_proxy(
    trusted: tuple[str, ...], peer: str, forwarded: str, client: str
) -> None:
    assert TrustedProxies(trusted).client(peer, forwarded) == client
