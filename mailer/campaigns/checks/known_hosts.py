"""Hosts that are known for something a sender should know: mailbox providers, and services that shorten addresses.

The providers are those whose domains anybody's address may have, and which say (in DMARC, RFC 7489, or in their rules
for senders) that mail from these domains comes from their own servers alone: Yahoo and AOL publish `p=reject` since
2014, Google asks in its rules for senders of mail not to write as Gmail, and Microsoft refuses large senders whose From
does not align. The shorteners are those that SpamAssassin's plugin DecodeShortURLs knows as open to everybody, and that
are much in use.
"""

from __future__ import annotations

_OUTLOOK = (
    "outlook.com",
    "hotmail.com",
    "live.com",
    "msn.com",
    "hotmail.de",
    "outlook.de",
    "hotmail.co.uk",
    "hotmail.fr",
)
_PROVIDERS = {
    "gmail.com": ("gmail.com", "googlemail.com"),
    "google.com": ("gmail.com", "googlemail.com"),
    "yahoo.com": (
        "yahoo.com",
        "yahoo.de",
        "yahoo.co.uk",
        "yahoo.fr",
        "yahoo.com.br",
        "yahoo.co.jp",
        "ymail.com",
        "rocketmail.com",
    ),
    "yahoodns.net": ("yahoo.com", "ymail.com", "rocketmail.com", "aol.com", "aim.com"),
    "aol.com": ("aol.com", "aim.com"),
    "office365.com": _OUTLOOK,
    "outlook.com": _OUTLOOK,
    "me.com": ("icloud.com", "me.com", "mac.com"),
    "gmx.net": ("gmx.de", "gmx.net", "gmx.at", "gmx.ch"),
    "web.de": ("web.de",),
    "t-online.de": ("t-online.de",),
    "proton.me": ("proton.me", "protonmail.com", "pm.me"),
    "mail.ru": ("mail.ru", "bk.ru", "inbox.ru", "list.ru"),
    "yandex.ru": ("yandex.ru", "yandex.com"),
    "zoho.com": ("zohomail.com",),
}  # the end of the names of servers that take mail from their customers, and the domains of these
SHORTENERS = frozenset(
    (
        "bit.ly",
        "bitly.com",
        "j.mp",
        "tinyurl.com",
        "t.co",
        "goo.gl",
        "ow.ly",
        "is.gd",
        "v.gd",
        "buff.ly",
        "rebrand.ly",
        "cutt.ly",
        "rb.gy",
        "tiny.cc",
        "t.ly",
        "bl.ink",
        "shorturl.at",
        "short.io",
        "adf.ly",
        "lnkd.in",
        "dlvr.it",
        "trib.al",
        "tr.im",
        "su.pr",
        "snip.ly",
        "soo.gd",
        "s.id",
        "u.to",
        "x.co",
        "qr.ae",
        "ity.im",
        "clck.ru",
    )
)
MAILBOX_PROVIDERS = frozenset(domain for domains in _PROVIDERS.values() for domain in domains)


def is_shortener(host: str) -> bool:
    """Whether everybody may have addresses shortened at `host`, so that filters know nothing good of them."""
    return host.lower().removeprefix("www.").rstrip(".") in SHORTENERS


def sends_for(server: str, domain: str) -> bool:
    """Whether a mail server is one by which a mailbox provider's customers send from `domain`."""
    server = server.lower().rstrip(".")
    return any(
        domain in domains and (server == end or server.endswith(f".{end}")) for end, domains in _PROVIDERS.items()
    )
