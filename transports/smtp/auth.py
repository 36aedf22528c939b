"""Logging in (RFC 4954): PLAIN, LOGIN, CRAM-MD5 and XOAUTH2, each as a function from challenge to response."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from transports.base import TransportError
from transports.smtp.replies import Reply
from transports.smtp.wire import ConnectionLost

Responder = Callable[[bytes], bytes]  # from the server's challenge, b"" at first, to what to answer
Ask = Callable[[str], Reply]  # sends one line, returns the reply

PASSWORD_MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")  # in order of preference; the connection is private or loopback
INITIAL = frozenset({"PLAIN", "XOAUTH2"})  # those that speak first
REFUSED = frozenset({504, 534, 535})  # RFC 4954 section 6: not this mechanism, too weak, not these credentials
MAX_CHALLENGES = 4
TOKEN_SECONDS = 30.0


class LoginTrouble(TransportError):
    """There can be no login; the text says why and holds no secret."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in and with what. `mechanism` is empty for the best one offered."""

    user: str
    password: str = field(default="", repr=False)
    mechanism: str = ""
    token_file: str = ""
    token_command: str = field(default="", repr=False)

    def secret(self) -> str:
        """The password, or a token that is read anew each time. Raises `LoginTrouble` if there is none."""
        if self.mechanism != "XOAUTH2":
            return self.password
        token = self._read_token().strip()
        if not token or not token.isascii() or not token.isprintable():
            raise LoginTrouble("the access token is empty or not one line of text")
        return token

    def _read_token(self) -> str:
        try:
            if self.token_file:
                return Path(self.token_file).read_text(encoding="utf-8")
            return _run(self.token_command)
        except (OSError, UnicodeError) as error:
            raise LoginTrouble(
                f"cannot read the access token: {getattr(error, 'strerror', None) or 'not UTF-8'}"
            ) from error


def _run(command: str) -> str:
    """The command's output. It is the operator's own setting, run without a shell; what it prints is never shown."""
    try:
        done = subprocess.run(  # noqa: S603
            shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=TOKEN_SECONDS, check=True
        )
    except subprocess.CalledProcessError as error:
        raise LoginTrouble(f"the token command ended with status {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise LoginTrouble("the token command timed out") from None
    return done.stdout.decode()


def authenticate(ask: Ask, credentials: Credentials, offered: str) -> None:
    """Log in by the best mechanism of those in `offered` (AUTH's parameters from EHLO) that the server takes.

    One that it refuses as such, or with these credentials, is followed by the next: servers offer what they cannot do,
    or keep passwords in a form that only some mechanisms can use. Raises `LoginTrouble`.
    """
    secret = credentials.secret()
    refusals: list[str] = []
    for mechanism in usable(credentials, offered):
        try:
            reply = log_in(ask, mechanism, credentials.user, secret)
        except (ConnectionLost, OSError):
            if refusals:
                break  # it hung up on the second try: the first answer says why
            raise
        if reply.code == 235:
            return
        refusals.append(f"{shown(reply, credentials.user, secret)} ({mechanism})")
        if reply.code not in REFUSED:
            break
    raise LoginTrouble("the login was answered " + "; ".join(refusals))


def usable(credentials: Credentials, offered: str) -> list[str]:
    """The mechanisms to try, in this order. Raises `LoginTrouble` if there is none."""
    names = offered.upper().split()
    wanted = (credentials.mechanism,) if credentials.mechanism else PASSWORD_MECHANISMS
    found = [name for name in wanted if name in names]
    if not found:
        raise LoginTrouble(f"the server offers none of these ways to log in: {', '.join(wanted)}")
    return found


def shown(reply: Reply, user: str, secret: str) -> str:
    """`reply` without the password, however it is written, and the user's name; only whole words are taken for them."""
    text = reply.text.removeprefix(reply.enhanced)
    encoded = (base64.b64encode(word.encode()).decode() for word in (secret, f"\0{user}\0{secret}"))
    for word, mark in ((secret, "<secret>"), *((each, "<secret>") for each in encoded), (user, "<user>")):
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", mark, text)
    return f"{reply.code} {reply.enhanced}{text}".rstrip()


def log_in(ask: Ask, mechanism: str, user: str, secret: str) -> Reply:
    """Run the exchange and return the reply that ended it; anything but 235 means no.

    Raises `LoginTrouble` when the server's challenges make no sense.
    """
    respond = RESPONDERS[mechanism](user, secret)
    line = f"AUTH {mechanism}"
    if mechanism in INITIAL:
        line += " " + base64.b64encode(respond(b"")).decode()
    reply = ask(line)
    for _ in range(MAX_CHALLENGES):
        if reply.code != 334:
            return reply
        reply = ask(base64.b64encode(respond(_challenge(reply))).decode())
    raise LoginTrouble("the login does not come to an end")


def _challenge(reply: Reply) -> bytes:
    try:
        return base64.b64decode(reply.text, validate=True)
    except (binascii.Error, ValueError):
        return reply.text.encode()


def plain(user: str, password: str) -> Responder:
    """RFC 4616."""
    return lambda _challenge: f"\0{user}\0{password}".encode()


def login(user: str, password: str) -> Responder:
    """Never standardised: the name, then the password, each when asked."""
    answers = iter((user.encode(), password.encode()))
    return lambda _challenge: next(answers, b"*")


def cram_md5(user: str, password: str) -> Responder:
    """RFC 2195."""
    return lambda challenge: f"{user} {hmac.new(password.encode(), challenge, 'md5').hexdigest()}".encode()


def xoauth2(user: str, token: str) -> Responder:
    """OAuth 2.0 bearer token; a challenge carries the error and is answered by an empty line."""
    answers = iter((f"user={user}\x01auth=Bearer {token}\x01\x01".encode(),))
    return lambda _challenge: next(answers, b"")


RESPONDERS: dict[str, Callable[[str, str], Responder]] = {
    "PLAIN": plain,
    "LOGIN": login,
    "CRAM-MD5": cram_md5,
    "XOAUTH2": xoauth2,
}
