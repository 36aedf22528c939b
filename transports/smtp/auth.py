"""SMTP authentication (RFC 4954): PLAIN, LOGIN, CRAM-MD5 and XOAUTH2, each a function from challenge to response."""

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

from transports.answers.replies import Reply
from transports.base import TransportError
from transports.smtp.connection import ConnectionLost

Responder = Callable[[bytes], bytes]  # from the server's challenge, b"" at first, to the client's response
SendLine = Callable[[str], Reply]  # sends one line, returns the reply to it

PASSWORD_MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")  # in order of preference; the connection is private or loopback
INITIAL_RESPONSE = frozenset({"PLAIN", "XOAUTH2"})  # those whose first response goes with the AUTH command
REFUSED = frozenset({504, 534, 535})  # RFC 4954 section 6: not this mechanism, too weak, not these credentials
MAX_CHALLENGES = 4
TOKEN_COMMAND_TIMEOUT = 30.0  # seconds


class LoginFailed(TransportError):
    """The login is impossible or was refused. The text says why and holds no secret."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in, and with which secret: a password, or a file or command that gives an access token.

    `mechanism` is empty for the best one that the server offers.
    """

    user: str
    password: str = field(default="", repr=False)
    mechanism: str = ""
    token_file: str = ""
    token_command: str = field(default="", repr=False)

    def secret(self) -> str:
        """The password, or the access token, which is read anew each time. Raises `LoginFailed` if there is none."""
        if self.mechanism != "XOAUTH2":
            return self.password
        token = self._read_token().strip()
        if not token or not token.isascii() or not token.isprintable():
            raise LoginFailed("the access token is empty or not one line of text")
        return token

    def _read_token(self) -> str:
        try:
            if self.token_file:
                return Path(self.token_file).read_text(encoding="utf-8")
            return _run(self.token_command)
        except (OSError, UnicodeError) as error:
            raise LoginFailed(
                f"cannot read the access token: {getattr(error, 'strerror', None) or 'not UTF-8'}"
            ) from error


def _run(command: str) -> str:
    """The output of `command`: the operator's own setting, run without a shell. What it prints is never shown."""
    try:
        done = subprocess.run(  # noqa: S603
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TOKEN_COMMAND_TIMEOUT,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise LoginFailed(f"the token command ended with status {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise LoginFailed("the token command timed out") from None
    return done.stdout.decode()


def authenticate(send_line: SendLine, credentials: Credentials, offered: str) -> None:
    """Log in by the best mechanism in `offered` (the parameters of AUTH in the reply to EHLO) that the server accepts.

    When it refuses a mechanism, or these credentials with it, the next is tried: servers offer mechanisms that they
    cannot do, or keep passwords in a form that only some can use. Raises `LoginFailed`.
    """
    secret = credentials.secret()
    refusals: list[str] = []
    for mechanism in usable(credentials, offered):
        try:
            reply = log_in(send_line, mechanism, credentials.user, secret)
        except (ConnectionLost, OSError):
            if refusals:
                break  # it closed the connection at a later try: the refusals before that say why
            raise
        if reply.code == 235:
            return
        refusals.append(f"{redacted(reply, credentials.user, secret)} ({mechanism})")
        if reply.code not in REFUSED:
            break
    raise LoginFailed("the login was answered " + "; ".join(refusals))


def usable(credentials: Credentials, offered: str) -> list[str]:
    """The mechanisms to try, in this order. Raises `LoginFailed` if there is none."""
    names = offered.upper().split()
    wanted = (credentials.mechanism,) if credentials.mechanism else PASSWORD_MECHANISMS
    found = [name for name in wanted if name in names]
    if not found:
        raise LoginFailed(f"the server offers none of these ways to log in: {', '.join(wanted)}")
    return found


def redacted(reply: Reply, user: str, secret: str) -> str:
    """`reply` without the secret, plain or in base64, and without the user's name, where they stand as whole words."""
    text = reply.text.removeprefix(reply.enhanced)
    encoded = (base64.b64encode(word.encode()).decode() for word in (secret, f"\0{user}\0{secret}"))
    for word, mark in ((secret, "<secret>"), *((each, "<secret>") for each in encoded), (user, "<user>")):
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", mark, text)
    return f"{reply.code} {reply.enhanced}{text}".rstrip()


def log_in(send_line: SendLine, mechanism: str, user: str, secret: str) -> Reply:
    """Run one mechanism's exchange and return the reply that ended it; any code but 235 means that the login failed.

    Raises `LoginFailed` after more than `MAX_CHALLENGES` challenges.
    """
    respond = RESPONDERS[mechanism](user, secret)
    line = f"AUTH {mechanism}"
    if mechanism in INITIAL_RESPONSE:
        line += " " + base64.b64encode(respond(b"")).decode()
    reply = send_line(line)
    for _ in range(MAX_CHALLENGES):
        if reply.code != 334:
            return reply
        reply = send_line(base64.b64encode(respond(_challenge(reply))).decode())
    raise LoginFailed("the login does not come to an end")


def _challenge(reply: Reply) -> bytes:
    try:
        return base64.b64decode(reply.text, validate=True)
    except (binascii.Error, ValueError):
        return reply.text.encode()


def plain(user: str, password: str) -> Responder:
    """PLAIN (RFC 4616): name and password in one response."""
    return lambda _challenge: f"\0{user}\0{password}".encode()


def login(user: str, password: str) -> Responder:
    """LOGIN, which was never standardised: the name, then the password, each in a response to a challenge."""
    responses = iter((user.encode(), password.encode()))
    return lambda _challenge: next(responses, b"*")


def cram_md5(user: str, password: str) -> Responder:
    """CRAM-MD5 (RFC 2195): the challenge signed with the password."""
    return lambda challenge: f"{user} {hmac.new(password.encode(), challenge, 'md5').hexdigest()}".encode()


def xoauth2(user: str, token: str) -> Responder:
    """XOAUTH2: an OAuth 2.0 bearer token. A challenge after it carries an error, and an empty response ends it."""
    responses = iter((f"user={user}\x01auth=Bearer {token}\x01\x01".encode(),))
    return lambda _challenge: next(responses, b"")


RESPONDERS: dict[str, Callable[[str, str], Responder]] = {
    "PLAIN": plain,
    "LOGIN": login,
    "CRAM-MD5": cram_md5,
    "XOAUTH2": xoauth2,
}
