"""What is said of DKIM, DMARC, MX, PTR, MTA-STS and TLS-RPT, by a resolver that asks a real server."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailer.dns_records.alignment import certainly_apart, envelope_warnings, signs
from mailer.dns_records.check import Sending, check
from mailer.dns_records.dkim import Selector, dkim_findings
from mailer.dns_records.dmarc import walk
from mailer.dns_records.dmarc_findings import dmarc_findings
from mailer.dns_records.finding import Finding, in_strings, worst
from mailer.dns_records.known import known_sendings, transport_selectors
from mailer.dns_records.lookups import parse_address, parse_server
from mailer.dns_records.mail_hosts import mx_findings, ptr_findings
from mailer.dns_records.resolver import Resolver
from mailer.dns_records.transport_security import mta_sts_findings, tls_rpt_findings
from tests.dkim_keys import ed25519_pem, write_key, write_table
from tests.dns_server import DnsServer

NEWS = Selector("news", "example.org")


def rsa(bits: int) -> str:
    """An RSA key; OpenSSL makes none of fewer than 1,024 bits."""
    octets = (
        generate_private_key(65_537, bits).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    return base64.b64encode(octets).decode()


RSA = rsa(2048)
ED25519 = base64.b64encode(
    Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
).decode()
CURVE = base64.b64encode(
    ec_key(SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()

# each process makes its own, so they are put into the records only when a test runs
KEYS = {"RSA": RSA, "ED25519": ED25519, "CURVE": CURVE, "SHORT": rsa(1024), "CUT": RSA[:-1]}


def levels(findings: Sequence[Finding]) -> list[str]:
    return [str(one.level) for one in findings]


@pytest.mark.parametrize(
    ("record", "level", "says"),
    [
        ("v=DKIM1; k=rsa; p={RSA}", "ok", "an RSA key of 2048 bits"),
        ("p={RSA}", "ok", "an RSA key of 2048 bits"),
        ("v=DKIM1; k=ed25519; p={ED25519}", "ok", "an Ed25519 key"),
        ("v=DKIM1; p={SHORT}", "note", "an RSA key of 1024 bits"),
        ("v=DKIM1; t=s:y; p={RSA}", "note", "t=y says that this is a test"),
        ("v=DKIM1; p=", "wrong", "the key is revoked"),
        ("v=DKIM1; k=rsa", "wrong", "there is no p="),
        ("v=DKIM1; p={CUT}", "wrong", "p= is no base64"),
        ("v=DKIM1; p={CURVE}", "wrong", "p= holds no RSA key"),
        ("v=DKIM1; p={ED25519}", "wrong", "p= holds no RSA key"),
        ("v=DKIM1; k=ed25519; p={RSA}", "wrong", "p= holds no Ed25519 key"),
        ("v=DKIM1; k=dsa; p={RSA}", "wrong", "k=dsa is no kind of key"),
        ("v=DKIM1; h=sha1; p={RSA}", "wrong", "h=sha1 leaves out sha256"),
        ("v=DKIM1; s=tlsrpt; p={RSA}", "wrong", "does not allow the key for mail"),
        ("v=DKIM2; p={RSA}", "wrong", "v=DKIM2 is not DKIM1"),
        ("v=DKIM1; p={RSA}; p={RSA}", "wrong", "the tag p stands there twice"),
        ("v=DKIM1; nonsense; p={RSA}", "wrong", "“nonsense” is no tag"),
    ],
)  # fmt: skip
def test_key_is_judged(record: str, level: str, says: str) -> None:
    found = list(dkim_findings(NEWS, [record.format(**KEYS)]))

    assert any(one.level == level and says in one.says for one in found), found
    assert {one.says.partition(":")[0] for one in found} == {"news._domainkey.example.org"}


def test_key_that_is_missing_or_doubled_is_wrong() -> None:
    [missing] = dkim_findings(NEWS, [])
    [doubled] = dkim_findings(NEWS, ["v=DKIM1; p=", "v=DKIM1; p="])

    assert missing.publish == ("news._domainkey.example.org", "TXT", "v=DKIM1; k=rsa; p=KEY")
    assert levels([missing, doubled]) == ["wrong", "wrong"]


def test_key_of_whoever_signs_is_compared_and_given(zone: DnsServer) -> None:
    signer = Selector("news", "example.org", f"v=DKIM1; k=rsa; p={RSA}")
    wanted = ("news._domainkey.example.org", "TXT", signer.record)

    [missing] = dkim_findings(signer, [])
    [other] = dkim_findings(signer, [f"v=DKIM1; k=ed25519; p={ED25519}"])
    [same] = dkim_findings(signer, [f"k=rsa; p={RSA[:100]} {RSA[100:]}"])

    assert (missing.publish, other.publish, same.publish) == (wanted, wanted, None)
    assert levels([missing, other, same]) == ["wrong", "wrong", "ok"]


BROKEN_KEYS = ["k=dsa; p={RSA}", "h=sha1; p={RSA}", "s=tlsrpt; p={RSA}", "v=DKIM2; p={RSA}", "p={RSA}; p=", "p=", "x"]


@pytest.mark.parametrize("records", [[], *([one] for one in BROKEN_KEYS), ["p=", "p={RSA}"]])
def test_publishing_the_key_of_whoever_signs_mends_whatever_is_wrong(records: list[str]) -> None:
    signer = Selector("news", "example.org", f"v=DKIM1; k=rsa; p={RSA}")

    [before] = dkim_findings(signer, [one.format(**KEYS) for one in records])
    assert before.level == "wrong"
    assert before.publish is not None
    assert before.publish.name == signer.place
    assert levels(list(dkim_findings(signer, [before.publish.value]))) == ["ok"]


def test_value_for_a_zone_file_is_cut_into_strings_that_hold_it() -> None:
    assert in_strings("x" * 300 + '"') == f'"{"x" * 255}" "{"x" * 45}\\""'


def dmarc(resolver: Resolver, domain: str = "example.org", envelope: str = "", *signers: str) -> list[Finding]:
    return list(dmarc_findings(resolver, domain, envelope or domain, signers))


def test_policy_that_is_missing_is_given(resolver: Resolver) -> None:
    [found] = dmarc(resolver)

    assert found.level == "wrong"
    assert found.publish == ("_dmarc.example.org", "TXT", "v=DMARC1; p=none; rua=mailto:dmarc@example.org")


@pytest.mark.parametrize(
    ("record", "level", "says"),
    [
        ("v=DMARC1; p=reject; rua=mailto:d@example.org", "ok", "asked to be treated as reject"),
        ("v=DMARC1; p=none; rua=mailto:d@example.org", "note", "protects nobody"),
        ("v=DMARC1; p=reject", "note", "there is no rua="),
        ("v=DMARC1; rua=mailto:d@example.org", "wrong", "has no p="),
        ("v=DMARC1; p=rejekt", "wrong", "p=rejekt is none of none, quarantine, reject"),
        ("v=DMARC1; p=reject; rua=d@example.org", "wrong", "no mailto:"),
        ("v=DMARC1; p=reject; p=none", "wrong", "twice"),
        ("v=DMARC1; p=reject; rua=mailto:d@reports.example.net!10m", "note", "has not said that it takes reports"),
    ],
)
def test_policy_is_judged(zone: DnsServer, resolver: Resolver, record: str, level: str, says: str) -> None:
    zone.records["_dmarc.example.org TXT"] = [f'"{record}"', '"v=spf1 of another kind"']

    found = dmarc(resolver)

    assert any(one.level == level and says in one.says for one in found), found


def test_reports_may_go_to_whoever_says_so(zone: DnsServer, resolver: Resolver) -> None:
    zone.records["_dmarc.example.org TXT"] = ['"v=DMARC1; p=reject; rua=mailto:a@reports.net, mailto:b@in.example.org"']
    [asked] = [one.publish for one in dmarc(resolver) if one.publish]
    assert asked == ("example.org._report._dmarc.reports.net", "TXT", "v=DMARC1")

    zone.records[f"{asked.name} TXT"] = [f'"{asked.value}"']

    assert levels(dmarc(Resolver(parse_server(zone.place)))) == ["ok", "ok"]


def test_policy_above_holds_with_its_policy_for_subdomains(zone: DnsServer, resolver: Resolver) -> None:
    zone.records["_dmarc.example.org TXT"] = ['"v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@example.org"']

    found = dmarc(resolver, "news.mail.example.org")

    assert (
        "which holds for news.mail.example.org too: mail that fails is asked to be treated as quarantine"
        in found[0].says
    )
    assert [question for _, question in zone.asked[:4]] == [
        "_dmarc.news.mail.example.org TXT", "_dmarc.mail.example.org TXT", "_dmarc.example.org TXT", "_dmarc.org TXT",
    ]  # fmt: skip


def test_two_policies_at_one_name_count_for_nothing(zone: DnsServer, resolver: Resolver) -> None:
    zone.records["_dmarc.example.org TXT"] = ['"v=DMARC1; p=reject"', '"v=DMARC1; p=none"']

    assert [one.says[:40] for one in dmarc(resolver)] == [
        "_dmarc.example.org has several records, ",
        "there is no DMARC record for example.org",
    ]


BROKEN_POLICIES = [
    [],
    ["v=DMARC1"],
    ["v=DMARC1; rua=mailto:a@example.org; pct=50"],
    ["v=DMARC1; p=rejekt; sp=x; np=y; adkim=r"],
    ["v=DMARC1; p=reject; p=none; nonsense"],
    ["v=DMARC1; p=reject; rua=a@example.org, mailto:b@example.org"],
    ["v=DMARC1; p=reject; rua= ,"],
    ["v=DMARC1; p=reject", "v=DMARC1; p=quarantine; rua=b", "v=DMARC1; sp=none"],
]


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("records", BROKEN_POLICIES)
def test_publishing_the_policy_that_is_given_mends_whatever_is_wrong(
    zone: DnsServer, resolver: Resolver, records: list[str], above: bool
) -> None:
    zone.records |= {"_dmarc.example.org TXT": [f'"{one}"' for one in records]} if records else {}
    domain = "news.example.org" if above else "example.org"

    [wanted] = {one.publish for one in dmarc(resolver, domain) if one.publish}
    zone.records[f"{wanted.name} TXT"] = [f'"{wanted.value}"']
    after = dmarc(Resolver(parse_server(zone.place)), domain)

    assert not {"wrong"} & set(levels(after)), after
    assert not any(one.publish for one in after)


@pytest.mark.parametrize(
    ("records", "domain", "organization", "policy"),
    [
        ({}, "a.example.org", "a.example.org", None),
        ({"example.org": "p=none"}, "a.b.example.org", "example.org", "example.org"),
        ({"example.org": "p=none", "b.example.org": "p=none"}, "a.b.example.org", "example.org", "example.org"),
        ({"example.org": "p=none", "b.example.org": "psd=n"}, "a.b.example.org", "b.example.org", "b.example.org"),
        ({"org": "p=none; psd=y"}, "a.b.example.org", "example.org", "org"),
        ({"org": "p=none; psd=y", "a.example.org": "p=none"}, "a.example.org", "example.org", "a.example.org"),
        ({"org": "p=none; psd=y"}, "org", "org", "org"),
        ({"example.org": "p=none"}, "1.2.3.4.5.6.7.8.9.example.org", "example.org", "example.org"),
    ],
)  # fmt: skip
def test_walk_finds_the_organization(
    zone: DnsServer, resolver: Resolver, records: dict[str, str], domain: str, organization: str, policy: str | None
) -> None:
    zone.records |= {f"_dmarc.{name} TXT": [f'"v=DMARC1; {record}"'] for name, record in records.items()}

    found = walk(resolver, domain)

    assert (found.organization, found.policy and found.policy.domain) == (organization, policy)
    assert len(zone.asked) <= 8


@pytest.mark.parametrize(
    ("policy", "envelope", "signers", "level", "says"),
    [
        ("", "example.org", (), "ok", "is aligned"),
        ("", "bounce.example.org", (), "ok", "is aligned"),
        ("aspf=s", "bounce.example.org", (), "wrong", "is not aligned"),
        ("aspf=s", "bounce.example.org", ("mail.example.org",), "note", "DKIM by mail.example.org does"),
        ("aspf=s; adkim=s", "bounce.example.org", ("mail.example.org",), "wrong", "sign with DKIM as example.org"),
        ("", "relay.example.net", ("example.org",), "note", "DKIM by example.org does"),
        ("", "relay.example.net", ("example.net",), "wrong", "sign with DKIM as example.org"),
    ],
)
def test_alignment_is_that_of_the_policy(
    zone: DnsServer, resolver: Resolver, policy: str, envelope: str, signers: tuple[str, ...], level: str, says: str
) -> None:
    zone.records["_dmarc.example.org TXT"] = [f'"v=DMARC1; p=reject; rua=mailto:d@example.org; {policy}"']
    zone.records["_dmarc.example.net TXT"] = ['"v=DMARC1; p=none"']

    found = dmarc(resolver, "example.org", envelope, *signers)

    assert found[-1].level == level
    assert says in found[-1].says


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ("example.org", "example.org", False),
        ("example.org", "bounce.example.org", False),
        ("news.example.org", "example.org", False),
        ("news.example.org", "bounce.example.org", False),
        ("example.org", "example.net", True),
        ("example.org", "sample.org", True),
        ("a.co.uk", "b.co.uk", False),  # only the DNS can tell
    ],
)
def test_domains_that_cannot_belong_together(one: str, other: str, apart: bool) -> None:
    assert certainly_apart(one, other) is certainly_apart(other, one) is apart


def test_bounces_elsewhere_are_told_once_for_each_domain() -> None:
    senders = ("news@example.org", "@example.org", "@mail.relay.net", "a@other.org")

    told = envelope_warnings("bounce@relay.net", senders)

    assert [one.partition(" (")[0] for one in told] == [
        "Bounces go to relay.net, so SPF does not count for mail From example.org",
        "Bounces go to relay.net, so SPF does not count for mail From other.org",
    ]
    assert envelope_warnings("", senders) == ()


@pytest.mark.parametrize(
    ("records", "level", "says"),
    [
        ({"MX": ["20 b.example.org.", "10 a.example.org."]}, "ok", "goes to a.example.org, b.example.org"),
        ({"MX": ["0 ."]}, "wrong", "a null MX"),
        ({"MX": ["10 gone.example.org."]}, "wrong", "gone.example.org, which should take the mail"),
        ({"AAAA": ["2001:db8::1"]}, "note", "has no MX; mail goes to its address 2001:db8::1"),
        ({}, "wrong", "neither MX nor address"),
    ],
)
def test_where_mail_is_taken_is_judged(
    zone: DnsServer, resolver: Resolver, records: dict[str, list[str]], level: str, says: str
) -> None:
    zone.records |= {f"example.org {kind}": values for kind, values in records.items()}
    zone.records |= {"a.example.org A": ["192.0.2.1"], "b.example.org AAAA": ["2001:db8::1"]}

    [found] = mx_findings(resolver, "example.org")

    assert (found.level, says in found.says) == (level, True), found


@pytest.mark.parametrize(
    ("names", "level", "says"),
    [
        (["mail.example.org."], "ok", "192.0.2.25 is mail.example.org, and back"),
        (["other.example.org.", "mail.example.org."], "ok", "and back"),
        (["other.example.org."], "wrong", "does not lead back"),
        (["host-0-2-25.dial.example.org."], "note", "made of its digits"),
        ([], "wrong", "has no name"),
    ],
)
def test_name_of_an_address_is_judged(
    zone: DnsServer, resolver: Resolver, names: list[str], level: str, says: str
) -> None:
    zone.records |= {"mail.example.org A": ["192.0.2.25"], "host-0-2-25.dial.example.org A": ["192.0.2.25"]}
    zone.records |= {"25.2.0.192.in-addr.arpa PTR": names} if names else {}

    [found] = ptr_findings(resolver, parse_address("192.0.2.25"))

    assert (found.level, says in found.says) == (level, True), found


@pytest.mark.parametrize(
    ("records", "host", "level"),
    [
        ([], True, "note"),
        (["v=STSv1; id=20260101"], True, "ok"),
        (["v=STSv1; id=20260101"], False, "wrong"),
        (["v=STSv1;"], True, "wrong"),
        (["v=STSv1; id=1", "v=STSv1; id=2"], True, "wrong"),
        (["something else"], True, "note"),
        ([], False, "note"),
    ],
)
def test_mta_sts_is_judged_and_its_policy_given(
    zone: DnsServer, resolver: Resolver, records: list[str], host: bool, level: str
) -> None:
    zone.records["example.org MX"] = ["10 mx.example.org."]
    zone.records |= {"_mta-sts.example.org TXT": [f'"{one}"' for one in records]} if records else {}
    zone.records |= {"mta-sts.example.org A": ["192.0.2.80"]} if host else {}

    [found] = mta_sts_findings(resolver, "example.org")

    assert found.level == level
    if level in ("ok", "note"):
        assert "mode: testing, mx: mx.example.org, max_age: 604800" in found.says
    assert bool(found.publish) is (host and level != "ok")  # what announces a policy that nobody serves would be wrong
    if found.publish:
        zone.records["_mta-sts.example.org TXT"] = [f'"{found.publish.value}"']
        assert levels(list(mta_sts_findings(Resolver(parse_server(zone.place)), "example.org"))) == ["ok"]


@pytest.mark.parametrize(
    ("records", "level"),
    [
        ([], "note"),
        (["v=TLSRPTv1; rua=mailto:tls@example.org"], "ok"),
        (["v=TLSRPTv1; rua=tls@example.org"], "wrong"),
        (["v=TLSRPTv1; rua=mailto:a@b.org", "v=TLSRPTv1; rua=mailto:c@b.org"], "wrong"),
    ],
)
def test_reports_about_tls_are_judged(zone: DnsServer, resolver: Resolver, records: list[str], level: str) -> None:
    zone.records |= {"_smtp._tls.example.org TXT": [f'"{one}"' for one in records]} if records else {}

    [found] = tls_rpt_findings(resolver, "example.org")

    assert found.level == level
    if found.publish:
        zone.records["_smtp._tls.example.org TXT"] = [f'"{found.publish.value}"']
        assert levels(list(tls_rpt_findings(Resolver(parse_server(zone.place)), "example.org"))) == ["ok"]


def test_dns_that_does_not_answer_is_apart_from_what_is_missing(zone: DnsServer) -> None:
    zone.records |= {"example.org MX": ["10 mx.example.org."], "mx.example.org A": ["192.0.2.1"]}
    zone.silent.add("example.org")
    zone.failing.add("_dmarc.example.org")

    found = check(Resolver(parse_server(zone.place), seconds=0.2), Sending("example.org", "example.org"))

    unknown = {one.what: one.says for one in found if one.level == "unknown"}
    assert unknown["SPF"] == "cannot be told: TXT of example.org: no answer"
    assert unknown["DMARC"] == "cannot be told: TXT of _dmarc.example.org: the DNS answers with an error"
    assert unknown.keys() == {"SPF", "DMARC", "MX", "MTA-STS"}
    assert worst(found) == "unknown"


def test_resolver_that_answers_nothing_is_soon_given_up(zone: DnsServer) -> None:
    zone.silent |= {"example.org", "_dmarc.example.org", "_dmarc.org", "_mta-sts.example.org", "_smtp._tls.example.org"}

    found = check(Resolver(parse_server(zone.place), seconds=0.1), Sending("example.org", "example.org"))

    assert {one.what for one in found if one.level == "unknown"} == {"SPF", "DMARC", "MX", "MTA-STS", "TLS-RPT"}
    assert found[-1].says.endswith("TXT of _smtp._tls.example.org: not asked, as nothing before was answered")
    assert {key for _, key in zone.asked} == {"example.org TXT", "_dmarc.example.org TXT", "example.org MX"}


def test_name_behind_an_alias_is_followed(zone: DnsServer, resolver: Resolver) -> None:
    zone.records |= {
        "news._domainkey.example.org CNAME": ["news.dkim.relay.net."],
        "news.dkim.relay.net TXT": [f'"v=DKIM1; k=ed25519; p={ED25519}"'],
    }

    assert levels(list(dkim_findings(NEWS, resolver.txt(NEWS.place)))) == ["ok"]


@pytest.mark.parametrize(
    ("given", "server"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
    ],
)
def test_resolver_is_named_by_address_and_port(given: str, server: tuple[str, int]) -> None:
    assert parse_server(given) == server


@pytest.mark.parametrize(
    "given", ["", "localhost", "dns.example.org:53", "192.0.2.53:x", "192.0.2.53:0", "1.1.1.1:65536"]
)
def test_resolver_without_an_address_is_none(given: str) -> None:
    with pytest.raises(ValueError, match=r"address|port|int"):
        parse_server(given)


def test_keys_are_those_of_the_transport_wherever_it_stands_but_for_those_whose_time_is_over(tmp_path: Path) -> None:
    write_key(tmp_path / "key.pem", ed25519_pem())
    table = write_table(
        tmp_path, "example.org old key.pem\nuntil = 2020-01-01", "example.org New key.pem\nnot_before = 2090-01-01"
    )

    keys = transport_selectors(f"failover:(dkim:(memory:)?keys={table} memory:)?cooldown=1m", time.time())

    assert [key.place for key in keys] == ["new._domainkey.example.org"]
    assert keys[0].record.startswith("v=DKIM1; k=ed25519; p=")
    assert levels(list(dkim_findings(keys[0], [keys[0].record]))) == ["ok"]
    assert transport_selectors("smtp://user:password@relay.example.org", time.time()) == []
    assert transport_selectors("no URL", time.time()) == []


@pytest.mark.parametrize(
    ("url", "signed"),
    [
        ("dkim:(smtp://a)?keys=/k", True),
        ("failover:(dkim:(smtp://a)?keys=/k dkim:(smtp://b)?keys=/k)", True),
        ("failover:(dkim:(smtp://a)?keys=/k smtp://b)", False),
        ("smtp://a", False),
        ("no URL", False),
    ],
)
def test_transport_signs_if_all_of_it_does(url: str, signed: bool) -> None:
    assert signs(url) is signed


def test_domains_are_those_of_the_senders_or_else_of_the_keys() -> None:
    other = Selector("s", "other.net")

    sendings = known_sendings(("news@mail.example.org", "@example.org", "a@example.org"), "", [NEWS, other], ())

    assert [(one.domain, one.envelope) for one in sendings] == [("mail.example.org",) * 2, ("example.org",) * 2]
    assert [one.selectors for one in sendings] == [[NEWS], [NEWS]]
    assert [one.domain for one in known_sendings((), "", [NEWS], ())] == ["example.org"]
    assert [one.envelope for one in known_sendings(("@example.org",), "b@relay.net", [], ())] == ["relay.net"]
    assert [one.domain for one in known_sendings((), "b@relay.net", [], ())] == ["relay.net"]
    assert known_sendings((), "", [], ()) == []
