"""Take the pictures of the pages for the README and docs/pages.md: `make screenshots`.

It starts a service over sample data, signs in with a real browser by a login link, and writes what `SHOTS` lists.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import click
from selenium import webdriver
from selenium.webdriver.common.by import By
from sqlalchemy import insert

from mailer.audit.actor import Actor, Via, acting
from mailer.callers import login_links
from mailer.callers.tokens import PERMISSIONS
from mailer.campaigns import control, saved_drafts
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import make_draft
from mailer.directory.documents import role_lines
from mailer.mailbox import reading
from mailer.settings import Settings
from mailer.storage.models import User
from tests.conftest import chromium
from tests.harness import Harness
from tests.service import Service
from transports.base import Status

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
LARGEST = 150_000  # bytes of a picture
LEAST_HEIGHT = 420
WHO = "ada"
FIRST = ("Ada", "Zoë", "Søren", "Aylin", "Jun", "Amara", "Mateo", "Ingrid", "Tariq", "Lucía", "Piotr", "Noa", "Kofi")
LAST = (
    "Lovelace",
    "Müller",
    "Ågård",
    "Yılmaz",
    "Tanaka",
    "Okafor",
    "Rossi",
    "Berg",
    "Haddad",
    "García",
    "Nowak",
    "Levi",
)
DOMAINS = ("example.com", "example.org", "example.net")
BODY = '<h1>Hello [fname]</h1><p>Here is what is new, for [name].</p><p><a href="[unsubscribe]">Unsubscribe</a></p>'
REFUSALS = {7: "550 5.1.1 no such user here", 31: "552 5.2.2 the mailbox is full", 40: "550 5.1.1 no such user here"}
MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: its file, the page below `/mailer/`, how wide the window is, how high at most, and the scheme.

    In the path, `{running}`, `{issues}` and `{paused}` are ids of campaigns in these states, `{person}` is a user's id,
    `{draft}` a draft's, and `{message}` the number of a message in the mailbox.
    `press` is a CSS selector of what is clicked first.
    """

    file: str
    path: str
    width: int = 1200
    height: int = 800
    scheme: str = "light"
    press: str = ""


SHOTS: Sequence[Shot] = (
    Shot("campaigns.png", ""),
    Shot("campaign.png", "campaigns/{running}", scheme="dark"),
    Shot("compose.png", "compose/{draft}?look=1", height=1000),
    Shot("mailbox.png", "mailbox/{message}", height=900),
    Shot("system.png", "system", scheme="dark"),
    Shot("phone.png", "campaigns/{running}", width=390, height=800),
)


def people() -> Iterator[dict[str, object]]:
    """Users with names as people have them, the same at each run."""
    for number, (first, last) in enumerate(product(FIRST, LAST)):
        user_id = WHO if number == 0 else f"{first}{last}".lower()
        address = f"{user_id}@{DOMAINS[number % len(DOMAINS)]}".encode("ascii", "ignore").decode()
        roles = ["user", "admin"] if number % 20 == 0 else ["user"]
        created = 1_500_000_000_000 + number * 86_400_000
        document = {"_id": user_id, "username": user_id, "name": f"{first} {last}", "type": "user", "active": True}
        document |= {"emails": [{"address": address, "verified": True}], "roles": roles}
        document |= {"createdAt": {"$date": created}, "language": ("en", "de", "es")[number % 3]}
        row = {"id": user_id, "username": user_id, "name": document["name"], "email": address, "active": True}
        row |= {"created_at": created, "roles": role_lines(roles), "document": document}
        yield {**row, "unsubscribed_at": created if number % 29 == 5 else None}


def fill(service: Service) -> dict[str, str]:
    """Put users and campaigns of the last days into the database; gives the ids for the paths of `SHOTS`."""
    users, clock = list(people()), service.db.clock
    with service.db.write() as connection:
        connection.execute(insert(User), users)
        now = clock(connection)
    harness = Harness(service.db, batch_size=40, checkpoint=10)
    for number, reply in REFUSALS.items():
        harness.store.answer(str(users[number]["email"]), Status.REFUSED, reply=reply)

    def send(subject: str, minutes_ago: int, *, dry_run: bool = False) -> str:
        harness.now = now - minutes_ago * MINUTE
        draft = make_draft(Settings(), sender="News <news@example.com>", subject=subject, body=BODY, dry_run=dry_run)
        harness.campaign_id = accept(service.db, WHO, draft).campaign_id
        return harness.campaign_id

    ids = {"person": str(users[3]["id"])}
    ids["issues"] = send("Autumn release notes", 4000)
    harness.run()
    send("Trying the new layout", 1500, dry_run=True)
    harness.run()
    ids["paused"] = send("Survey: how do you like the new search?", 180)
    harness.plan()
    with acting(Actor(WHO, Via.API, "192.0.2.7")):
        control.pause(service.db, ids["paused"], None)
    service.db.clock = clock
    ids["draft"] = saved_drafts.new_id()
    query = json.dumps({"roles": "admin", "language": {"$in": ["de", "es"]}})
    typed = saved_drafts.Typed("News <news@example.com>", "", "Maintenance on [Site_Name]", BODY, query)
    saved_drafts.save(service.db, WHO, ids["draft"], typed, 0)
    return ids


def take(service: Service, browser: webdriver.Chrome, ids: dict[str, str]) -> Iterator[Path]:
    """Take all pictures; gives the file of each."""
    with acting(Actor("root", Via.CLI, "mail-1")):
        link = login_links.make(service.db, WHO, PERMISSIONS, MINUTE)
    browser.get(f"{service.url}/mailer/sign-in/{link}")
    browser.find_element(By.CSS_SELECTOR, "main button").click()
    for shot in SHOTS:
        _resize(browser, shot.width, LEAST_HEIGHT)
        scheme = [{"name": "prefers-color-scheme", "value": shot.scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        browser.get(f"{service.url}/mailer/{shot.path.format(**ids)}")
        if shot.press:
            browser.find_element(By.CSS_SELECTOR, shot.press).click()
        time.sleep(1)  # what scripts add
        needed = browser.execute_script("return document.documentElement.scrollHeight")
        _resize(browser, shot.width, min(needed, shot.height))
        picture = b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"])
        path = FOLDER / shot.file
        path.write_bytes(picture)
        yield path


def _resize(browser: webdriver.Chrome, width: int, height: int) -> None:
    window = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)


def main() -> int:
    """Take all pictures; the exit code is 1 where one is too large."""
    too_large = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {"transport": f"file:{folder}/mail?rate=3/second", "checkpoint": 5, "site_name": "Workspace"}
        service = Service(folder, **settings)
        ids = fill(service)
        with service, chromium(folder) as browser:
            time.sleep((40 - time.time()) % 60)  # so that the campaign goes over two minutes, which makes a chart
            headers = service.headers(WHO, "send-mail")
            posted = service.post(headers, subject="What is new in November", body=BODY)
            ids["running"] = posted.headers["Location"].rpartition("/")[2]
            time.sleep(25)  # for something to be seen of it, and for the process to say that it is alive
            ids["message"] = str(reading.latest(service.db, None).id)
            for path in take(service, browser, ids):
                size = path.stat().st_size
                click.echo(f"{path.name}: {size} bytes")
                too_large += [path.name] if size > LARGEST else []
    return 1 if too_large else 0


if __name__ == "__main__":
    sys.exit(main())
