"""What is looked at in a message before people get such: a check list, each line with a verdict and a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from mailer.mailbox.links import FOREIGN, FORGED, OF_PREVIEW, VALID, Link, LinkChecks
from mailer.mailbox.opened import Opened
from mailer.messages.addresses import envelope_address
from mailer.messages.text_part.plaintext import has_many_tags
from mailer.messages.text_part.tree import attribute, elements, parse

CLIPPED = 102 * 1024  # bytes of HTML above which Gmail shows the beginning and a link to the rest
LONG_SUBJECT = 78  # characters
LONGEST_LINE = 998  # bytes, RFC 5322 section 2.1.1
ONE_CLICK = "List-Unsubscribe=One-Click"  # RFC 8058

_NOBODY_READS = re.compile(r"no-?reply@", re.IGNORECASE)


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"  # works, and could be better
    BAD = "bad"  # readers, or their mail programs, will be in trouble


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the list. `about` is a name for programs; `words` is a text with places for `values`."""

    about: str
    verdict: Verdict
    words: str
    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The whole sentence, in English."""
        return self.words % self.values


def N_(text: str) -> str:  # noqa: N802 - the name by which Babel finds texts that pages translate
    """Mark a text to be translated."""
    return text


@dataclass(frozen=True, slots=True)
class Looked:
    """A message with all that the checks look at."""

    content: bytes
    message: Opened
    message_id: str
    links: Sequence[Link]
    reader: LinkChecks


def checks_of(content: bytes, message: Opened, message_id: str, reader: LinkChecks) -> Sequence[Check]:
    """Go through the list."""
    looked = Looked(content, message, message_id, reader.links_of(message, message_id), reader)
    return [check(looked) for check in _ALL]


def _link(looked: Looked) -> Check:
    about, own = "unsubscribe-link", [link for link in looked.links if link.own]
    if not own:
        return Check(about, Verdict.BAD, N_("There is no link to unsubscribe."))
    if any(link.own == FORGED for link in own):
        return Check(about, Verdict.BAD, N_("A link to unsubscribe is not signed by this service."))
    if any(link.own == FOREIGN for link in own):
        return Check(about, Verdict.BAD, N_("A link to unsubscribe belongs to somebody else."))
    if not any(link.visible for link in own):
        return Check(about, Verdict.BAD, N_("Nobody sees the link to unsubscribe."))
    if all(link.own == OF_PREVIEW for link in own):
        return Check(about, Verdict.OK, N_("The link to unsubscribe is seen and verifies; it is one of a preview."))
    return Check(about, Verdict.OK, N_("The link to unsubscribe is seen, is signed here, and is this recipient's."))


def _header(looked: Looked) -> Check:
    about = "list-unsubscribe"
    urls = [part.strip().strip("<>") for part in looked.message.field("List-Unsubscribe").split(",")]
    if not any(looked.reader.own(url, looked.message_id) in (VALID, OF_PREVIEW) for url in urls):
        return Check(about, Verdict.BAD, N_("The field List-Unsubscribe has no link of this recipient's."))
    if looked.message.field("List-Unsubscribe-Post") != ONE_CLICK:
        words = N_("Mail programs offer no unsubscribing in one click, which takes https: see MAILER_SITE_URL.")
        return Check(about, Verdict.NOTE, words)
    return Check(about, Verdict.OK, N_("Mail programs can offer to unsubscribe in one click."))


def _secure(looked: Looked) -> Check:
    plain = [link.url[:100] for link in looked.links if not link.secure]
    if not plain:
        return Check("https", Verdict.OK, N_("All links are https."))
    words = N_("Links that are not https: %(count)s, such as %(link)s")
    return Check("https", Verdict.NOTE, words, {"count": len(plain), "link": plain[0]})


def _text(looked: Looked) -> Check:
    text = looked.message.text
    if not text.strip():
        return Check("text-part", Verdict.BAD, N_("There is no text part, or it is empty."))
    if not any(link.url in text for link in looked.links if link.own):
        return Check("text-part", Verdict.NOTE, N_("The text part has no link to unsubscribe."))
    return Check("text-part", Verdict.OK, N_("There is a text part, with the link to unsubscribe."))


def _size(looked: Looked) -> Check:
    size = len(looked.message.html.encode())
    words = N_("The HTML has %(size)s KB; Gmail shows the first 102 KB.")
    return Check("size", Verdict.OK if size <= CLIPPED else Verdict.BAD, words, {"size": f"{size / 1024:.1f}"})


def _images(looked: Looked) -> Check:
    if has_many_tags(looked.message.html):
        return Check("alt-texts", Verdict.NOTE, N_("The HTML has too many tags to look for pictures."))
    images = [one for one in elements(parse(looked.message.html)) if one.name == "img"]
    without = sum(attribute(one, "alt") is None for one in images)
    counts = {"count": without, "all": len(images)}
    if without:
        return Check("alt-texts", Verdict.NOTE, N_("Pictures without a text (alt): %(count)s of %(all)s."), counts)
    if images:
        return Check("alt-texts", Verdict.OK, N_("Each picture has a text (alt): %(all)s."), counts)
    return Check("alt-texts", Verdict.OK, N_("There are no pictures."))


def _sender(looked: Looked) -> Check:
    senders, answers = looked.message.mailboxes("From"), looked.message.mailboxes("Reply-To")
    if len(senders) != 1 or envelope_address(senders[0][1]) is None:
        return Check("sender", Verdict.BAD, N_("The field From does not have exactly one valid address."))
    if any(envelope_address(address) is None for _, address in answers):
        return Check("sender", Verdict.BAD, N_("The field Reply-To has an address that is not valid."))
    if _NOBODY_READS.match(senders[0][1]) and not answers:
        return Check("sender", Verdict.NOTE, N_("Nobody reads answers: From is a no-reply address, without Reply-To."))
    return Check("sender", Verdict.OK, N_("Answers go to %(address)s."), {"address": (answers or senders)[0][1]})


def _subject(looked: Looked) -> Check:
    length = {"length": len(looked.message.field("Subject"))}
    if not length["length"]:
        return Check("subject", Verdict.BAD, N_("The subject is empty."))
    if length["length"] > LONG_SUBJECT:
        words = N_("The subject has %(length)s characters; most lists of messages cut it.")
        return Check("subject", Verdict.NOTE, words, length)
    return Check("subject", Verdict.OK, N_("The subject has %(length)s characters."), length)


def _form(looked: Looked) -> Check:
    names = [name.lower() for name, _ in looked.message.fields]
    wrong = [name for name in ("Date", "From", "Message-ID", "MIME-Version") if names.count(name.lower()) != 1]
    if wrong:
        words = N_("Fields that are not there exactly once: %(fields)s.")
        return Check("form", Verdict.BAD, words, {"fields": ", ".join(wrong)})
    if max(map(len, looked.content.split(b"\r\n"))) > LONGEST_LINE:
        return Check("form", Verdict.BAD, N_("A line has more than 998 bytes."))
    return Check("form", Verdict.OK, N_("The form is as RFC 5322 asks for."))


_ALL: Sequence[Callable[[Looked], Check]] = (
    *(_link, _header, _secure, _text, _size, _images),
    *(_sender, _subject, _form),
)
