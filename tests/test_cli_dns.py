"""`mailer dns check`, and the part of `mailer config check` that asks the DNS."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import dns.resolver
import pytest
from click.testing import CliRunner, Result

from mailer.cli.root import main
from tests.dkim_keys import ed25519_pem, public_texts, write_key
from tests.dns_server import DnsServer

KEY = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
WELL = {
    "example.org TXT": ['"v=spf1 ip4:192.0.2.25 -all"'],
    "example.org MX": ["10 mail.example.org."],
    "mail.example.org A": ["192.0.2.25"],
    "25.2.0.192.in-addr.arpa PTR": ["mail.example.org."],
    "news._domainkey.example.org TXT": [f'"v=DKIM1; k=ed25519; p={KEY}"'],
    "_dmarc.example.org TXT": ['"v=DMARC1; p=reject; rua=mailto:dmarc@example.org"'],
    "_mta-sts.example.org TXT": ['"v=STSv1; id=1"'],
    "mta-sts.example.org A": ["192.0.2.80"],
    "_smtp._tls.example.org TXT": ['"v=TLSRPTv1; rua=mailto:tls@example.org"'],
}

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: DnsServer) -> Run:
    """Run `mailer` in a folder of its own, with `zone` as the resolver."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_DATABASE_URL", f"sqlite:///{tmp_path}/mailer.db")
    monkeypatch.setenv("MAILER_SECRET_KEY", "k" * 40)
    zone.records |= WELL
    return lambda *given: CliRunner().invoke(main, [*given, "--resolver", zone.place], prog_name="mailer")


def check(run: Run, *given: str) -> Result:
    return run("dns", "check", "example.org", "--ip", "192.0.2.25", "--selector", "news", *given)


def test_all_is_well(run: Run) -> None:
    result = check(run)

    assert result.exit_code == 0
    lines = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    assert lines[0] == ["about", "state", "says"]
    assert [(about, state) for about, state, _ in lines[1:]] == [
        *[("SPF", "ok")] * 2, ("DKIM", "ok"), *[("DMARC", "ok")] * 2,
        ("MX", "ok"), ("PTR", "ok"), ("MTA-STS", "ok"), ("TLS-RPT", "ok"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in WELL if "mta-sts" not in name and "_tls" not in name])
def test_each_record_that_mail_needs_is_missed(run: Run, zone: DnsServer, name: str) -> None:
    del zone.records[name]

    assert check(run).exit_code == 3


@pytest.mark.parametrize("name", ["_mta-sts.example.org TXT", "_smtp._tls.example.org TXT"])
def test_record_that_mail_arrives_without_is_a_note(run: Run, zone: DnsServer, name: str) -> None:
    del zone.records[name]

    result = check(run)

    assert result.exit_code == 0
    assert f'\nto publish:\n{name.split(maxsplit=1)[0]}. IN TXT "v=' in result.stdout


def test_what_is_to_be_published_makes_all_well(run: Run, zone: DnsServer) -> None:
    """Whoever copies the lines into a zone file is told nothing more, but for what only they know."""
    for name in ("example.org TXT", "_dmarc.example.org TXT", "25.2.0.192.in-addr.arpa PTR", "example.org MX"):
        del zone.records[name]
    lines = check(run).stdout.partition("to publish:\n")[2].replace("HOST", "mail.example.org").splitlines()

    for line in lines:
        name, _, kind, value = line.split(" ", 3)
        zone.records[f"{name.removesuffix('.')} {kind}"] = [value]

    assert sorted(line.split(" ")[2] for line in lines) == ["MX", "PTR", "TXT", "TXT"]
    assert check(run).exit_code == 0


def test_dns_that_fails_is_another_exit_code_and_what_is_wrong_goes_before_it(run: Run, zone: DnsServer) -> None:
    zone.failing.add("_dmarc.example.org")
    assert check(run).exit_code == 1
    del zone.records["example.org TXT"]
    assert check(run).exit_code == 3


def test_json_has_everything(run: Run, zone: DnsServer) -> None:
    del zone.records["example.org TXT"]

    answer = json.loads(check(run, "--json").stdout)

    assert (answer["domain"], answer["state"]) == ("example.org", "wrong")
    assert answer["findings"][0] == {
        "what": "SPF",
        "level": "wrong",
        "says": "example.org has no SPF record, so receivers cannot tell who may send for it",
        "publish": {"name": "example.org", "type": "TXT", "value": "v=spf1 ip4:192.0.2.25 ~all"},
    }


def test_envelope_elsewhere_is_checked_there_and_for_alignment(run: Run, zone: DnsServer) -> None:
    zone.records |= {
        "relay.net TXT": ['"v=spf1 ip4:192.0.2.25 -all"'],
        "relay.net MX": ["10 mail.example.org."],
        "_dmarc.relay.net TXT": ['"v=DMARC1; p=none"'],
    }

    unsigned = run("dns", "check", "example.org", "--envelope", "relay.net")
    signed = run("dns", "check", "example.org", "--envelope", "relay.net", "--selector", "news")

    assert (unsigned.exit_code, signed.exit_code) == (3, 0)
    assert "relay.net is not aligned with example.org" in unsigned.stdout
    assert "SPF does not count; DKIM by example.org does" in signed.stdout


def test_selector_may_be_of_another_domain(run: Run, zone: DnsServer) -> None:
    zone.records["s1._domainkey.relay.net TXT"] = [f'"v=DKIM1; k=ed25519; p={KEY}"']

    result = run("dns", "check", "example.org", "--selector", "s1:relay.net")

    assert "s1._domainkey.relay.net: an Ed25519 key" in result.stdout
    assert "a DKIM signature by relay.net does not count for example.org" in result.stdout


def test_international_domain_is_asked_for_as_the_dns_has_it(run: Run, zone: DnsServer) -> None:
    run("dns", "check", "Bücher.example.")

    assert ("UDP", "xn--bcher-kva.example TXT") in zone.asked


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("not a domain",), "'not a domain' is no domain"),
        (("example.org", "--ip", "192.0.2.300"), "'192.0.2.300' is no IP address"),
        (("example.org", "--selector", "a b"), "--selector 'a b' is no NAME or NAME:DOMAIN"),
        (("example.org", "--selector", "a:"), "--selector 'a:' is no NAME or NAME:DOMAIN"),
        (("example.org", "--envelope", "@"), "'@' is no domain"),
        (("example.org", "--resolver", "localhost"), "'localhost' is no address of a resolver"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nobody_asked(
    run: Run, zone: DnsServer, given: tuple[str, ...], said: str
) -> None:
    result = CliRunner().invoke(main, ["dns", "check", *given], prog_name="mailer")

    assert result.exit_code == 2
    assert said in result.stderr
    assert zone.asked == []


def test_config_check_asks_about_the_domains_of_the_senders(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_ALLOWED_SENDERS", "news@example.org,@example.org")

    result = run("config", "check", "--online", "--ip", "192.0.2.25")

    assert result.exit_code == 0, result.output
    assert "DNS of example.org: ok" in result.stdout.splitlines()
    assert result.stdout.count("\nexample.org:\nabout ") == 1


def test_config_check_tells_what_is_wrong_in_the_dns(
    run: Run, zone: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILER_ALLOWED_SENDERS", "@example.org,@other.org")
    zone.failing.add("_dmarc.example.org")

    result = run("config", "check", "--online")

    assert result.exit_code == 1
    [said] = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert said.startswith("Error: DNS of example.org: DMARC: cannot be told: TXT of _dmarc.example.org: ")
    assert "DNS of other.org: SPF: other.org has no SPF record" in said
    answer = json.loads(run("config", "check", "--online", "--json").stdout)
    assert [(one["domain"], one["state"]) for one in answer["online"]] == [
        ("example.org", "unknown"), ("other.org", "wrong"),
    ]  # fmt: skip


def test_config_check_says_so_if_no_domain_is_known(run: Run, zone: DnsServer) -> None:
    result = run("config", "check", "--online")

    assert result.exit_code == 0
    assert "no domain is known that mail is sent from" in result.stderr
    assert zone.asked == []


def test_config_check_asks_nobody_unless_told(run: Run, zone: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_ALLOWED_SENDERS", "@example.org")

    alone = CliRunner().invoke(main, ["config", "check"], prog_name="mailer")
    with_ip = CliRunner().invoke(main, ["config", "check", "--ip", "192.0.2.25"], prog_name="mailer")

    assert (alone.exit_code, with_ip.exit_code) == (0, 2)
    assert zone.asked == []


def test_config_check_looks_for_the_keys_of_the_transport_and_where_bounces_go(
    run: Run, zone: DnsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = write_key(tmp_path / "key.pem", ed25519_pem())
    url = f"dkim:(file:{tmp_path}/out)?key_file={key}&selector=s1&domain=example.org"
    monkeypatch.setenv("MAILER_ALLOWED_SENDERS", "@example.org")
    monkeypatch.setenv("MAILER_TRANSPORT", url)
    monkeypatch.setenv("MAILER_BOUNCE_ADDRESS", "bounce+{token}@relay.net")
    [(name, text)] = public_texts(url).items()

    [wanted] = json.loads(run("config", "check", "--online", "--json").stdout)["online"]
    published = [one["publish"] for one in wanted["findings"] if one["what"] == "DKIM"]
    assert published == [{"name": name, "type": "TXT", "value": text}]
    zone.records[f"{name} TXT"] = [f'"{text}"']
    [found] = json.loads(run("config", "check", "--online", "--json").stdout)["online"]

    said = {(one["what"], one["level"]): one["says"] for one in found["findings"]}
    assert said["DKIM", "ok"] == f"{name}: an Ed25519 key"
    assert said["SPF", "wrong"].startswith("relay.net has no SPF record")
    assert said["DMARC", "note"].endswith("so SPF does not count; DKIM by example.org does")


def test_config_check_says_where_bounces_go_elsewhere_without_the_dns(
    run: Run, zone: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILER_ALLOWED_SENDERS", "@example.org")
    monkeypatch.setenv("MAILER_BOUNCE_ADDRESS", "bounce+{token}@relay.net")

    result = CliRunner().invoke(main, ["config", "check"], prog_name="mailer")

    assert "Note: Bounces go to relay.net, so SPF does not count for mail From example.org" in result.stderr
    assert zone.asked == []


def test_system_without_a_resolver_is_told_how_to_name_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(_self: object, _file: object) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver.Resolver, "read_resolv_conf", without)  # the machine's own file has to stay

    result = CliRunner().invoke(main, ["dns", "check", "example.org"], prog_name="mailer")

    assert result.exit_code == 1
    assert result.stderr == "Error: this system names no DNS resolver; --resolver names one\n"
