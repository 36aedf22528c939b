"""Dovecot of a test's own: an ordinary user runs it, on a free port, with a certificate for 127.0.0.1's name."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imap_tools import MailBox

from bench.processes import free_port
from tests.bounce_examples import certificate, pem_files

PASSWORD, USER = "correct-horse", "bounces"
CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
mail_location = maildir:{folder}/mail/%u
first_valid_uid = 1
first_valid_gid = 1
imap_idle_notify_interval = 10 s
mailbox_idle_check_interval = 1 s
default_client_limit = 100
default_process_limit = 10
service anvil {{
  chroot =
  client_limit = 200
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail
}}
"""


@dataclass(frozen=True, slots=True)
class ImapServer:
    """A server with an empty INBOX for any user with the password."""

    port: int
    ca_file: Path

    def url(self, user: str = USER, options: str = "") -> str:
        return f"imaps://{user}@localhost:{self.port}/INBOX?ca_file={self.ca_file}{options}"

    def open(self, user: str = USER) -> MailBox:
        """The same mailbox, for a look from outside."""
        context = ssl.create_default_context(cafile=self.ca_file)
        return MailBox("localhost", self.port, timeout=10, ssl_context=context).login(user, PASSWORD)

    def deliver(self, *mails: bytes, user: str = USER) -> None:
        with self.open(user) as box:
            for mail in mails:
                box.append(mail.replace(b"\n", b"\r\n"), "INBOX")

    def flags(self, user: str = USER) -> list[tuple[str, ...]]:
        """Those of each mail in the INBOX, by age."""
        with self.open(user) as box:
            return [tuple(sorted(set(one.flags) - {"\\Recent"})) for one in box.fetch(mark_seen=False)]


@contextmanager
def dovecot() -> Iterator[ImapServer]:
    """Start it, and end it with all that it has made."""
    folder = Path(tempfile.mkdtemp(prefix="dovecot-"))
    user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    port = free_port()
    pem_files(folder, *certificate("localhost"))
    group = "nogroup" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    told = {"folder": folder, "port": port, "user": user.pw_name, "group": group, "password": PASSWORD}
    (folder / "dovecot.conf").write_text(CONFIGURATION.format(**told))
    if os.getuid() == 0:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, user.pw_uid, user.pw_gid)
    ids = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    command = ["/usr/sbin/dovecot", "-F", "-c", str(folder / "dovecot.conf")]
    process = subprocess.Popen(command, **ids)
    try:
        _wait(port, process, folder)
        yield ImapServer(port, folder / "cert.pem")
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder)


def _wait(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            time.sleep(0.05)
    log = folder / "log"
    raise AssertionError(f"dovecot does not listen: {log.read_text() if log.exists() else process.poll()}")
