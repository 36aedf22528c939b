"""Whom a refusal is about: each row of the table, real replies of many systems, and words that must not mislead."""

from __future__ import annotations

import csv
import itertools
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.drills import LONG
from tests.smtp_refusals import CASES, DATA, END, MAIL, RCPT
from transports.answers.blame import RULES, Rule, blame, blame_on_record, classify_reply
from transports.answers.replies import Phase, Reply, Verdict
from transports.answers.wording import DETAIL, own_words
from transports.base import About

CORPUS = Path(os.environ.get("MAILER_TEST_CORPUS", "../shared/corpus")) / "bounces"
COUNTED = "550 5.1.1 user over rate.com unknown"


def reply(text: str) -> Reply:
    return Reply(int(text[:3]), (text[4:],))


def row(phase: Phase, text: str) -> Rule:
    """The row that decided."""
    words = own_words(text[4:])
    found = DETAIL.search(words)
    return next(rule for rule in RULES if rule.matches(phase, text[:3], found[1] if found else "", words))


@pytest.mark.parametrize(("phase", "text", "about"), CASES, ids=[f"{p}-{t[:60]}" for p, t, _ in CASES])
def test_a_reply_is_about(phase: Phase, text: str, about: About) -> None:
    assert blame(phase, reply(text)) is about, row(phase, text).source


@pytest.mark.parametrize(("phase", "text", "about"), CASES, ids=[f"{p}-{t[:60]}" for p, t, _ in CASES])
def test_a_reply_stops_the_transport_only_about_it_or_the_rate(phase: Phase, text: str, about: About) -> None:
    stops = about in (About.RATE, About.TRANSPORT)
    expected = Verdict.UNAVAILABLE if stops else Verdict.DEFERRED if text[0] == "4" else Verdict.REFUSED

    assert classify_reply(phase, reply(text)) == (expected, about)


@pytest.mark.parametrize(
    ("phase", "text", "verdict"),
    [
        (MAIL, "250 2.1.0 Ok", Verdict.ACCEPTED),
        (MAIL, "354 go on", Verdict.OUT_OF_SEQUENCE),
        (RCPT, "250 2.1.5 Ok", Verdict.ACCEPTED),
        (RCPT, "251 will forward", Verdict.ACCEPTED),
        (RCPT, "354 go on", Verdict.OUT_OF_SEQUENCE),
        (DATA, "354 go on", Verdict.ACCEPTED),
        (DATA, "250 Ok", Verdict.OUT_OF_SEQUENCE),
        (END, "250 2.0.0 queued", Verdict.ACCEPTED),
        (END, "250 5.1.1 too many messages", Verdict.ACCEPTED),
        (END, "354 again", Verdict.OUT_OF_SEQUENCE),
    ],
)
def test_what_is_no_refusal(phase: Phase, text: str, verdict: Verdict) -> None:
    assert classify_reply(phase, reply(text))[0] is verdict


# those that the table and RFC 5321 name, and one of every ten others
USUAL_CODES = sorted({421, 432, *range(450, 460), *range(500, 505), 521, *range(530, 557), 571, *range(400, 600, 10)})


@pytest.mark.drill
def test_every_refusal_has_a_verdict_that_fits_its_class() -> None:
    for phase, code in itertools.product(Phase, range(400, 600) if LONG else USUAL_CODES):
        for detail in ("", *(f"{code // 100}.{subject}.{number}" for subject in range(8) for number in range(34))):
            verdict, about = classify_reply(phase, Reply(code, (detail,)))

            assert verdict in (Verdict.UNAVAILABLE, Verdict.DEFERRED if code < 500 else Verdict.REFUSED)
            assert (verdict is Verdict.UNAVAILABLE) == (about in (About.RATE, About.TRANSPORT)), (phase, code, detail)


def test_only_a_code_or_words_about_the_address_are_about_it() -> None:
    details = (f"5.{subject}.{number}" for subject in range(8) for number in range(34))

    counted = {detail for detail in details for phase in Phase if blame(phase, Reply(550, (detail,))) is About.ADDRESS}

    assert counted == {"5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.1.6", "5.1.10", "5.2.1", "5.4.4"}


def test_every_row_decides_some_case_and_has_a_source() -> None:
    used = {id(row(phase, text)) for phase, text, _about in CASES}

    assert [rule.source for rule in RULES if id(rule) not in used] == []
    assert all(rule.source for rule in RULES)


@given(st.sampled_from(CASES), st.sampled_from(["sender", "quota", "too.many.messages", "rate-limit", "spf", "dmarc"]))
def test_names_in_a_reply_change_nothing(case: tuple[Phase, str, About], name: str) -> None:
    phase, text, about = case
    renamed = re.sub(r"\bbo@", f"{name}@", text).replace("list@", f"{name}@")

    assert blame(phase, reply(renamed)) is about


@pytest.mark.slow
@given(st.sampled_from(Phase), st.integers(400, 599), st.text(max_size=200))
def test_any_text_has_an_answer(phase: Phase, code: int, text: str) -> None:
    assert blame(phase, Reply(code, (text,))) in About


@pytest.mark.parametrize(
    ("text", "about"),
    [
        (COUNTED, About.ADDRESS),
        ("550 5.4.5 Daily user sending quota exceeded", About.RATE),
        ("550 5.7.1 Message content rejected", About.MESSAGE),
        ("550 spam detected", About.MESSAGE),
        ("554 5.2.252 SendAsDenied", About.SENDER),
        ("552 5.2.2 mailbox full", About.MAILBOX),
        ("not sent: the server takes no 8-bit content (8BITMIME)", About.MESSAGE),
        ("Not sent: The recipient has no address", About.MESSAGE),
        ("memory: refused", About.MESSAGE),
        ("", About.MESSAGE),
        ("250 ok", About.MESSAGE),
    ],
)
def test_a_reply_on_record_is_about(text: str, about: About) -> None:
    assert blame_on_record(text) is about


def corpus_rows() -> list[tuple[str, str, str]]:
    """File, another project's reason, and the reply, where a report has an SMTP reply to judge."""
    if not CORPUS.is_dir():
        return []
    with (CORPUS / "expected.tsv").open(encoding="utf-8", newline="") as file:
        reasons = {line["file"]: line["reason"] for line in csv.DictReader(file, delimiter="\t")}
    rows = []
    for name, reason in sorted(reasons.items()):
        text = re.sub(r"=\r?\n", "", (CORPUS / name).read_text("utf-8", "replace"))
        found = re.search(r"(?im)^diagnostic-code ?: ?smtp; ?([45]\d\d(?:[ -].*(?:\r?\n[ \t]+.*)*))", text)
        if found:
            rows.append((name, reason, re.sub(r"\b([45]\d\d)-|\s+", r"\1 ", found[1]).strip()))
    return rows


GONE = {"userunknown", "hasmoved", "hostunknown"}
SOFTLY_GONE = {*GONE, "filtered", "suspend", "notaccept"}  # also about the address, in softer words
DIFFERENT = {
    "lhost-outlook-03.eml": "not reachable now is not unknown: it does not count",
    "lhost-exim-49.eml": "a bare 550 to EHLO; to RCPT, which the record does not tell, it is about the address",
}


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of bounces is not beside this folder")
def test_the_corpus_is_judged_as_others_judge_it() -> None:
    """Where another project finds an unknown user so do we, and what it finds to be anything else never counts."""
    rows = [each for each in corpus_rows() if each[0] not in DIFFERENT]
    assert len(rows) > 100

    missed = [each for each in rows if each[1] in GONE and blame_on_record(each[2]) is not About.ADDRESS]
    counted = [each for each in rows if each[1] not in SOFTLY_GONE and blame_on_record(each[2]) is About.ADDRESS]

    assert missed == []
    assert [each for each in counted if not re.search(r"(?i)user unknown|unknown user", each[2])] == []
