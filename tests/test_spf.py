"""SPF as receivers evaluate it: the examples of RFC 7208's appendix A, its limits, and what a record costs."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from mailer.dns_records.finding import Finding, Level, in_strings
from mailer.dns_records.lookups import DnsFailure, parse_address, parse_server
from mailer.dns_records.resolver import Resolver
from mailer.dns_records.spf.cost import cost_of
from mailer.dns_records.spf.evaluation import evaluate
from mailer.dns_records.spf.findings import spf_findings
from mailer.dns_records.spf.macros import expanded, values_for
from mailer.dns_records.spf.record import SpfError, read_terms
from tests.dns_server import DnsServer

APPENDIX_A = {
    "example.com A": ["192.0.2.10", "192.0.2.11"],
    "example.com MX": ["10 mail-a.example.com.", "20 mail-b.example.com."],
    "amy.example.com A": ["192.0.2.65"],
    "mail-a.example.com A": ["192.0.2.129"],
    "mail-b.example.com A": ["192.0.2.130"],
    "example.org MX": ["10 mail-c.example.org."],
    "mail-c.example.org A": ["192.0.2.140"],
    "10.2.0.192.in-addr.arpa PTR": ["example.com."],
    "65.2.0.192.in-addr.arpa PTR": ["amy.example.com."],
    "4.0.0.10.in-addr.arpa PTR": ["bob.example.com."],  # lies
}


def result(resolver: Resolver, address: str, domain: str = "example.com", sender: str = "") -> str:
    return str(evaluate(resolver, domain, parse_address(address), sender).result)


@pytest.mark.parametrize(
    ("record", "address", "expected"),
    [
        ("v=spf1 +all", "203.0.113.1", "pass"),
        ("v=spf1 a -all", "192.0.2.10", "pass"),
        ("v=spf1 a -all", "192.0.2.65", "fail"),
        ("v=spf1 a:example.org -all", "192.0.2.10", "fail"),
        ("v=spf1 mx -all", "192.0.2.130", "pass"),
        ("v=spf1 mx:example.org -all", "192.0.2.140", "pass"),
        ("v=spf1 mx mx:example.org -all", "192.0.2.140", "pass"),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.131", "pass"),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.143", "pass"),
        ("v=spf1 ptr -all", "192.0.2.65", "pass"),
        ("v=spf1 ptr -all", "192.0.2.140", "fail"),
        ("v=spf1 ptr -all", "10.0.0.4", "fail"),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129", "pass"),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.65", "fail"),
        ("v=spf1 ip6:2001:db8::/32 ~all", "2001:db8::1", "pass"),
        ("v=spf1 ip6:2001:db8::/32 ~all", "2001:db9::1", "softfail"),
        ("v=spf1 ip4:192.0.2.1", "203.0.113.1", "neutral"),
        ("V=SPF1 ?ALL", "203.0.113.1", "neutral"),
        ("v=spf1 -ip4:192.0.2.1 +all", "192.0.2.1", "fail"),
        ("v=spf1 exists:%{ir}.%{l1r+-}._spf.%{d} -all", "192.0.2.3", "pass"),
        ("v=spf1 exp=why.%{d} tag=x ip4:192.0.2.1 -all", "192.0.2.1", "pass"),
        ("v=spf1 ip4:192.0.2.1 al", "192.0.2.1", "permerror"),
        ("v=spf1 ip4:192.0.2.300", "192.0.2.1", "permerror"),
        ("v=spf1 a/33 -all", "192.0.2.1", "permerror"),
        ("v=spf1 include: -all", "192.0.2.1", "permerror"),
        ("v=spf1 redirect=a.org redirect=b.org", "192.0.2.1", "permerror"),
        ("v=spf1 redirect=nothing.example.com", "192.0.2.1", "permerror"),
        ("v=spf1 include:nothing.example.com -all", "192.0.2.1", "permerror"),
        ("v=spf10 -all", "192.0.2.1", "none"),
    ],
)
def test_result_is_what_the_rfc_says(
    zone: DnsServer, resolver: Resolver, record: str, address: str, expected: str
) -> None:
    zone.records |= APPENDIX_A | {"example.com TXT": [f'"{record}"', '"something else"']}
    zone.records["3.2.0.192.bob._spf.example.com A"] = ["127.0.0.2"]

    assert result(resolver, address, sender="bob+news@example.com") == expected


def test_include_counts_only_if_it_passes_and_a_redirect_decides(zone: DnsServer, resolver: Resolver) -> None:
    zone.records |= {
        "example.com TXT": ['"v=spf1 include:in.example.net redirect=rest.example.net"'],
        "in.example.net TXT": ['"v=spf1 ip4:192.0.2.1 -all"'],
        "rest.example.net TXT": ['"v=spf1 ip4:192.0.2.2 -all"'],
    }

    found = evaluate(resolver, "example.com", parse_address("192.0.2.1"))
    assert (found.result, found.by, found.lookups) == ("pass", ("include:in.example.net", "ip4:192.0.2.1"), 1)
    found = evaluate(resolver, "example.com", parse_address("192.0.2.2"))
    assert (found.result, found.by, found.lookups) == ("pass", ("redirect=rest.example.net", "ip4:192.0.2.2"), 2)
    assert result(resolver, "192.0.2.3") == "fail"


@pytest.mark.parametrize(("terms", "expected"), [(10, "pass"), (11, "permerror")])
def test_no_more_than_ten_lookups_are_made(zone: DnsServer, resolver: Resolver, terms: int, expected: str) -> None:
    hosts = [f"h{number}.example.com" for number in range(terms)]
    zone.records["example.com TXT"] = [f'"v=spf1 {" ".join(f"a:{host}" for host in hosts)} -all"']
    zone.records |= {f"{host} A": [f"192.0.2.{number}"] for number, host in enumerate(hosts)}

    assert result(resolver, f"192.0.2.{terms - 1}") == expected
    assert cost_of(resolver, "example.com").lookups == terms


@pytest.mark.parametrize(("voids", "expected"), [(2, "pass"), (3, "permerror")])
def test_no_more_than_two_lookups_may_be_void(zone: DnsServer, resolver: Resolver, voids: int, expected: str) -> None:
    names = " ".join(f"a:gone{number}.example.com" for number in range(voids))
    zone.records["example.com TXT"] = [f'"v=spf1 {names} ip4:192.0.2.1 -all"']

    assert result(resolver, "192.0.2.1") == expected
    assert cost_of(resolver, "example.com").voids == voids


def test_more_than_ten_mail_hosts_are_too_many(zone: DnsServer, resolver: Resolver) -> None:
    zone.records["example.com TXT"] = ['"v=spf1 mx -all"']
    zone.records["example.com MX"] = [f"10 mx{number}.example.com." for number in range(11)]

    assert result(resolver, "192.0.2.1") == "permerror"
    assert len(cost_of(resolver, "example.com").problems) == 1


def test_cost_is_counted_over_everything_that_is_included(zone: DnsServer, resolver: Resolver) -> None:
    zone.records |= {
        "example.com TXT": ['"v=spf1 include:big.example.net a -all mx"'],
        "example.com A": ["192.0.2.1"],
        "big.example.net TXT": [
            '"v=spf1 include:one.example.net include:two.example.net exists:%{i}.example.net ~all"'
        ],
        "one.example.net TXT": ['"v=spf1 ip4:192.0.2.0/28 +all"'],
        "two.example.net TXT": ['"v=spf1 ptr"'],
    }

    cost = cost_of(resolver, "example.com")

    assert (cost.lookups, cost.voids, cost.ends_with, cost.problems) == (6, 0, "-", [])
    assert cost.each == [("include:big.example.net", 5), ("a", 1)]


def test_circle_is_told_and_ends(zone: DnsServer, resolver: Resolver) -> None:
    zone.records |= {
        "example.com TXT": ['"v=spf1 include:other.example.com -all"'],
        "other.example.com TXT": ['"v=spf1 include:example.com -all"'],
    }

    assert result(resolver, "192.0.2.1") == "permerror"
    assert cost_of(resolver, "example.com").problems == ["include:example.com leads in a circle"]


def test_failing_dns_is_no_result(zone: DnsServer, resolver: Resolver) -> None:
    zone.records["example.com TXT"] = ['"v=spf1 a:away.example.com -all"']
    zone.failing.add("away.example.com")

    with pytest.raises(DnsFailure, match=r"A of away\.example\.com: the DNS answers with an error"):
        result(resolver, "192.0.2.1")


def test_long_record_is_read_over_tcp_and_joined(zone: DnsServer, resolver: Resolver) -> None:
    terms = " ".join(f"ip4:192.0.2.{number}" for number in range(200))
    record = f"v=spf1 {terms} -all"
    strings = " ".join(f'"{record[start : start + 255]}"' for start in range(0, len(record), 255))
    zone.records["example.com TXT"] = [strings]

    assert result(resolver, "192.0.2.199") == "pass"
    assert zone.asked == [("UDP", "example.com TXT"), ("TCP", "example.com TXT")]


@pytest.mark.parametrize(
    ("macro", "address", "expected"),
    [  # of RFC 7208 section 7.4
        ("%{s}", "192.0.2.3", "strong-bad@email.example.com"),
        ("%{o}", "192.0.2.3", "email.example.com"),
        ("%{d4}", "192.0.2.3", "email.example.com"),
        ("%{d2}", "192.0.2.3", "example.com"),
        ("%{dr}", "192.0.2.3", "com.example.email"),
        ("%{d2r}", "192.0.2.3", "example.email"),
        ("%{l-}", "192.0.2.3", "strong.bad"),
        ("%{lr-}", "192.0.2.3", "bad.strong"),
        ("%{l1r-}", "192.0.2.3", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "192.0.2.3", "3.2.0.192.in-addr._spf.example.com"),
        ("%{i}", "2001:db8::cb01", f"2.0.0.1.0.d.b.8.{'0.' * 20}c.b.0.1"),
        ("%{S}", "192.0.2.3", "strong-bad%40email.example.com"),
        ("a%%b%_c%-d", "192.0.2.3", "a%b c%20d"),
    ],
)  # fmt: skip
def test_macros_are_those_of_the_rfc(macro: str, address: str, expected: str) -> None:
    values = values_for(parse_address(address), "strong-bad@email.example.com", "email.example.com")

    assert expanded(macro, values) == expected


@pytest.mark.parametrize(
    "record", ["v=spf1 a:%{x}", "v=spf1 all:x", "v=spf1 ip6:192.0.2.1", "v=spf1 a: -all", "v=spf1 é"]
)
def test_record_with_a_bad_term_is_no_record(record: str) -> None:
    with pytest.raises(SpfError):
        read_terms(record)


def found_for(resolver: Resolver, *addresses: str) -> list[Finding]:
    return list(spf_findings(resolver, "example.com", [parse_address(address) for address in addresses]))


def test_missing_record_is_given_with_the_addresses(resolver: Resolver) -> None:
    found = found_for(resolver, "192.0.2.1", "2001:db8::1")

    assert [one.level for one in found] == [Level.WRONG] * 3
    assert [one.says for one in found[1:]] == [
        "192.0.2.1 does not pass: none, as there is no record",
        "2001:db8::1 does not pass: none, as there is no record",
    ]
    assert {one.publish for one in found} == {("example.com", "TXT", "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 ~all")}


def test_addresses_that_do_not_pass_are_put_into_one_record(zone: DnsServer, resolver: Resolver) -> None:
    zone.records["example.com TXT"] = ['"v=spf1 ip4:192.0.2.1 -all"']

    found = found_for(resolver, "192.0.2.1", "192.0.2.2", "2001:db8::1")

    assert [one.level for one in found] == ["ok", "ok", "wrong", "wrong"]
    assert {one.publish for one in found[2:]} == {
        ("example.com", "TXT", "v=spf1 ip4:192.0.2.2 ip6:2001:db8::1 ip4:192.0.2.1 -all")
    }


def test_record_that_is_proposed_lets_the_addresses_pass(zone: DnsServer, resolver: Resolver) -> None:
    zone.records["example.com TXT"] = ['"v=spf1 -ip4:192.0.2.0/24 redirect=rest.example.com"']
    zone.records["rest.example.com TXT"] = ['"v=spf1 -all"']
    [*_, found] = found_for(resolver, "192.0.2.7")
    assert found.publish is not None

    zone.records["example.com TXT"] = [f'"{found.publish.value}"']

    assert [one.level for one in found_for(Resolver(parse_server(zone.place)), "192.0.2.7")] == ["ok", "ok"]


def test_several_records_become_one(zone: DnsServer, resolver: Resolver) -> None:
    zone.records["example.com TXT"] = ['"v=spf1 a mx -all"', '"v=spf1 mx include:x.org ~all"']
    zone.records["x.org TXT"] = ['"v=spf1 ip4:192.0.2.9 -all"']

    [found] = found_for(resolver)

    assert found.publish == ("example.com", "TXT", "v=spf1 a mx include:x.org ~all")


@pytest.mark.parametrize(
    ("records", "expected", "left_out"),
    [
        (
            ["v=spf1 include:g.example.com ~all", "v=spf1 ip4:198.51.100.1 -all"],
            "v=spf1 ip4:192.0.2.25 include:g.example.com ip4:198.51.100.1 ~all",
            "",
        ),
        (["v=spf1 -all", "v=spf1 +all"], "v=spf1 ip4:192.0.2.25 ~all", ""),
        (["v=spf1 redirect=g.example.com", "v=spf1 a"], "v=spf1 ip4:192.0.2.25 a include:g.example.com ~all", ""),
        (["v=spf1 exp=a.b ip4:192.0.2.0/24", "v=spf1 exp=c.d"], "v=spf1 exp=a.b ip4:192.0.2.0/24 ~all", ""),
        (["v=spf1 a ALL"], "v=spf1 ip4:192.0.2.25 a ~all", ""),
        (["v=spf1 ip4:192.0.2.1 al -all"], "v=spf1 ip4:192.0.2.25 ip4:192.0.2.1 -all", "al"),
        (["v=spf1 include:gone.example.com ?all"], "v=spf1 ip4:192.0.2.25 ?all", "include:gone.example.com"),
        (["v=spf1 redirect=gone.example.com"], "v=spf1 ip4:192.0.2.25 ~all", "redirect=gone.example.com"),
        (["v=spf1 redirect=all.example.com"], "v=spf1 ip4:192.0.2.25 ~all", "redirect=all.example.com"),
        (["v=spf1 redirect=g.example.com"], "v=spf1 ip4:192.0.2.25 redirect=g.example.com", ""),
        (["v=spf1 include:example.com -all"], "v=spf1 ip4:192.0.2.25 -all", "include:example.com"),
    ],
)
def test_record_to_publish_has_the_addresses_and_is_one_that_receivers_can_use(
    zone: DnsServer, resolver: Resolver, records: list[str], expected: str, left_out: str
) -> None:
    zone.records |= {"g.example.com TXT": ['"v=spf1 ip4:203.0.113.0/24 ~all"'], "example.com A": ["192.0.2.1"]}
    zone.records |= {"all.example.com TXT": ['"v=spf1 +all"'], "example.com TXT": [f'"{one}"' for one in records]}

    found = found_for(resolver, "192.0.2.25")

    assert {one.publish and one.publish.value for one in found if one.level == "wrong"} <= {expected}
    assert any(one.says.startswith("192.0.2.25 ") for one in found)
    told = [one.says for one in found if "leaves out" in one.says]
    assert [one.partition("leaves out ")[2].partition(",")[0] for one in told] == ([left_out] if left_out else [])


def test_record_to_publish_says_where_addresses_belong_when_nobody_gives_one(
    zone: DnsServer, resolver: Resolver
) -> None:
    zone.records["example.com TXT"] = ['"v=spf1 -all"', '"v=spf1 +all"']

    [several, hint] = found_for(resolver)

    assert several.publish == ("example.com", "TXT", "v=spf1 ip4:ADDRESS ~all")
    assert "--ip" in hint.says


def test_what_is_wrong_is_said_also_where_no_record_can_be_tried(zone: DnsServer, resolver: Resolver) -> None:
    zone.records["example.com TXT"] = ['"v=spf1 a:away.example.com -all"', '"v=spf1 -all"']
    zone.failing.add("away.example.com")
    looked = spf_findings(resolver, "example.com", [parse_address("192.0.2.1")])

    found = [next(looked), next(looked)]
    with pytest.raises(DnsFailure):
        next(looked)

    assert [(one.level, one.publish) for one in found] == [("wrong", None), ("wrong", None)]


def test_publishing_what_is_given_mends_whatever_is_wrong(zone: DnsServer) -> None:
    """Records at random, one to three at once, with all that can be wrong in them."""
    chosen, ips, mended = random.Random(18), ("192.0.2.1", "198.51.100.7", "2001:db8::9"), 0
    others = {f"d{n}.example.com TXT": [f'"{" ".join(["v=spf1", *_some(chosen), *_some(chosen)])}"'] for n in range(6)}
    for _ in range(60):
        texts = [
            " ".join(["v=spf1", *(_qualified(chosen, one) for one in [*_some(chosen), *_some(chosen)])])
            for _ in range(3)
        ]
        zone.records.clear()
        zone.records |= {**HOSTS, **others, "example.com TXT": list(map(in_strings, texts[: chosen.randint(1, 3)]))}
        found = found_for(Resolver(parse_server(zone.place)), *ips)
        wanted = {one.publish.value for one in found if one.publish}
        assert bool(wanted) == any(one.level is Level.WRONG for one in found)
        if wanted:
            [value] = wanted
            zone.records["example.com TXT"] = [in_strings(value)]
            after = found_for(Resolver(parse_server(zone.place)), *ips)
            assert [one for one in after if one.level is Level.WRONG] == [], (texts, value)
            mended += 1
    assert mended > 40


def _qualified(chosen: random.Random, term: str) -> str:
    return term if term[0] in "-~?" or "=" in term else chosen.choice(("", "", "+", "-", "~", "?")) + term


@pytest.mark.parametrize(
    ("record", "level", "says"),
    [
        ("v=spf1 +all", "wrong", "everybody may send"),
        ("v=spf1 a:example.com", "note", "does not say what holds for all others"),
        ("v=spf1 ?all", "note", "says nothing"),
        ("v=spf1 ?ptr:example.com -all", "note", "ptr is slow"),
        ("v=spf1 a:gone.example.com -all", "note", "1 of its terms lead to names without an answer"),
        ("v=spf1 include:gone.example.com -all", "wrong", "gone.example.com, which it includes, has no SPF record"),
        ("v=spf1 " + "a:example.com " * 11 + "-all", "wrong", "more than 10 DNS lookups (11:"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(
    zone: DnsServer, resolver: Resolver, record: str, level: str, says: str
) -> None:
    zone.records |= {"example.com TXT": [f'"{record}"'], "example.com A": ["192.0.2.1"]}

    found = found_for(resolver)

    assert any(one.level == level and says in one.says for one in found), found


ORACLE = Path(__file__).resolve().with_name("spf_oracle.pl")
HOSTS = {
    "a.example.net A": ["192.0.2.1", "192.0.2.2"],
    "a.example.net AAAA": ["2001:db8::1"],
    "b.example.net A": ["198.51.100.7"],
    "m.example.net MX": ["10 a.example.net.", "20 b.example.net."],
    "m.example.net A": ["203.0.113.9"],
    "1.2.0.192.in-addr.arpa PTR": ["a.example.net."],
    "7.100.51.198.in-addr.arpa PTR": ["liar.example.net."],
}
TERMS = (
    *("ip4:192.0.2.1", "ip4:198.51.100.0/24", "ip4:203.0.113.9/31", "ip6:2001:db8::/64", "ip4:192.0.2", "ip6:x"),
    *("a", "a/24", "a:a.example.net", "a:b.example.net/25//64", "a:gone.example.net", "a:a.example.net/33", "a:"),
    *("mx", "mx:m.example.net", "mx:m.example.net/24", "mx:gone.example.net", "ptr", "ptr:example.net"),
    *("exists:%{i}.x.example.net", "exists:a.example.net", "exists:%{d}", "all", "-all", "~all", "?all"),
    *("redirect=d1.example.com", "redirect=gone.example.net", "exp=why.example.net", "x=y", "nonsense", "include:"),
    *(f"include:d{number}.example.com" for number in range(6)),
)


@pytest.mark.slow
def test_results_are_those_of_an_independent_evaluator(zone: DnsServer, resolver: Resolver) -> None:
    """Sixty records at random, each for four addresses, also judged by Perl's Mail::SPF."""
    perl = shutil.which("perl") or pytest.skip("perl is not installed")
    if subprocess.run([perl, "-MMail::SPF", "-e", "1"], capture_output=True, check=False).returncode:
        pytest.skip("Perl's Mail::SPF (Debian: libmail-spf-perl) is not installed")
    chosen, domains = random.Random(17), [f"d{number}.example.com" for number in range(60)]
    for domain in domains:
        terms = [chosen.choice(("", "", "-", "~", "?")) * (one[0] not in "-~?") + one for one in _some(chosen)]
        zone.records[f"{domain} TXT"] = [f'"{" ".join(["v=spf1", *terms])}"']
    zone.records |= HOSTS
    asked = [(domain, ip) for domain in domains for ip in ("192.0.2.1", "198.51.100.7", "203.0.113.8", "2001:db8::1")]

    given = "".join(f"{domain} {ip}\n" for domain, ip in asked)
    done = subprocess.run([perl, ORACLE, str(zone.port)], input=given, capture_output=True, check=True, text=True)
    theirs = dict(zip(asked, done.stdout.split(), strict=True))
    ours = {(domain, ip): result(resolver, ip, domain) for domain, ip in asked}

    differ = {
        f"{ip} {zone.records[f'{domain} TXT']}": (ours[domain, ip], theirs[domain, ip])
        for domain, ip in asked
        if ours[domain, ip] != theirs[domain, ip]
    }
    # it counts the hosts of an mx and the names of a ptr without an address as void too, where the RFC speaks of terms
    voids = {one for one, (_, their) in differ.items() if their == "permerror" and ("mx" in one or "ptr" in one)}
    assert differ.keys() == voids
    assert len(voids) <= 4
    assert len(set(theirs.values())) >= 5


def _some(chosen: random.Random) -> list[str]:
    """Terms of a record, most of which can be read."""
    return [
        chosen.choice(TERMS[:4] + TERMS[6:11] if chosen.random() < 0.7 else TERMS) for _ in range(chosen.randint(1, 4))
    ]
