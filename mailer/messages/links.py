"""Signed links that unsubscribe whoever holds them. Pure.

A link's last part is a token: the user id, a dot and its signature. In messages of a campaign a second dot follows, and
the campaign's id with a signature of its own. The token before it is the same as it always was. So each version reads
the links of every other, and a mail program that cuts a link short costs the campaign at most, never the wish. The
second part is the same for all recipients, so a message costs no second signature. Whoever puts two links together
can only say of themselves that they came by another campaign, and that is compared with its recipients.
"""

from __future__ import annotations

import binascii
import hmac
import html
import quopri
import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from urllib.parse import unquote

from itsdangerous import BadSignature, Signer
from itsdangerous.encoding import base64_decode
from itsdangerous.exc import BadData
from itsdangerous.signer import SigningAlgorithm
from typing_extensions import override

from mailer.text import INVISIBLE_CLASS

PATH = "/mailer/unsubscribe/"
# Ids for links that belong to no user. No user's id has a control character, so that these are never taken for one.
NOBODY = "dry-run\x7f"  # for a dry run whose From address belongs to no user
PREVIEW = "preview\x7f"

_SITE_URL = re.compile(r"https?://[!-;=?-~]+")
_SALT = b"mailer.unsubscribe"
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
MAX_TOKEN = 4400  # characters: an id of 255 takes at most 1,429, and three times as many where a program encoded each

# The signature has 43 characters. What a mail program appended begins with a character that no token has, or - or _.
_TOKEN = re.compile(r"[^A-Za-z0-9_-]*([A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43})[_-]*(?![A-Za-z0-9_-])")
_CAUSE = re.compile(r"\.([A-Za-z0-9_-]{10,96})(?![A-Za-z0-9_-])|\.([A-Za-z0-9_-]{24})")
_ID = re.compile(r"[0-9a-f]{23}")  # of every campaign that was accepted; 12 octets hold it
_MAC_SIZE = 6  # octets: whoever guesses right has named a wrong campaign for a wish of their own
_invisible = re.compile(f"{INVISIBLE_CLASS}+")
_foreign = re.compile(r"[^A-Za-z0-9_.-]+")


def is_nobody(user_id: str) -> bool:
    """Whether an id is one of a dry run's, for an address that no user has: `NOBODY`, alone or with a number."""
    return user_id.startswith(NOBODY)


class Links:
    """Makes and reads unsubscribe links: HMAC-SHA-256, valid as long as the key is known."""

    def __init__(self, keys: Sequence[str], site_url: str) -> None:
        """`keys` are secret: the first signs, all verify. Raises ValueError without a key or an http(s) address."""
        if not keys or not all(keys) or not _SITE_URL.fullmatch(site_url):
            raise ValueError("unsubscribe links need a key and an ASCII http(s) address")
        self.fingerprints = [fingerprint(key) for key in keys]
        self._macs = [_KeyedHMAC(_derived(key)) for key in keys]
        self._signers = [Signer(b"derived", key_derivation="none", algorithm=mac) for mac in self._macs]
        self._prefix = site_url.rstrip("/") + PATH

    def link(self, user_id: str, cause: str = "") -> str:
        """Give the address of the page on which the user `user_id` unsubscribes; `NOBODY` and `PREVIEW` have one.

        `cause` names the campaign whose message has the link, as the method of that name gives it.
        """
        payload = _base64(user_id.encode())
        return f"{self._prefix}{payload.decode()}.{_base64(self._macs[0].get_signature(b'', payload)).decode()}{cause}"

    def cause(self, campaign_id: str) -> str:
        """Give what stands behind the token in every link of one campaign: made once, and 25 characters for its id."""
        packed = packed_campaign(campaign_id)
        return f".{_base64(_shortened(self._macs[0], packed) + packed).decode()}"

    def read(self, token: str) -> str | None:
        """Give the user id for which a link's last part was made; None for a token that this service did not sign.

        Mail programs append to links, wrap them and encode them once more. That is undone first; what is left must be a
        token as it was signed, to the last character.
        """
        for candidate in dict.fromkeys(_candidates(token)):
            user_id = self._verified(candidate)
            if user_id is not None:
                return user_id
        return None

    def campaign(self, token: str) -> str | None:
        """Give the id of the campaign that a link's last part names; None where it names none that is signed.

        Links of earlier versions name none, and those that were cut short name none any more.
        """
        for candidate, behind in _candidates_and_rest(token):
            if self._verified(candidate) is None:
                continue
            found = _CAUSE.match(behind)
            for text in (found[1], found[1] and found[1][:24], found[2]) if found else ():
                campaign_id = self._verified_campaign(text) if text else None
                if campaign_id is not None:
                    return campaign_id
        return None

    def _verified_campaign(self, text: str) -> str | None:
        try:
            octets = base64_decode(text)
        except BadData:
            return None
        mac, packed = octets[:_MAC_SIZE], octets[_MAC_SIZE:]
        signed = any(hmac.compare_digest(mac, _shortened(one, packed)) for one in self._macs)
        return unpacked_campaign(packed) if signed else None

    def signed_by(self, token: str) -> str | None:
        """Give the fingerprint of the key that signed a link's last part, read as `read` does; None: none of ours."""
        for candidate in dict.fromkeys(_candidates(token)):
            for name, signer in zip(self.fingerprints, self._signers, strict=True):
                if signer.validate(candidate):
                    return name
        return None

    def _verified(self, token: str) -> str | None:
        for signer in self._signers:
            try:
                return base64_decode(signer.unsign(token)).decode()
            except BadSignature:
                continue
            except (BadData, UnicodeError):
                return None
        return None


class PreviewLinks(Links):
    """Makes links that lead to the page and belong to nobody, for messages that do not go to their recipients."""

    @override
    def link(self, user_id: str, cause: str = "") -> str:
        """Give the address of the page as a preview has it, whoever `user_id` is."""
        del user_id, cause
        return super().link(PREVIEW)


def fingerprint(key: str) -> str:
    """What tells a key from others and does not tell the key: 16 hexadecimal digits."""
    return sha256(b"fingerprint of " + _derived(key)).hexdigest()[:16]


def _candidates(text: str) -> Iterator[str]:
    """The tokens that `text` may have been before mail programs changed it, the likeliest first."""
    return (token for token, _ in _candidates_and_rest(text))


def _candidates_and_rest(text: str) -> Iterator[tuple[str, str]]:
    """The same, each with what stands behind it."""
    for reading in _readings(text[:MAX_TOKEN]):
        found = _TOKEN.match(reading)
        if found:
            yield found[1], reading[found.end(1) :]


def packed_campaign(campaign_id: str) -> bytes:
    """The id in 12 octets, of which the first is below 16, as no other id's is."""
    return bytes.fromhex(f"0{campaign_id}") if _ID.fullmatch(campaign_id) else campaign_id.encode()


def unpacked_campaign(packed: bytes) -> str:
    """The id that `packed_campaign` has packed."""
    return packed.hex()[1:] if packed[:1] < b"\x10" else packed.decode()


def _shortened(mac: SigningAlgorithm, packed: bytes) -> bytes:
    """A short signature of a campaign's id. No user's token has an octet that is no letter, so it is none of theirs."""
    return mac.get_signature(b"", b"campaign\0" + packed)[:_MAC_SIZE]


def _readings(text: str) -> Iterator[str]:
    yield text
    decoded = html.unescape(unquote(unquote(text)))
    joined = _invisible.sub("", decoded)
    yield joined
    yield _invisible.sub("", _unquoted(decoded))
    yield joined.replace("=", "")
    yield _foreign.sub("", joined)  # wrapped, with marks of a quotation before each line


def _unquoted(text: str) -> str:
    """`text` decoded from quoted-printable (RFC 2045 section 6.7), which some programs leave in links."""
    return quopri.decodestring(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")


def _derived(key: str) -> bytes:
    return Signer(key, salt=_SALT, key_derivation="hmac", digest_method=sha256).derive_key()


def _base64(octets: bytes) -> bytes:
    """The same as itsdangerous' `base64_encode`, in two calls."""
    return binascii.b2a_base64(octets, newline=False).translate(_URL_SAFE, b"=")


class _KeyedHMAC(SigningAlgorithm):
    """HMAC-SHA-256 (RFC 2104) with one key, which is hashed once and not for each link; any other key is ignored."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod="sha256")

    @override
    def get_signature(self, key: bytes, value: bytes) -> bytes:
        mac = self._keyed.copy()
        mac.update(value)
        return mac.digest()
