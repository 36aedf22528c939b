"""The links of a message, and what is known of each: above all whether the link to unsubscribe is what it should be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from mailer.mailbox.opened import Opened
from mailer.messages.html_part.linkify import URL, trimmed
from mailer.messages.links import PATH, PREVIEW, Links, is_nobody
from mailer.messages.template import delivery_id
from mailer.messages.text_part.links import links_of, readable
from mailer.messages.text_part.plaintext import has_many_tags
from mailer.messages.text_part.tree import attribute, elements, parse
from mailer.messages.text_part.visible import shown

VALID, OF_PREVIEW, FOREIGN, FORGED = "valid", "preview", "foreign", "forged"
_URL = re.compile(URL)


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a message. `visible`: a reader of the HTML sees something to click on.

    `own` says what a link to this service's page for unsubscribing is worth: `VALID` for this recipient, `OF_PREVIEW`,
    `FOREIGN` if it belongs to another user, `FORGED` if it is not signed here; empty for any other link.
    """

    url: str
    label: str
    visible: bool
    own: str

    @property
    def secure(self) -> bool:
        """Whether nobody on the way can read or change what it leads to."""
        return self.url.lower().startswith(("https:", "mailto:", "tel:"))


class LinkChecks:
    """Reads the links of messages of this service. `site_url` is the address with which its own links begin."""

    def __init__(self, links: Links, site_url: str) -> None:
        self._links = links
        self._prefix = site_url.rstrip("/") + PATH

    def links_of(self, message: Opened, message_id: str) -> Sequence[Link]:
        """The links of the message, each once, in their order; those of the text if there is no HTML."""
        found = _in_html(message.html) if message.html else _in_text(message.text)
        seen: dict[str, Link] = {}
        for url, label, visible in found:
            before = seen.get(url)
            if before is None or (visible and not before.visible):
                seen[url] = Link(url, label, visible, self.own(url, message_id))
        return list(seen.values())

    def own(self, url: str, message_id: str) -> str:
        """What a link to unsubscribe is worth in the message of this id, as `Link.own` has it."""
        if not url.startswith(self._prefix):
            return ""
        user_id = self._links.read(url.removeprefix(self._prefix))
        if user_id is None:
            return FORGED
        if user_id == PREVIEW:
            return OF_PREVIEW
        campaign_id = message_id.rpartition(".")[0]
        return VALID if is_nobody(user_id) or delivery_id(campaign_id, user_id) == message_id else FOREIGN


def host_of(url: str) -> str:
    """The host that a link leads to, for people to read; empty where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _in_html(markup: str) -> Iterator[tuple[str, str, bool]]:
    if has_many_tags(markup):
        return
    root = parse(markup)
    seen = {link.target: link.label for link in links_of(list(shown(root)), frozenset(), len(markup))}
    for element in elements(root):
        if element.name in ("a", "area"):
            url = readable(attribute(element, "href") or "", frozenset())
            if url:
                yield url, seen.get(url, ""), url in seen


def _in_text(text: str) -> Iterator[tuple[str, str, bool]]:
    for found in _URL.finditer(text):
        yield trimmed(found[0]), "", True
