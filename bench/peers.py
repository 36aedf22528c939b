"""The peers, each in a process of its own: `python -m bench.peers NAME COUNT PORT_OR_FOLDER [FOLDER]` prints a `Cost`.

What is timed begins with the first connection and ends with the last reply; imports and start-up are not counted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import smtplib
import sys
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formataddr, formatdate, make_msgid
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from bench.newsletter import HTML, SENDER, SENDER_NAME, SUBJECT, TEXT, Person, filled, fillings, link, people

FROM = formataddr((SENDER_NAME, SENDER))
AT_ONCE = 100
QUEUE = "django-post_office"
NEEDS = {
    "smtplib": "smtplib",
    "aiosmtplib": "aiosmtplib",
    "django": "django",
    "django-files": "django",
    QUEUE: "post_office",
}


def installed(peer: str) -> bool:
    """Whether it can run here."""
    return find_spec(NEEDS[peer]) is not None


def list_headers(person: Person) -> dict[str, str]:
    """What every bulk message has."""
    post = "List-Unsubscribe=One-Click"
    return {"List-Unsubscribe": f"<{link(person)}>", "List-Unsubscribe-Post": post, "Precedence": "bulk"}


def email_message(person: Person) -> EmailMessage:
    """The newsletter by the standard library, one at a time."""
    values = fillings(person)
    message = EmailMessage(policy=SMTP)
    message["From"] = FROM
    message["To"] = formataddr((person.name, person.address))
    message["Subject"] = filled(SUBJECT, values)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain="example.com")
    for name, value in list_headers(person).items():
        message[name] = value
    message.set_content(filled(TEXT, values))
    message.add_alternative(filled(HTML, values), subtype="html")
    return message


def by_smtplib(count: int, port: int) -> None:
    """One connection of the standard library."""
    with smtplib.SMTP("127.0.0.1", port) as server:
        for person in people(count):
            server.send_message(email_message(person), SENDER, [person.address])


def by_aiosmtplib(count: int, port: int) -> None:
    """One connection of aiosmtplib."""

    async def send() -> None:
        import aiosmtplib  # noqa: PLC0415 - may not be installed

        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
            for person in people(count):
                await client.send_message(email_message(person), sender=SENDER, recipients=[person.address])

    asyncio.run(send())


def _django_messages(count: int, connection: Callable[[], Any]) -> Iterator[Any]:
    from django.core.mail import EmailMultiAlternatives  # noqa: PLC0415 - may not be installed

    for person in people(count):
        values = fillings(person)
        to = [formataddr((person.name, person.address))]
        message = EmailMultiAlternatives(
            filled(SUBJECT, values), filled(TEXT, values), FROM, to, headers=list_headers(person)
        )
        message.attach_alternative(filled(HTML, values), "text/html")
        message.connection = connection()
        yield message


def _django(backend: str, **options: Any) -> Callable[[], Any]:
    """Django set up for one of its backends; each call makes a connection."""
    from django.conf import settings  # noqa: PLC0415 - may not be installed
    from django.core.mail import get_connection  # noqa: PLC0415

    settings.configure(USE_TZ=True, DEFAULT_CHARSET="utf-8")
    return partial(get_connection, f"django.core.mail.backends.{backend}.EmailBackend", **options)


def by_django(count: int, port: int) -> None:
    """`send_messages` in hundreds over one connection."""
    with _django("smtp", host="127.0.0.1", port=port)() as connection:
        messages = _django_messages(count, lambda: connection)
        while some := list(islice(messages, AT_ONCE)):
            connection.send_messages(some)


def by_django_files(count: int, folder: str) -> None:
    """Django's file backend as `send_mail` uses it: a file for each message."""
    for message in _django_messages(count, _django("filebased", file_path=folder)):
        message.send()


def post_office(count: int, port: int, folder: Path) -> Callable[[], None]:
    """django-post_office, which queues in the database and records each outcome there, with its own defaults."""
    import django  # noqa: PLC0415 - may not be installed
    from django.conf import settings  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "post_office.db"}
    settings.configure(
        USE_TZ=True,
        DEFAULT_CHARSET="utf-8",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
        DATABASES={"default": database},
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=port,
    )
    logging.disable(logging.INFO)  # it tells of each hundred
    django.setup()
    call_command("migrate", verbosity=0)
    from post_office.mail import send_many, send_queued_mail_until_done  # noqa: PLC0415 - needs the settings

    def run() -> None:
        send_many([_queued(person) for person in people(count)])
        send_queued_mail_until_done()

    return run


def _queued(person: Person) -> dict[str, Any]:
    values = fillings(person)
    return {
        "recipients": [person.address],
        "sender": FROM,
        "subject": filled(SUBJECT, values),
        "message": filled(TEXT, values),
        "html_message": filled(HTML, values),
        "headers": list_headers(person),
    }


def cost(run: Callable[[], None]) -> dict[str, float]:
    """Wall and CPU seconds of `run`."""
    seconds, cpu = time.perf_counter(), time.process_time()
    run()
    return {"seconds": time.perf_counter() - seconds, "cpu": time.process_time() - cpu}


def main(name: str, count: str, where: str, folder: str = "") -> None:
    """Run one peer."""
    smtp = {"smtplib": by_smtplib, "aiosmtplib": by_aiosmtplib, "django": by_django}
    if name == "django-files":
        Path(where).mkdir(parents=True, exist_ok=True)
        measured = cost(lambda: by_django_files(int(count), where))
    elif name == QUEUE:
        measured = cost(post_office(int(count), int(where), Path(folder)))
    else:
        measured = cost(lambda: smtp[name](int(count), int(where)))
    print(json.dumps(measured))


if __name__ == "__main__":
    main(*sys.argv[1:])
