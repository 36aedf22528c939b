"""Where bounces arrive by mail: a Maildir of this machine, or a folder of an IMAP server. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

FORMS = "Not maildir:///FOLDER or imaps://USER@HOST/FOLDER."
IMAPS_PORT = 993  # RFC 8314 section 3.2


@dataclass(frozen=True, slots=True)
class BounceMailbox:
    """A mailbox. A Maildir has no `host`, and `folder` is its path.

    `ca_file` names the authorities that are trusted instead of the system's; empty: the system's. With `delete` a mail
    that is done is deleted, and else kept as read.
    """

    folder: str
    host: str = ""
    port: int = IMAPS_PORT
    user: str = ""
    ca_file: str = ""
    delete: bool = False

    @classmethod
    def parse(cls, url: str) -> BounceMailbox:
        """Read `maildir:///var/mail/bounces` or `imaps://user@host/INBOX`. Raises ValueError, in words for people."""
        try:
            parts = urlsplit(url.strip())
            port = parts.port
        except ValueError as error:  # a bracket that is not closed, a port that is none
            raise ValueError(FORMS) from error
        if parts.password is not None:
            raise ValueError("Has a password in it, which belongs into MAILER_BOUNCE_MAILBOX_PASSWORD.")
        options = _options(parts.query, ("delete", "ca_file") if parts.scheme == "imaps" else ("delete",))
        path = unquote(parts.path)
        if parts.scheme == "maildir" and not parts.netloc and len(path) > 1 and not parts.fragment:
            return cls(path, delete=options["delete"] == "true")
        if parts.scheme != "imaps" or not parts.hostname or not parts.username or parts.fragment or port == 0:
            raise ValueError(FORMS)
        folder, delete = path.removeprefix("/") or "INBOX", options["delete"] == "true"
        return cls(
            folder, parts.hostname, port or IMAPS_PORT, unquote(parts.username), options.get("ca_file", ""), delete
        )

    def __str__(self) -> str:
        """Name it for people; without a password, since it has none."""
        return f"imaps://{self.user}@{self.host}/{self.folder}" if self.host else f"maildir://{self.folder}"


def _options(query: str, known: tuple[str, ...]) -> dict[str, str]:
    found = dict(parse_qsl(query, keep_blank_values=True))
    if not set(found) <= set(known):
        raise ValueError(f"Has an option that there is not; there are {' and '.join(known)}.")
    if found.setdefault("delete", "false") not in ("true", "false"):
        raise ValueError("delete is true or false.")
    return found
