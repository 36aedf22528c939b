"""What is looked at in a message before people get such: a check list, each line with a verdict and a sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mailer.mailbox.links import Link, LinkChecks
from mailer.mailbox.opened import Opened
from mailer.messages.addresses import envelope_address
from mailer.messages.text_part.plaintext import has_many_tags
from mailer.messages.text_part.tree import attribute, elements, parse

CLIPPED = 102 * 1024  # bytes of HTML above which Gmail shows the beginning and a link to the rest
LONG_SUBJECT = 78  # characters
LONGEST_LINE = 998  # bytes, RFC 5322 section 2.1.1
ONE_CLICK = "List-Unsubscribe=One-Click"  # RFC 8058


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"  # works, and could be better
    BAD = "bad"  # readers, or their mail programs, will be in trouble


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the list. `about` is a name for programs."""

    about: str
    verdict: Verdict
    words: str


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
    own = [link for link in looked.links if link.own]
    about = "unsubscribe-link"
    if not own:
        return Check(about, Verdict.BAD, "There is no link to unsubscribe.")
    wrong = [link.own for link in own if link.own not in ("valid", "preview")]
    if wrong:
        return Check(about, Verdict.BAD, f"A link to unsubscribe is {wrong[0]}.")
    if not any(link.visible for link in own):
        return Check(about, Verdict.BAD, "Nobody sees the link to unsubscribe.")
    if all(link.own == "preview" for link in own):
        return Check(about, Verdict.OK, "The link to unsubscribe is seen and verifies; it is one of a preview.")
    return Check(about, Verdict.OK, "The link to unsubscribe is seen, is signed here, and belongs to this recipient.")


def _header(looked: Looked) -> Check:
    about, field = "list-unsubscribe", looked.message.field("List-Unsubscribe")
    urls = [part.strip().strip("<>") for part in field.split(",") if part.strip()]
    worth = [looked.reader.own(url, looked.message_id) for url in urls]
    if not any(one in ("valid", "preview") for one in worth):
        return Check(about, Verdict.BAD, "The field List-Unsubscribe has no link of this service that verifies.")
    if looked.message.field("List-Unsubscribe-Post") != ONE_CLICK:
        return Check(
            about, Verdict.NOTE, "Without List-Unsubscribe-Post mail programs offer no one-click unsubscribing."
        )
    return Check(about, Verdict.OK, "Mail programs can offer to unsubscribe in one click.")


def _secure(looked: Looked) -> Check:
    plain = [link for link in looked.links if not link.secure]
    if not plain:
        return Check("https", Verdict.OK, "All links are https.")
    return Check("https", Verdict.NOTE, f"Links that are not https: {len(plain)}, such as {plain[0].url[:100]}")


def _text(looked: Looked) -> Check:
    if not looked.message.text.strip():
        return Check("text-part", Verdict.BAD, "There is no text part, or it is empty.")
    if not any(link.url in looked.message.text for link in looked.links if link.own):
        return Check("text-part", Verdict.NOTE, "The text part has no link to unsubscribe.")
    return Check("text-part", Verdict.OK, "There is a text part, with the link to unsubscribe.")


def _size(looked: Looked) -> Check:
    size = len(looked.message.html.encode())
    words = f"The HTML has {size / 1024:.1f} KB; Gmail shows the first 102 KB."
    return Check("size", Verdict.OK if size <= CLIPPED else Verdict.BAD, words)


def _images(looked: Looked) -> Check:
    if has_many_tags(looked.message.html):
        return Check("alt-texts", Verdict.NOTE, "The HTML has too many tags to look for pictures.")
    images = [one for one in elements(parse(looked.message.html)) if one.name == "img"]
    without = sum(attribute(one, "alt") is None for one in images)
    if without:
        return Check("alt-texts", Verdict.NOTE, f"Pictures without a text (alt): {without} of {len(images)}.")
    return Check(
        "alt-texts", Verdict.OK, f"Pictures: {len(images)}, each with a text (alt)." if images else "No pictures."
    )


def _sender(looked: Looked) -> Check:
    senders, answers = looked.message.mailboxes("From"), looked.message.mailboxes("Reply-To")
    if len(senders) != 1 or envelope_address(senders[0][1]) is None:
        return Check("sender", Verdict.BAD, "The field From does not have exactly one valid address.")
    if any(envelope_address(address) is None for _, address in answers):
        return Check("sender", Verdict.BAD, "The field Reply-To has an address that is not valid.")
    if senders[0][1].lower().startswith(("noreply@", "no-reply@")) and not answers:
        return Check("sender", Verdict.NOTE, "Nobody reads answers: From is a no-reply address without Reply-To.")
    return Check("sender", Verdict.OK, f"Answers go to {(answers or senders)[0][1]}.")


def _subject(looked: Looked) -> Check:
    subject = looked.message.field("Subject")
    if not subject:
        return Check("subject", Verdict.BAD, "The subject is empty.")
    if len(subject) > LONG_SUBJECT:
        return Check("subject", Verdict.NOTE, f"The subject has {len(subject)} characters; many lists cut it.")
    return Check("subject", Verdict.OK, f"The subject has {len(subject)} characters.")


def _form(looked: Looked) -> Check:
    names = [name.lower() for name, _ in looked.message.fields]
    wrong = [name for name in ("Date", "From", "Message-ID", "MIME-Version") if names.count(name.lower()) != 1]
    if wrong:
        return Check("form", Verdict.BAD, f"Fields that are not there exactly once: {', '.join(wrong)}.")
    if max(map(len, looked.content.split(b"\r\n"))) > LONGEST_LINE:
        return Check("form", Verdict.BAD, f"A line has more than {LONGEST_LINE} bytes.")
    return Check("form", Verdict.OK, "The form is as RFC 5322 asks for.")


_ALL: Sequence[Callable[[Looked], Check]] = (
    *(_link, _header, _secure, _text, _size, _images),
    *(_sender, _subject, _form),
)
