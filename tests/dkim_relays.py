"""Relays for signed mail: a Postfix whose ports sign or do not, an OpenDKIM, and an rspamd that signs and verifies."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

from bench.processes import free_port
from tests.postfix_servers import listening, postfix_server
from tests.programs import await_port, need, running_process
from tests.smtp_servers import FakeServer

ROUTES = """\
mynetworks = 127.0.0.0/8
default_transport = error
transport_maps = inline:{{{routes}}}
smtpd_relay_restrictions = permit_mynetworks, reject
{more}
"""

RSPAMD = """\
options {{
    pidfile = "$DBDIR/rspamd.pid";
    tempdir = "$DBDIR";
    control_socket = "$DBDIR/control.sock mode=0600";
    url_tld = "$DBDIR/suffixes";
    filters = "dkim";
    disable_hyperscan = true;
    dns {{ nameserver = ["127.0.0.1:{dns}:1"]; timeout = 2s; retransmits = 2; }}
}}
logging {{ type = "console"; level = "error"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{http}"; count = 1; mime = true; }}
worker "rspamd_proxy" {{
    bind_socket = "127.0.0.1:{milter}"; count = 1; milter = yes; timeout = 30s;
    upstream "local" {{ default = yes; self_scan = yes; }}
}}
worker "controller" {{ enabled = false; }}
worker "fuzzy" {{ enabled = false; }}
modules {{ path = "$PLUGINSDIR/dkim_signing.lua"; }}
.include "/etc/rspamd/modules.d/dkim.conf"
.include "/etc/rspamd/modules.d/dkim_signing.conf"
"""

SIGNS_NOT = {"dkim_signing.conf": "enabled = false;\n"}


@contextmanager
def postfix(next_hops: Mapping[str, FakeServer], milters: Sequence[str] = ("",), more: str = "") -> Iterator[list[int]]:
    """A Postfix with a port for each of `milters`; `next_hops` takes mail by the recipient's domain."""
    ports = [free_port() for _ in milters]
    routes = ", ".join(f"{domain}=smtp:[127.0.0.1]:{server.port}" for domain, server in next_hops.items())
    doors = (listening(port, f"-o smtpd_milters={milter}") for port, milter in zip(ports, milters, strict=True))
    with postfix_server() as server:
        server.start(ROUTES.format(routes=routes, more=more), "".join(doors), ports)
        yield ports


def taken(server: FakeServer, count: int = 1) -> list[bytes]:
    """What a next hop has taken, once it is that much, and it is emptied."""
    deadline = time.monotonic() + 30
    while len(server.mails) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    contents = [mail.content for mail in server.mails]
    server.mails.clear()
    assert len(contents) == count
    return contents


@contextmanager
def opendkim(folder: Path, configuration: str, port: int) -> Iterator[None]:
    """OpenDKIM as a milter. `configuration` says by itself that it listens on `port`."""
    need("opendkim")
    (folder / "opendkim.conf").write_text(configuration)
    command = ["opendkim", "-f", "-x", str(folder / "opendkim.conf")]
    with running_process(command, port, signal.SIGKILL):  # else it waits for those who are connected
        yield


@contextmanager
def rspamd(dns: int, local: Mapping[str, str] = SIGNS_NOT) -> Iterator[tuple[str, int]]:
    """An rspamd that asks this DNS server; `local` are the files in its `local.d`. Its URL, and its port for milters.

    None of its other modules is loaded: they would ask the network.
    """
    need("rspamd")
    with tempfile.TemporaryDirectory() as name:
        folder, http, milter = Path(name), free_port(), free_port()
        (folder / "suffixes").write_text("com\norg\ntest\n")
        (folder / "local.d").mkdir()
        for one, text in local.items():
            (folder / "local.d" / one).write_text(text)
        (folder / "rspamd.conf").write_text(RSPAMD.format(dns=dns, http=http, milter=milter))
        places = [f"--var={one}={folder}" for one in ("DBDIR", "RUNDIR", "LOGDIR", "LOCAL_CONFDIR")]
        with running_process(["rspamd", "-f", "-i", "-c", str(folder / "rspamd.conf"), *places], http):
            await_port(milter)
            yield f"http://127.0.0.1:{http}", milter


def by_opendkim(content: bytes, texts: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What OpenDKIM says of each signature, by selector."""
    (folder / "public-keys").write_text("".join(f"{name} {text}\n" for name, text in texts.items()))
    (folder / "verify.conf").write_text(f"TestPublicKeys {folder}/public-keys\n")
    command = ["opendkim", "-x", str(folder / "verify.conf"), "-v", "-v", "-t", "-"]
    done = subprocess.run(command, input=content, capture_output=True, check=True, timeout=30)
    return results(done.stdout.decode())


def by_rspamd(content: bytes, url: str) -> dict[str, str]:
    """The same of rspamd: `allow` or `reject`, by domain and selector."""
    answer = requests.post(f"{url}/checkv2", data=content, headers={"IP": "192.0.2.1"}, timeout=30)
    answer.raise_for_status()
    symbols = answer.json()["symbols"]
    options = symbols.get("R_DKIM_ALLOW", {}).get("options", []), symbols.get("R_DKIM_REJECT", {}).get("options", [])
    return {one: word for word, some in zip(("pass", "fail"), options, strict=True) for one in some}


PERL = r"""
use Mail::DKIM::Verifier; use Mail::DKIM::DNS; use Net::DNS::Resolver;
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => ["127.0.0.1"], port => shift));
local $/; my $verifier = Mail::DKIM::Verifier->new(); $verifier->PRINT(scalar <STDIN>); $verifier->CLOSE;
print $_->selector, "=", $_->result, "\n" for $verifier->signatures;
"""
FOLDING = 'local $h = Mail::Internet->new(\\*STDIN, MailFrom => "KEEP", Modify => 1); $h->head->fold(40); $h->print;'


def by_perl(content: bytes, dns: int) -> dict[str, str]:
    """The same of Perl's Mail::DKIM."""
    done = subprocess.run(["perl", "-e", PERL, str(dns)], input=content, capture_output=True, check=True, timeout=30)
    return dict(line.split("=") for line in done.stdout.decode().split())


def folded_anew(content: bytes) -> bytes:
    """As Perl's MailTools writes a message that it has read: all fields folded at 40 columns, names in its own case."""
    command = ["perl", "-MMail::Internet", "-e", FOLDING]
    done = subprocess.run(command, input=content.replace(b"\r\n", b"\n"), capture_output=True, check=True, timeout=30)
    return done.stdout.replace(b"\n", b"\r\n")


def results(authentication_results: str) -> dict[str, str]:
    """From Authentication-Results (RFC 8601): the word of each signature, by selector."""
    found = {}
    for part in authentication_results.split(";"):
        words = part.split()
        if words and words[0].startswith("dkim="):
            selector = next((word.partition("=")[2] for word in words if word.startswith("header.s=")), "")
            found[selector] = words[0].removeprefix("dkim=")
    return found
