"""A real Postfix of a test's own, with its own configuration, queue and log."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.programs import await_port, need, program

SETTINGS = """\
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file = {root}/log/postfix.log
maillog_file_prefixes = {root}/log
myhostname = postfix.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
alias_maps =
local_recipient_maps =
disable_dns_lookups = yes
"""
SERVICES = """\
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
smtp unix - - n - - smtp
virtual unix - n n - 20 virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
BOXES = """\
mynetworks = 127.0.0.0/8
message_size_limit = 200000
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {root}/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""


def listening(port: int, options: str = "") -> str:
    """The line of master.cf with which it takes mail on a port."""
    return f"127.0.0.1:{port} inet n - n - - smtpd {options}\n"


class Postfix:
    """`root` has all that belongs to it; `box` is the Maildir in which mail for `with_box`'s domain ends."""

    def __init__(self, root: Path) -> None:
        self.root, self.box = root, root / "mail" / "box"
        root.chmod(0o755)
        for name in ("etc", "queue", "data", "mail", "log"):
            (root / name).mkdir()
        nobody = pwd.getpwnam("nobody")
        os.chown(root / "data", pwd.getpwnam("postfix").pw_uid, -1)
        os.chown(root / "mail", nobody.pw_uid, nobody.pw_gid)

    def with_box(self, domain: str) -> str:
        """The settings with which it delivers what is for this domain into `box`."""
        nobody = pwd.getpwnam("nobody")
        return BOXES.format(domain=domain, root=self.root, uid=nobody.pw_uid, gid=nobody.pw_gid)

    def start(self, settings: str, services: str, ports: Sequence[int]) -> None:
        """Start it with these beside the usual ones, and wait until it listens."""
        (self.root / "etc" / "main.cf").write_text(SETTINGS.format(root=self.root) + settings)
        (self.root / "etc" / "master.cf").write_text(services + SERVICES)
        self.order("start")
        for port in ports:
            await_port(port)

    def order(self, word: str) -> None:
        """`postfix start`, `postfix stop`."""
        command = [str(program("postfix")), "-c", str(self.root / "etc"), word]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def log(self, words: str) -> str:
        """The log, once it has these words."""
        until, file = time.monotonic() + 60, self.root / "log" / "postfix.log"
        while words not in (text := file.read_text() if file.exists() else "") and time.monotonic() < until:
            time.sleep(0.05)
        return text

    def delivered(self, count: int) -> list[bytes]:
        """What has arrived in `box`, once it is `count` messages, and the box is emptied."""
        deadline = time.monotonic() + 30
        while len(found := sorted((self.box / "new").glob("*"))) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        contents = [path.read_bytes() for path in found]
        for path in found:
            path.unlink()
        return contents


@contextmanager
def postfix_server() -> Iterator[Postfix]:
    """A Postfix that the block starts; at its end it is stopped, and forgotten."""
    need("postfix")
    root = Path(tempfile.mkdtemp(prefix="postfix-test-"))
    try:
        server = Postfix(root)
        try:
            yield server
        finally:
            if (root / "etc" / "main.cf").exists():
                server.order("stop")
    finally:
        shutil.rmtree(root)
