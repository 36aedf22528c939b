"""What spam filters say of newsletters as this mailer makes them, next to the same content by Nodemailer: one table.

SpamAssassin and rspamd look at files, without the network. `docs/receivers.md` has the table, and a test keeps it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import requests

from bench import newsletter
from bench.strangers import HERE, SECONDS, STRANGERS, Sample, is_from_the_words, lines_of, scanner
from mailer.messages.addresses import Mailbox
from mailer.messages.layout import TemplateSource
from mailer.messages.links import Links
from mailer.messages.recipient import Recipient
from mailer.messages.template import compile_message

PAGE = HERE.parent / "docs" / "receivers.md"
HEADINGS = (
    *("newsletter", "SpamAssassin", "of that the content", "SpamAssassin, Nodemailer"),
    *("rspamd", "rspamd, Nodemailer"),
)
CONTENT = ("HTML_FONT_", "HTML_IMAGE_")  # begins the names of SpamAssassin's rules about colours and pictures
WHO = Recipient("u1", "Ann Lee", "ann@example.com")

LEAVE = "<p>To get no more of these: <a href='[unsubscribe]'>unsubscribe</a></p>"
CORPUS = Path(os.environ.get("MAILER_TEST_CORPUS", HERE.parent.parent / "shared" / "corpus")) / "newsletters"
MOST = -1.0  # what a message may score as it is made, and what is written in it left out
TOLERANCE = 0.005  # between versions of SpamAssassin, whose weightless rules come and go
AT_ONCE = 2  # SpamAssassins, since they take the time
_ROW = re.compile(r"\| (.+?) \| (-?\d+\.\d{3}) \| (.+?) \| (-?\d+\.\d{3}) \| (.+?) \| (.+?) \|")

Cases = Mapping[str, tuple[str, str, tuple[str, str]]]  # subject, body, and what is put around it, by name


class Verdict(NamedTuple):
    """SpamAssassin's score, the rules that make it, and rspamd's symbols that come from how the message is made."""

    score: float
    rules: Mapping[str, float]
    symbols: tuple[str, ...]

    @property
    def of_the_content(self) -> dict[str, float]:
        """The rules that judge what the author wrote, whoever makes a message of it."""
        return {rule: score for rule, score in self.rules.items() if rule.startswith(CONTENT) and abs(score) >= 0.01}

    @property
    def as_made(self) -> float:
        """The score without them."""
        return round(self.score - sum(self.of_the_content.values()), 3)


@dataclass(frozen=True, slots=True)
class Row:
    """One newsletter: as it is made here, and by Nodemailer."""

    name: str
    ours: Verdict
    theirs: Verdict

    def cells(self) -> tuple[str, ...]:
        """As the table has them."""
        content = ", ".join(f"{rule} {score:+.3f}" for rule, score in self.ours.of_the_content.items()) or "none"
        symbols = [", ".join(verdict.symbols) or "none" for verdict in (self.ours, self.theirs)]
        return (self.name, f"{self.ours.score:.3f}", content, f"{self.theirs.score:.3f}", *symbols)


def corpus_cases() -> Cases:
    """The newsletters of others, with a link to unsubscribe; none where the folder is not there."""
    return {
        path.stem: (newsletter.SUBJECT, path.read_text("utf-8"), ("", LEAVE)) for path in sorted(CORPUS.glob("*.html"))
    }


def compared(cases: Cases) -> list[Row]:
    """Have both filters look at both messages of each case."""
    with tempfile.TemporaryDirectory() as folder:
        ours = list(_ours(cases, Path(folder)))
        theirs = _theirs(ours, Path(folder))
        found = _verdicts([*ours, *theirs])
    return [Row(name, found[at], found[at + len(ours)]) for at, name in enumerate(cases)]


def _ours(cases: Cases, folder: Path) -> Iterator[Sample]:
    sender, links = Mailbox(newsletter.SENDER_NAME, newsletter.SENDER), Links(("k" * 40,), newsletter.SITE_URL)
    site = (newsletter.SITE_NAME, newsletter.SITE_URL)
    for number, (name, (subject, body, frame)) in enumerate(cases.items()):
        template = compile_message(TemplateSource(f"case{number}", sender, subject, body, *site, *frame))
        link, path = links.link(WHO.user_id), folder / f"ours{number}.eml"
        path.write_bytes(template.render(WHO, link, int(time.time() * 1000)).content)
        read = template.preview(WHO, link)
        yield Sample(name, path, read.subject, read.text, read.html)


def _theirs(ours: Sequence[Sample], folder: Path) -> list[Sample]:
    """The same texts to the same person by Nodemailer, with the header fields that Rocket.Chat's mailer sets."""
    made = [sample._replace(path=folder / f"theirs{number}.eml") for number, sample in enumerate(ours)]
    mails = json.dumps([_mail(sample) for sample in made]).encode()
    subprocess.run(
        ["node", str(HERE / "nodemailer_samples.mjs")],
        input=mails,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=SECONDS,
    )
    return made


def _mail(sample: Sample) -> dict[str, Any]:
    link = Links(("k" * 40,), newsletter.SITE_URL).link(WHO.user_id)
    return {
        "file": str(sample.path),
        "from": {"name": newsletter.SENDER_NAME, "address": newsletter.SENDER},
        "to": {"name": WHO.name, "address": WHO.address},
        "subject": sample.subject,
        "text": sample.text,
        "html": sample.html,
        "headers": {
            "List-Unsubscribe": {"prepared": True, "value": f"<{link}>"},
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            "Precedence": "bulk",
        },
    }


def _verdicts(samples: Sequence[Sample]) -> list[Verdict]:
    with ThreadPoolExecutor() as pool, scanner() as url:
        judged = [pool.submit(_assassinated, samples[start::AT_ONCE]) for start in range(AT_ONCE)]
        symbols = [_symbols(url, sample) for sample in samples]
        scores = [judged[at % AT_ONCE].result()[at // AT_ONCE] for at in range(len(samples))]
    return [Verdict(*score, found) for score, found in zip(scores, symbols, strict=True)]


def _assassinated(samples: Sequence[Sample]) -> list[tuple[float, dict[str, float]]]:
    with tempfile.TemporaryDirectory() as state:
        found = lines_of(["perl", str(HERE / "spamassassin.pl"), state], samples)
    return [(float(one["score"]), _rules(one["tests"])) for one in found]


def _rules(tests: str) -> dict[str, float]:
    """From `HTML_MESSAGE=0.001,NO_RELAYS=-0.001`."""
    return {rule: float(score) for rule, _, score in (one.partition("=") for one in tests.split(",") if one)}


def _symbols(url: str, sample: Sample) -> tuple[str, ...]:
    answer = requests.post(f"{url}/checkv2", data=sample.path.read_bytes(), timeout=SECONDS)
    answer.raise_for_status()
    found = answer.json()["symbols"].values()
    return tuple(
        sorted(one["name"] for one in found if one["score"] > 0 and not is_from_the_words(one["name"], sample))
    )


def as_table(rows: Sequence[Row]) -> str:
    """The table of the page."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def on_page() -> dict[str, tuple[str, ...]]:
    """The cells of the page's table, by newsletter."""
    found = map(_ROW.fullmatch, PAGE.read_text("utf-8").splitlines())
    return {one[1]: one.groups() for one in found if one}


def needs() -> str:
    """What is not installed of what the comparison takes; empty: all is there."""
    wanted = [one for one in STRANGERS if one.name in ("SpamAssassin -L", "rspamd")]
    missing = [found for one in wanted if (found := one.needs())]
    nodemailer = HERE / "node_modules" / "nodemailer"
    return ", ".join([*missing, *([] if nodemailer.exists() and shutil.which("node") else ["npm's nodemailer"])])


def objections(rows: Sequence[Row]) -> list[str]:
    """What is against them, a sentence each: a figure worse than the page's, or one that no message may have."""
    page, found = on_page(), list[str]()
    for row in rows:
        said = page.get(row.name)
        if said is None:
            found.append(f"{row.name}: is not in {PAGE.name}")
        elif row.ours.score > float(said[1]) + TOLERANCE:
            found.append(f"{row.name}: SpamAssassin {row.ours.score:.3f}, worse than {said[1]}: {dict(row.ours.rules)}")
        elif abs(row.theirs.score - float(said[3])) > 0.1:
            found.append(f"{row.name}: Nodemailer's is {row.theirs.score:.3f} now, and no more {said[3]}")
        if row.ours.as_made > MOST:
            found.append(f"{row.name}: SpamAssassin {row.ours.as_made:.3f} without the content's part, over {MOST}")
        if row.ours.symbols:
            found.append(f"{row.name}: rspamd says {', '.join(row.ours.symbols)}")
    return found


def keep(rows: Sequence[Row]) -> None:
    """Put these figures into the page, in place of those that it has."""
    head = as_table([])
    before, _, after = PAGE.read_text("utf-8").partition(head)
    rest = after.lstrip() if not after.startswith("|") else after.partition("\n\n")[2]
    PAGE.write_text(f"{before}{as_table(rows)}\n{rest}", "utf-8")
