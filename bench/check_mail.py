"""`python -m bench.check_mail`: one campaign's messages, read by strangers. Ends with 1 where one finds a defect.

Then the table of `docs/receivers.md`; with `--accept` its figures are put there.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import filters, newsletter
from bench.strangers import STRANGERS, Sample
from mailer.messages.addresses import Mailbox
from mailer.messages.layout import TemplateSource
from mailer.messages.links import Links
from mailer.messages.recipient import Recipient
from mailer.messages.template import Preview, compile_message
from transports.base import Message
from transports.file.transport import FileTransport

ACCEPT = "--accept"
LAYOUT = f"""<!DOCTYPE html><html><head><title>News</title>
<style>@media (max-width:600px){{.wide{{display:none}}}}</style></head>
<body><div style="display:none;max-height:0">What is on this month&zwnj;&nbsp;</div>
<table role="presentation" width="600" cellpadding="0" cellspacing="0"><tr>
<td><a href="https://library.example.com/?from=mail"><img alt="Library" src="https://library.example.com/logo.png"></a>
</td></tr>
<tr><td class="wide"><h1>What is on</h1><p>Dear [fname],</p>
<p>{"</p><p>".join(newsletter.PARAGRAPHS * 2)}</p>
<ul><li>the atlas</li><li>the map room</li></ul>
<table border="1"><tr><th>Day</th><th>Hour</th></tr><tr><td>Monday</td><td>18:30</td></tr></table>
<a href="https://library.example.com/programme">See the programme</a></td></tr>
<tr><td><a href="[unsubscribe]">Unsubscribe</a></td></tr></table></body></html>"""
FRAME = ("<p>The Library</p>", "<p>You have a card. <a href='[unsubscribe]'>Leave</a></p>")
GREEK = "Αγαπητέ [name],\n\nη βιβλιοθήκη ανοίγει στις οκτώ το πρωί και κλείνει στις έξι.\n\n[unsubscribe]"
SUBJECT = "What is on this month, [fname]"
LONG = f"<p>{'All of this is one line. ' * 200}</p>[unsubscribe]"
CASES: dict[str, tuple[str, str, tuple[str, str]]] = {
    "plain text": (SUBJECT, newsletter.TEXT, ("", "")),
    "HTML": (SUBJECT, newsletter.HTML, ("", "")),
    "newsletter": (SUBJECT, LAYOUT, ("", "")),
    "a blank at the subject's end": ("What is on this month ", newsletter.HTML, ("", "")),
    "header and footer": (SUBJECT, newsletter.HTML, FRAME),
    "beyond ASCII": ("Τα νέα μας: [name]", GREEK, ("", "")),
    "long lines": ("What " + "and what else " * 9 + "is on", LONG, ("", "")),
}
PEOPLE = {
    "Ann": Recipient("u1", "Ann Lee", "ann@example.com"),
    "Zoë": Recipient("u2", "Zoë Müller-Lüdenscheidt", "zoe@example.com"),
    "a name with blanks around": Recipient(
        "u4", " Dr. Maximilian  von und zu Hohenstein-Waldenburg, Ph.D. ", "max@example.com"
    ),
    "a quoted name": Recipient("u3", 'Lee, Ann "The Reader"', "reader@example.com"),
}


def samples(folder: Path) -> list[Sample]:
    """Write each body to each person through the file transport; `folder` is made."""
    made = list(_made())
    transport = FileTransport(folder)
    list(transport.send(message for _, message, _ in made))
    transport.close()
    return [
        Sample(name, folder / f"{message.id}.eml", preview.subject, preview.text, preview.html)
        for name, message, preview in made
    ]


def _made() -> Iterator[tuple[str, Message, Preview]]:
    sender, links = Mailbox(newsletter.SENDER_NAME, newsletter.SENDER), Links(("k" * 40,), newsletter.SITE_URL)
    now = int(time.time() * 1000)
    for number, (case, (subject, body, frame)) in enumerate(CASES.items()):
        source = TemplateSource(
            f"case{number}", sender, subject, body, newsletter.SITE_NAME, newsletter.SITE_URL, *frame
        )
        template = compile_message(source)
        for who, recipient in PEOPLE.items():
            link = links.link(recipient.user_id)
            yield f"{case}, to {who}", template.render(recipient, link, now), template.preview(recipient, link)


def main() -> int:
    """Print a table; give the exit status: 0 without a defect, 1 with one, 2 where a reader is missing."""
    with tempfile.TemporaryDirectory() as folder:
        made = samples(Path(folder) / "outbox")
        status = 0
        for stranger in STRANGERS:
            if needs := stranger.needs():
                print(f"{stranger.name:24} not installed: {needs}")
                status = status or 2
                continue
            found = stranger.read(made)
            bad = sum(map(bool, found))
            print(f"{stranger.name:24} {len(made) - bad:3} of {len(made)} without a defect")
            for sample, defects in zip(made, found, strict=True):
                print("".join(f"  {sample.name}: {defect}\n" for defect in defects), end="")
            status = 1 if bad else status
    return max(status, _filtered()) if status != 1 else 1


def _filtered() -> int:
    """Print what spam filters say next to Nodemailer; 1 where that is worse than what is on record."""
    if missing := filters.needs():
        print(f"no comparison with Nodemailer: not installed: {missing}")
        return 2
    rows = filters.compared({**CASES, **filters.corpus_cases()})
    if ACCEPT in sys.argv:
        filters.keep(rows)
    found = filters.objections(rows)
    print(filters.as_table(rows), *found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
