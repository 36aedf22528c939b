"""Part 2: a personalised message as octets, without sending it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache, partial

from bench import newsletter
from bench.contestants import has_nodemailer, nodemailer
from bench.figures import Figure, Part, Ratio, in_turn
from bench.newsletter import Person, people
from bench.peers import email_message
from bench.scale import Bench
from mailer.messages.addresses import Mailbox
from mailer.messages.layout import TemplateSource
from mailer.messages.links import Links
from mailer.messages.recipient import Recipient
from mailer.messages.template import Template, compile_message
from transports.base import Message

TITLE = "2. Rendering alone"
NOW = 1_700_000_000_000
CAMPAIGN = "018bcfe5680" + "0" * 12  # an id as campaigns have it
LESS_OFTEN = 10  # the slow ones render a tenth


def compiled() -> Template:
    """The newsletter, ready for recipients."""
    sender = Mailbox(newsletter.SENDER_NAME, newsletter.SENDER)
    text = (newsletter.SUBJECT, newsletter.HTML, newsletter.SITE_NAME, newsletter.SITE_URL)
    return compile_message(TemplateSource(CAMPAIGN, sender, *text))


def messages(count: int) -> Iterator[Message]:
    """Rendered by the service's own code, with links that are signed."""
    template, links = compiled(), Links(("k" * 40,), newsletter.SITE_URL)
    cause = links.cause(CAMPAIGN)
    for person in people(count):
        recipient = Recipient(person.id, person.name, person.address)
        yield template.render(recipient, links.link(person.id, cause), NOW)


@cache
def message_size() -> int:
    """Octets of a typical message."""
    return len(next(messages(1)).content)


def _per_message(count: int, render: Callable[[Person], object]) -> float:
    some = list(people(count))
    begun = time.perf_counter()
    for person in some:
        render(person)
    return (time.perf_counter() - begun) / count * 1e6


def _ours(count: int, *, signed: bool) -> float:
    template, links = compiled(), Links(("k" * 40,), newsletter.SITE_URL)
    cause = links.cause(CAMPAIGN)
    fixed = links.link("user0000000", cause)

    def render(person: Person) -> Message:
        link = links.link(person.id, cause) if signed else fixed
        return template.render(Recipient(person.id, person.name, person.address), link, NOW)

    return _per_message(count, render)


def measure(bench: Bench) -> Part:
    """Microseconds a message."""
    count, fewer = bench.scale.renders, max(1, bench.scale.renders // LESS_OFTEN)
    contestants: dict[str, Callable[[], float]] = {
        "mailer": partial(_ours, count, signed=False),
        "mailer, with the signed link": partial(_ours, count, signed=True),
        "mailer, compiling a campaign": lambda: _per_message(20, lambda _: compiled()),
        "EmailMessage": lambda: _per_message(fewer, lambda person: email_message(person).as_bytes()),
    }
    if has_nodemailer():
        contestants["Nodemailer's composer"] = lambda: nodemailer("compose", fewer).seconds / fewer * 1e6
    results = in_turn(bench.scale.rounds, contestants)
    figures = {name: Figure(name, "us/message", tuple(values)) for name, values in results.items()}
    ratios = [Ratio("EmailMessage / mailer", figures["EmailMessage"].median / figures["mailer"].median, 100.0)]
    if "Nodemailer's composer" in figures:
        theirs = figures["Nodemailer's composer"].median
        ratios.append(Ratio("Nodemailer's composer / mailer", theirs / figures["mailer"].median))
    notes = ("One thread. `mailer` has the link made already, as the others have theirs.",)
    return Part("rendering", TITLE, tuple(ratios), tuple(figures.values()), notes)
