"""Against a real Postfix, started here with its own configuration and queue, that delivers into a Maildir."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from transports.base import About, Message, Status
from transports.smtp.transport import SMTPTransport

pytestmark = pytest.mark.slow

POSTFIX = shutil.which("postfix", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
DOMAIN = "example.org"

MAIN = """\
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file = {root}/log/postfix.log
maillog_file_prefixes = {root}/log
myhostname = postfix.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
message_size_limit = 200000
disable_dns_lookups = yes
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {root}/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_delay_reject = no
smtpd_relay_restrictions = reject_unauth_destination
smtpd_sender_restrictions = check_sender_access inline:{{stranger@{domain}=reject}}
smtpd_recipient_restrictions = check_recipient_access inline:{{gone@{domain}=reject, busy@{domain}=defer}}
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - 20 virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True)
class Postfix:
    """`box` is the Maildir in which everything ends."""

    port: int
    box: Path

    def delivered(self, count: int) -> list[bytes]:
        """What has arrived, once it is `count` messages, and the box is emptied."""
        deadline = time.monotonic() + 30
        while len(found := sorted((self.box / "new").glob("*"))) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        contents = [path.read_bytes() for path in found]
        for path in found:
            path.unlink()
        return contents


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    if POSTFIX is None:
        pytest.skip("postfix is not installed")
    if os.geteuid() != 0:
        pytest.skip("postfix starts as root only")
    root = Path(tempfile.mkdtemp(prefix="postfix-test-"))
    try:
        server = configure(root)
        subprocess.run([POSTFIX, "-c", str(root / "etc"), "start"], check=True, capture_output=True, timeout=60)
        try:
            await_port(server.port)
            yield server
        finally:
            subprocess.run([POSTFIX, "-c", str(root / "etc"), "stop"], check=True, capture_output=True, timeout=60)
    finally:
        shutil.rmtree(root)


def configure(root: Path) -> Postfix:
    nobody, postfix = pwd.getpwnam("nobody"), pwd.getpwnam("postfix")
    root.chmod(0o755)
    for name in ("etc", "queue", "data", "mail", "log"):
        (root / name).mkdir()
    os.chown(root / "data", postfix.pw_uid, -1)
    os.chown(root / "mail", nobody.pw_uid, nobody.pw_gid)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    values = {"root": root, "domain": DOMAIN, "uid": nobody.pw_uid, "gid": nobody.pw_gid, "port": port}
    (root / "etc" / "main.cf").write_text(MAIN.format(**values))
    (root / "etc" / "master.cf").write_text(MASTER.format(**values))
    return Postfix(port, root / "mail" / "box")


def await_port(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, "postfix does not listen"
            time.sleep(0.1)
        else:
            return


def message(number: int | str, recipient: str = "", sender: str = "news") -> Message:
    head = f"Message-ID: <{number}@{DOMAIN}>\r\nDate: Tue, 24 Nov 2026 02:10:44 +0000\r\nFrom: news@{DOMAIN}\r\n\r\n"
    content = f"{head}.\r\n..\r\n.dot\r\nGrüße {number}\r\n".encode()
    return Message(f"m-{number}", f"{sender}@{DOMAIN}", recipient or f"user{number}@{DOMAIN}", content)


@pytest.mark.parametrize("options", ["bdat=no", "bdat=yes", "bdat=yes&max_messages=7", "dsn=failure"])
def test_each_message_arrives_once_and_unchanged(postfix: Postfix, options: str) -> None:
    batches = [[message(f"{thread}-{n}") for n in range(50)] for thread in range(4)]
    statuses: list[Status] = []

    with closing(SMTPTransport.from_url(f"smtp://127.0.0.1:{postfix.port}?{options}")) as transport:
        threads = [
            threading.Thread(target=lambda batch=batch: statuses.extend(each.status for each in transport.send(batch)))
            for batch in batches
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    arrived = postfix.delivered(200)

    assert statuses == [Status.SENT] * 200
    given = sorted(each.content.replace(b"\r\n", b"\n") for batch in batches for each in batch)
    assert sorted(content[content.index(b"Message-ID: ") :] for content in arrived) == given


@pytest.mark.parametrize("options", ["bdat=no", "bdat=yes"])
def test_refusals_are_told_apart(postfix: Postfix, options: str) -> None:
    big = Message("big", f"news@{DOMAIN}", f"big@{DOMAIN}", b"x" * 70 + b"\r\n" + b"y\r\n" * 100_000)
    batch = [
        message("first"),
        message("gone", f"gone@{DOMAIN}"),
        message("busy", f"busy@{DOMAIN}"),
        message("middle"),
        message("elsewhere", "someone@elsewhere.test"),
        big,
        message("last"),
    ]

    with closing(SMTPTransport.from_url(f"smtp://127.0.0.1:{postfix.port}?{options}")) as transport:
        outcomes = list(transport.send(batch))

    initials = "".join(each.status.value[0] for each in outcomes)
    assert initials == "srdsrrs"
    assert [each.about.value for each in outcomes if each.status is not Status.SENT] == [
        "message",  # an access map's word without a reason
        "message",
        "message",
        "message",
    ]
    assert "Access denied" in outcomes[1].reply
    assert len(postfix.delivered(3)) == 3


def test_refused_sender_is_an_outcome_about_the_sender(postfix: Postfix) -> None:
    batch = [message("x", sender="stranger"), message("y")]

    with closing(SMTPTransport.from_url(f"smtp://127.0.0.1:{postfix.port}")) as transport:
        refused, sent = transport.send(batch)

    assert (refused.status, refused.about) == (Status.REFUSED, About.SENDER)
    assert "Sender address rejected" in refused.reply
    assert sent.status is Status.SENT
