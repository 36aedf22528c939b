"""`dkim:(smtp://…)?key_file=…&selector=…&domain=…` signs each message and hands it to the transport in parentheses.

A message whose author's domain has no key that is in force is refused, unless `without_key=send`. The refusal is about
the sender: the campaign rests and says why, nobody's attempts are used up, and it goes on once there is a key. Unsigned
bulk mail would be refused by its receivers, or filed as spam, and the domain's name would suffer for long.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from operator import length_hint
from typing import Self

from typing_extensions import override

from transports.around import TransportAround
from transports.base import (
    About,
    Message,
    Outcome,
    Status,
    Transport,
    TransportConfigError,
    TransportUnavailable,
    vouched_message,
)
from transports.dkim.fields import author_domain
from transports.dkim.key_files import ADVISED
from transports.dkim.key_table import OPTIONS, keys_from, sends_unsigned
from transports.dkim.keys import RSA, KeyRing, SigningKey
from transports.dkim.signature import MessageFormatError, MessageSigner, trial
from transports.options import Options, shown_options, split_group, split_url
from transports.registry import from_url, shown_url

DAY = 86_400.0  # seconds

log = logging.getLogger(__name__)


class DKIMTransport(TransportAround):
    """Signs what `inner` carries. `lifetime` is that of a signature in seconds, 0 for one without an end."""

    def __init__(
        self,
        inner: Transport,
        keys: KeyRing,
        *,
        lifetime: int = 0,
        sends_unsigned: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(inner)
        self._keys = keys
        self._lifetime = lifetime
        self._sends_unsigned = sends_unsigned
        self._clock = clock

    @classmethod
    @override
    def from_url(cls, url: str) -> Self:
        """Build from `dkim:(url)?key_file=…&selector=…&domain=…` or `dkim:(url)?keys=…`; sign a trial with each key."""
        parts = split_url(url)
        options = Options(parts.scheme, parts.query, OPTIONS)
        urls = split_group(parts.scheme, parts.rest)
        if len(urls) != 1:
            raise TransportConfigError(f"{parts.scheme}: needs one URL in the parentheses, which may be a group")
        lifetime = int(options.duration("expires", 0.0, 3600.0, 90 * DAY))
        unsigned = sends_unsigned(options)
        keys = keys_from(options)
        for key in keys.keys:
            _examine(key)
        return cls(from_url(urls[0]), keys, lifetime=lifetime, sends_unsigned=unsigned)

    @classmethod
    @override
    def shown(cls, url: str) -> str:
        """With the transport in it as that one shows itself. Where the keys are is no secret."""
        try:
            parts = split_url(url)
            inner = " ".join(map(shown_url, split_group(parts.scheme, parts.rest)))
        except TransportConfigError:
            return super().shown(url)
        return f"{parts.scheme}:({inner}){shown_options(parts.query, OPTIONS)}"

    @override
    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        """Send in runs, each up to a message that cannot be signed, whose outcome comes in its place."""
        source = _Signed(messages, self._signed)
        while True:
            yield from self._inner.send(source)
            refusal = source.take_refusal()
            if refusal is None:
                return
            yield refusal

    @override
    def check(self) -> None:
        if not self._sends_unsigned and not self._keys.any_in_force(self._clock()):
            raise TransportUnavailable("dkim: no key is in force today")
        super().check()

    def _signed(self, message: Message) -> Message | Outcome:
        """The message with its signatures before it, or why it cannot have any."""
        try:
            signer = MessageSigner(message.content)
        except MessageFormatError:
            return Outcome(message.id, Status.REFUSED, "not signed: its header cannot be read")
        authors = signer.values(b"from")
        domain = author_domain(authors[0]) if len(authors) == 1 else None
        keys = self._keys.signing(domain, self._clock()) if domain else ()
        if not keys:
            return message if self._sends_unsigned else _refusal(message, domain)
        fields = [signer.signature(key, self._lifetime) for key in keys]
        return _with_content(message, b"".join([*fields, message.content]))


class _Signed(Iterator[Message]):
    """The messages, signed, up to one that is refused; once its outcome is taken, those after it."""

    def __init__(self, messages: Iterable[Message], sign: Callable[[Message], Message | Outcome]) -> None:
        self._messages = iter(messages)
        self._sign = sign
        self._refusal: Outcome | None = None

    @override
    def __next__(self) -> Message:
        if self._refusal is not None:
            raise StopIteration
        signed = self._sign(next(self._messages))
        if isinstance(signed, Message):
            return signed
        self._refusal = signed
        raise StopIteration

    def take_refusal(self) -> Outcome | None:
        """The outcome of the message that stopped the run, if one did."""
        refusal, self._refusal = self._refusal, None
        return refusal

    def __length_hint__(self) -> int:
        return 0 if self._refusal is not None else length_hint(self._messages, 1)


def _refusal(message: Message, domain: str | None) -> Outcome:
    reply = f"not signed: no DKIM key for {domain} is in force" if domain else "not signed: From names no single author"
    return Outcome(message.id, Status.REFUSED, reply, About.SENDER)


def _with_content(message: Message, content: bytes) -> Message:
    """A copy with the signatures, which have nothing in them but what a message is vouched not to have."""
    make = vouched_message if message.vouched else Message
    return make(message.id, message.sender, message.recipient, content)


def _examine(key: SigningKey) -> None:
    trial(key)
    if key.algorithm == RSA and key.bits < ADVISED:
        log.warning("dkim: %s has %d bits; receivers ask for %d", key.name, key.bits, ADVISED)
