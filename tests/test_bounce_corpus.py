"""Real mails of dozens of systems: how many are recognised, with the right address, hard or soft as another judges."""

from __future__ import annotations

import csv
import email
import os
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from mailer.bounces.reading import Mail, read
from mailer.bounces.report import Kind, Report
from transports.base import About

CORPUS = Path(os.environ.get("MAILER_TEST_CORPUS", "../shared/corpus")) / "bounces"

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of bounces is not beside this folder")

PASSED_OVER = {  # bounces in the other project's eyes, and for us on purpose none
    "arf-20.eml": "auth-failure: no person complains, a receiver tells of DKIM and DMARC",
    "lhost-postfix-75.eml": "a server tells its own postmaster of another host's session: nothing came back",
    "lhost-sendmail-14.eml": "a person forwards a bounce: it must not be believed like one",
}
UNKNOWN = "the host says that there is no such user; that it said so late, or filters too, makes that no softer"
DISABLED = "the host says that the account is disabled for good, which is about the address, as X.2.1 is in our table"
DIFFERENT = {  # hard where the other project says soft, or the other way round; each was read
    "lhost-activehunter-02.eml": UNKNOWN,
    "lhost-amazonses-02.eml": UNKNOWN,
    "lhost-amazonses-20.eml": DISABLED,
    "lhost-apachejames-01.eml": UNKNOWN,
    "lhost-courier-02.eml": UNKNOWN,
    "lhost-dragonfly-21.eml": DISABLED,
    "lhost-dragonfly-27.eml": DISABLED,
    "lhost-exchange2003-04.eml": UNKNOWN,
    "lhost-exim-30.eml": "access denied under 5.7.1: a policy, nothing says that nobody is there",
    "lhost-ezweb-03.eml": DISABLED,
    "lhost-mailfoundry-01.eml": UNKNOWN,
    "lhost-mailru-07.eml": UNKNOWN,
    "lhost-messagingserver-03.eml": UNKNOWN,
    "lhost-messagingserver-06.eml": UNKNOWN,
    "lhost-mfilter-04.eml": "Exchange Online says 5.4.1, access denied, where its directory has no such recipient",
    "lhost-mxlogic-03.eml": UNKNOWN,
    "lhost-opensmtpd-12.eml": "it is still being tried, and says so",
    "lhost-outlook-03.eml": "a domain that cannot be reached now may be there tomorrow",
    "lhost-postfix-01.eml": "5.1.1, and procmail says: no such user",
    "lhost-postfix-07.eml": UNKNOWN,
    "lhost-postfix-35.eml": UNKNOWN,
    "lhost-postfix-52.eml": DISABLED,
    "lhost-postfix-61.eml": DISABLED,
    "lhost-receivingses-01.eml": UNKNOWN,
    "lhost-receivingses-02.eml": UNKNOWN,
    "lhost-sendmail-02.eml": UNKNOWN,
    "lhost-surfcontrol-01.eml": UNKNOWN,
    "lhost-x1-01.eml": UNKNOWN,
    "lhost-x1-02.eml": UNKNOWN,
    "lhost-x2-01.eml": UNKNOWN,
    "lhost-x2-02.eml": "no such user twice, and an account that is disabled",
    "lhost-zoho-02.eml": UNKNOWN,
    "lhost-zoho-03.eml": UNKNOWN,
    "rfc3464-06.eml": "554, service unavailable: nothing says that nobody is there",
    "rfc3464-35.eml": UNKNOWN,
    "rhost-google-01.eml": DISABLED,
    "rhost-google-07.eml": DISABLED,
    "rhost-iua-01.eml": DISABLED,
    "rhost-nttdocomo-02.eml": UNKNOWN,
    "rhost-nttdocomo-03.eml": UNKNOWN,
}
NAMED = re.compile(
    r"(?im)(?:^(?:final-recipient|original-recipient)\s*:\s*(?:[\w/-]+\s*;)?|generated from)"
    r"\s*<?([^\s<>,;()]+@[^\s<>,;()]+)"
)
FAILED = re.compile(r"(?im)^x-failed-recipients:(.*(?:\n[ \t].*)*)")
SENDERS = re.compile(r"(?im)^(?:return-path|from|sender): [^\n@]*?<?([^\s<>\"]+@[^\s<>\"]+)>?$")


@cache
def judged() -> dict[str, list[dict[str, str]]]:
    rows = defaultdict(list)
    with (CORPUS / "expected.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            rows[row["file"]].append(row)
    return rows


@cache
def mails() -> dict[str, Mail]:
    return {path.name: read(path.read_bytes()) for path in sorted(CORPUS.glob("*.eml"))}


def is_bounce(name: str) -> bool:
    """Whether it is for us to recognise: the rest are vacation notes, receipts, and what the corpus says is none."""
    reasons = {row["reason"] for row in judged()[name]}
    return not name.startswith("not-a-bounce") and not reasons & {"vacation", "delivered"}


@cache
def all_text(name: str) -> str:
    """The whole mail, decoded by Python's parser, so that an address is compared with what another reader finds."""
    pieces = []
    for part in email.message_from_bytes((CORPUS / name).read_bytes()).walk():
        pieces += [f"{field}: {value}" for field, value in part.items()]
        if not part.is_multipart():
            octets = part.get_payload(decode=True) or b""
            pieces.append(octets.decode("utf-8" if b"\x1b$" not in octets else "iso-2022-jp", "replace"))
    return "\n".join(pieces).lower()


def is_right(name: str, report: Report) -> bool:
    """Whether the report names the address: as its failed recipient, else in its text and not as a sender."""
    if report.address is None:
        return report.kind is Kind.COMPLAINED  # providers take it out
    text, address = all_text(name), report.address.lower()
    named = {*NAMED.findall(text), *re.findall(r"[^\s,]+@[^\s,]+", " ".join(FAILED.findall(text)))}
    return address in named if named else address in text and address not in SENDERS.findall(text)


def is_hard(report: Report) -> bool:
    return report.kind is Kind.BOUNCED and report.about is About.ADDRESS and report.permanent


def test_bounces_are_recognised_with_the_right_address() -> None:
    bounces = [name for name in mails() if is_bounce(name)]

    missed = [name for name in bounces if not mails()[name].reports]
    wrong = [name for name in bounces if not all(is_right(name, each) for each in mails()[name].reports)]

    right = len(bounces) - len(missed) - len(wrong)
    print(f"{right} of {len(bounces)} bounces with the right address: {right / len(bounces):.1%}")
    assert right / len(bounces) >= 0.97
    assert set(missed) == set(PASSED_OVER)
    assert wrong == []


def test_hard_and_soft_are_as_another_project_judges_or_differ_for_a_reason() -> None:
    same, judgements, softer, differing = 0, 0, 0, set()
    for name, rows in list(judged().items()):
        reports = mails()[name].reports
        if not rows or not is_bounce(name) or not reports:
            continue
        assert len(reports) == len(rows), name
        for report, row in zip(reports, rows, strict=True):
            judgements += 1
            softer += is_hard(report) and row["reason"] in ("filtered", "suspend")
            same += is_hard(report) == (row["kind"] == "hard")
            differing |= {name} if is_hard(report) != (row["kind"] == "hard") else set()

    print(
        f"{same} of {judgements} judgements agree, {same / judgements:.1%}; {len(differing)} mails differ for a reason"
    )
    print(f"{same / (judgements - softer):.1%} without what is hard here and filtered or suspended there")
    assert differing == set(DIFFERENT)
    assert same / judgements >= 0.88
    assert same / (judgements - softer) >= 0.97


def test_nothing_else_is_taken_for_a_bounce() -> None:
    others = [name for name in mails() if not is_bounce(name)]

    assert len(others) >= 8
    assert [name for name in others if any(each.kind is Kind.BOUNCED for each in mails()[name].reports)] == []
    assert [name for name in others if name.startswith("rfc3834") and not mails()[name].automatic] == []


def test_every_report_has_where_it_went_and_when() -> None:
    found = [(name, each) for name, mail in mails().items() for each in mail.reports]

    assert [name for name, each in found if each.at is None] == ["rfc3464-34.eml"]  # its date is none
    assert all(mail.automatic for mail in mails().values() if mail.reports)
    assert sum(bool(each.sent_to) for _, each in found) / len(found) > 0.95
    assert sum(each.message_id is not None for _, each in found) / len(found) > 0.8
