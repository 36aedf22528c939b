"""Programs of others that read our messages, each behind one call: what does it find wrong, and what does it read?"""

from __future__ import annotations

import email
import email.errors
import email.policy
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NamedTuple

import requests

HERE = Path(__file__).resolve().parent
SECONDS = 120
ABOUT_THE_NETWORK = ("rbl", "fuzzy_check", "hfilter", "asn", "spf", "dkim", "dmarc", "arc", "mx_check")
# What rspamd scores for the words of a message, or for how the samples are handed to it, and not for how they are made
FROM_THE_WORDS = {
    "R_MIXED_CHARSET": "an English text with a name that has letters beyond ASCII",
    "HFILTER_HOSTNAME_UNKNOWN": "the samples come from no host",
    "AUTH_NA": "nobody signs the samples and no DNS is asked",
    "RDNS_NONE": "the samples come from no host",
    "ONCE_RECEIVED": "the samples come from no host",
}


_HIDDEN = re.compile(r"display\s*:\s*none|font-size\s*:\s*0", re.IGNORECASE)
_NO_SIZE = re.compile(r"font-size\s*:\s*0", re.IGNORECASE)
_TARGETS = re.compile(r"""href\s*=\s*["']([^"']+)""", re.IGNORECASE)


def _counts_differ(sample: Sample) -> bool:
    targets = _TARGETS.findall(sample.html)
    return "<img" in sample.html or len(set(targets)) < len(targets)


# The same, but only where it is true of the sample
FROM_THE_WORDS_OF: dict[str, tuple[str, Callable[[Sample], bool]]] = {
    "LONG_SUBJ": ("the subject has more than 200 characters", lambda sample: len(sample.subject) > 200),
    "MANY_INVISIBLE_PARTS": ("the HTML hides some of its text", lambda sample: bool(_HIDDEN.search(sample.html))),
    "ZERO_FONT": ("the HTML has text without a size", lambda sample: bool(_NO_SIZE.search(sample.html))),
    "URI_COUNT_ODD": ("a picture has an address, or one is linked twice, which a text need not name", _counts_differ),
}


class Sample(NamedTuple):
    """A message as a file, and what each reader must find in it. Line ends of the texts are `\\n`."""

    name: str
    path: Path
    subject: str
    text: str
    html: str


class Stranger(NamedTuple):
    """A reader. `needs` says what is not installed, or is empty; `read` gives the defects of each sample."""

    name: str
    needs: Callable[[], str]
    read: Callable[[Sequence[Sample]], list[list[str]]]


def _missing(*what: str) -> Callable[[], str]:
    def needs() -> str:
        return ", ".join(one for one in what if not (HERE / one).exists() and shutil.which(one) is None)

    return needs


def _missing_perl(module: str) -> Callable[[], str]:
    def needs() -> str:
        perl = shutil.which("perl")
        if perl is None:
            return "perl"
        known = subprocess.run([perl, f"-M{module}", "-e", "1"], capture_output=True, check=False).returncode == 0
        return "" if known else f"Perl's {module}"

    return needs


def lines_of(command: Sequence[str], samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """One JSON object a line, a line a sample."""
    files = [str(sample.path) for sample in samples]
    done = subprocess.run([*command, *files], capture_output=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return [json.loads(line) for line in done.stdout.decode().split("\n") if line]


def _compared(sample: Sample, found: dict[str, Any]) -> list[str]:
    expected = {"subject": sample.subject, "text": sample.text, "html": sample.html}
    seen = {name: str(found[name]).replace("\r\n", "\n").rstrip("\n") for name in expected}
    differ = [f"reads another {name}" for name, value in expected.items() if seen[name] != value.rstrip("\n")]
    return [*map(str, found["defects"]), *differ]


def _python(samples: Sequence[Sample]) -> list[list[str]]:
    return [_python_reads(sample) for sample in samples]


def _python_reads(sample: Sample) -> list[str]:
    try:
        message = email.message_from_bytes(sample.path.read_bytes(), policy=email.policy.strict + email.policy.SMTP)
        assert isinstance(message, EmailMessage)
        defects = [*message.defects, *(d for part in message.walk() for value in part.values() for d in value.defects)]
        parts = {kind: message.get_body((kind,)) for kind in ("plain", "html")}
        texts = {kind: part.get_content() for kind, part in parts.items() if part is not None}
    except email.errors.MessageError as error:
        return [repr(error)]
    found = {"subject": message["Subject"], "text": texts.get("plain"), "html": texts.get("html"), "defects": defects}
    return _compared(sample, found)


def _email_mime(samples: Sequence[Sample]) -> list[list[str]]:
    found = lines_of(["perl", str(HERE / "email_mime.pl")], samples)
    return [_compared(sample, one) for sample, one in zip(samples, found, strict=True)]


def _mailparser(samples: Sequence[Sample]) -> list[list[str]]:
    found = lines_of(["node", str(HERE / "mailparser.mjs")], samples)
    return [_compared(sample, one) for sample, one in zip(samples, found, strict=True)]


def _spamassassin(samples: Sequence[Sample]) -> list[list[str]]:
    with tempfile.TemporaryDirectory() as state:
        found = lines_of(["perl", str(HERE / "spamassassin.pl"), state], samples)
    return [[] if one["score"] <= 0 else [f"scores {one['score']}: {one['tests']}"] for one in found]


def _rspamd(samples: Sequence[Sample]) -> list[list[str]]:
    with scanner() as url:
        return [_scanned(url, sample) for sample in samples]


def _scanned(url: str, sample: Sample) -> list[str]:
    answer = requests.post(f"{url}/checkv2", data=sample.path.read_bytes(), timeout=SECONDS)
    answer.raise_for_status()
    symbols = answer.json()["symbols"].values()
    counted = [one for one in symbols if one["score"] > 0 and not is_from_the_words(one["name"], sample)]
    return [f"{one['name']} scores {one['score']:g}: {one.get('description', '')}" for one in counted]


def is_from_the_words(symbol: str, sample: Sample) -> bool:
    _, applies = FROM_THE_WORDS_OF.get(symbol, ("", lambda _: False))
    return symbol in FROM_THE_WORDS or applies(sample)


@contextmanager
def scanner() -> Iterator[str]:
    """An instance with a folder and a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "suffixes").write_text("com\norg\nnet\nexample\n", "utf-8")
        (Path(folder) / "override.d").mkdir()
        for module in ABOUT_THE_NETWORK:
            (Path(folder) / "override.d" / f"{module}.conf").write_text("enabled = false;\n", "utf-8")
        configuration = Path(folder) / "rspamd.conf"
        configuration.write_text((HERE / "rspamd.conf").read_text("utf-8").replace("$PORT", str(port)), "utf-8")
        places = [f"--var={name}={folder}" for name in ("DBDIR", "RUNDIR", "LOGDIR", "LOCAL_CONFDIR")]
        command = ["rspamd", "-f", *(["-i"] if os.geteuid() == 0 else []), "-c", str(configuration), *places]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield _answering(f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()
            process.wait(timeout=SECONDS)


def _answering(url: str, process: subprocess.Popen[bytes]) -> str:
    for _ in range(SECONDS * 10):
        if process.poll() is not None:
            raise RuntimeError(f"rspamd ended with {process.returncode}")
        try:
            if requests.get(f"{url}/ping", timeout=SECONDS).ok:
                return url
        except requests.ConnectionError:
            time.sleep(0.1)
    raise RuntimeError("rspamd does not answer")


STRANGERS = (
    Stranger("Python's strict policy", lambda: "", _python),
    Stranger("Email::MIME", _missing_perl("Email::MIME"), _email_mime),
    Stranger("mailparser", _missing("node", "node_modules/mailparser"), _mailparser),
    Stranger("SpamAssassin -L", _missing_perl("Mail::SpamAssassin"), _spamassassin),
    Stranger("rspamd", _missing("rspamd"), _rspamd),
)
