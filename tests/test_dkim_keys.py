"""Keys that cannot sign, or that others can take, keep the service from starting; and what is told of the others."""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mailer.cli import main
from tests.dkim_keys import both_keys, ed25519_pem, rsa_pem, write_key, write_table
from transports import TransportConfigError, from_url, shown_url
from transports.dkim import key_files, signature
from transports.dkim.records import keys_in, warnings_about


def refused(url: str) -> str:
    with pytest.raises(TransportConfigError) as caught:
        from_url(url)
    return str(caught.value)


def url_of(path: Path, selector: str = "s1", domain: str = "example.org") -> str:
    return f"dkim:(memory:)?key_file={path}&selector={selector}&domain={domain}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o660, 0o666, 0o777])
def test_key_that_others_may_use_is_refused_with_its_file(tmp_path: Path, mode: int) -> None:
    path = write_key(tmp_path / "key.pem", ed25519_pem(), mode)

    assert refused(url_of(path)) == (
        f"dkim: key file {path}: others than its owner may use the key (mode {mode:04o}); chmod 600 it"
    )


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_key_that_only_its_owner_may_use_is_taken(tmp_path: Path, mode: int) -> None:
    from_url(url_of(write_key(tmp_path / "key.pem", ed25519_pem(), mode)))


def encrypted() -> bytes:
    key = load_pem_private_key(ed25519_pem(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2"))


def public() -> bytes:
    from cryptography.hazmat.primitives.serialization import PublicFormat

    key = load_pem_private_key(ed25519_pem(), None)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def elliptic() -> bytes:
    return generate_ec(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def broken() -> bytes:
    return rsa_pem().replace(b"A", b"B")


@pytest.mark.parametrize(
    ("pem", "problem"),
    [
        (lambda: b"", "no private key in PEM form"),
        (lambda: b"hunter2" * 10, "no private key in PEM form"),
        (lambda: base64.b64encode(bytes(32)), "no private key in PEM form"),
        (public, "no private key in PEM form"),
        (broken, "no private key in PEM form"),
        (lambda: rsa_pem()[:400], "no private key in PEM form"),
        (encrypted, "protected by a password"),
        (elliptic, "neither an RSA nor an Ed25519 key"),
    ],
    ids=["empty", "text", "bare base64", "public", "broken", "cut off", "encrypted", "elliptic"],
)
def test_file_without_a_usable_key_is_refused(tmp_path: Path, pem: Callable[[], bytes], problem: str) -> None:
    path = write_key(tmp_path / "key.pem", pem())

    said = refused(url_of(path))

    assert said.startswith(f"dkim: key file {path}: ")
    assert problem in said
    assert "hunter2" not in said


@pytest.mark.parametrize("path", ["missing.pem", ".", "pipe"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, path: str) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)

    assert refused(url_of(tmp_path / path)).startswith(f"dkim: key file {tmp_path / path}: ")


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL], ids=["PKCS#8", "PKCS#1"])
def test_rsa_key_is_read_in_both_forms(tmp_path: Path, form: PrivateFormat) -> None:
    from_url(url_of(write_key(tmp_path / "key.pem", rsa_pem(2048, 1, form))))


def test_rsa_key_that_receivers_hardly_take_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    url = url_of(write_key(tmp_path / "key.pem", rsa_pem(1024)))

    from_url(url)

    said = "dkim: s1._domainkey.example.org has 1024 bits; receivers ask for 2048"
    assert caplog.messages == [said]
    assert warnings_about(url) == (said,)


@pytest.mark.parametrize("bits", ["512", "1023"])
def test_rsa_key_that_receivers_do_not_take_is_refused(tmp_path: Path, bits: str) -> None:
    import subprocess

    path = tmp_path / "key.pem"
    command = ["openssl", "genpkey", "-quiet", "-algorithm", "rsa", "-pkeyopt", f"rsa_keygen_bits:{bits}", "-out"]
    subprocess.run([*command, path], check=True, capture_output=True)
    path.chmod(0o600)

    assert f"an RSA key of {bits} bits; receivers take 1024 to 4096, make it 2048" in refused(url_of(path))


def test_rsa_key_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_files, "LONGEST", 1536)  # as making one of 4104 bits takes seconds

    said = refused(url_of(write_key(tmp_path / "key.pem", rsa_pem())))
    assert "an RSA key of 2048 bits; receivers take 1024 to 1536" in said


@pytest.mark.parametrize(
    ("selector", "domain", "problem"),
    [
        ("s_1", "example.org", "selector 's_1' is no DNS name such as s2026"),
        ("-s", "example.org", "selector '-s'"),
        ("a..b", "example.org", "selector 'a..b'"),
        ("s%201", "example.org", "selector 's 1'"),
        ("s" * 64, "example.org", "selector 'sss"),
        ("s1", "example", "domain 'example' is no DNS name such as example.com"),
        ("s1", "exa_mple.org", "domain 'exa_mple.org'"),
        ("s1", "example.org.", "domain 'example.org.'"),
        ("s1", "news@example.org", "domain 'news@example.org'"),
        ("s1", ".".join(["a" * 40] * 2), "is the name too long?"),  # for the library, which folds it
        ("s1", ".".join(["a" * 60] * 4), "is longer than the 253 characters"),
        ("s1", "☃" * 70 + ".org", "domain '☃"),
    ],
)
def test_names_that_are_none_in_dns_are_refused(tmp_path: Path, selector: str, domain: str, problem: str) -> None:
    path = write_key(tmp_path / "key.pem", ed25519_pem())

    assert problem in refused(url_of(path, selector, domain))


def test_selector_may_have_labels_and_a_domain_letters_beyond_ascii(tmp_path: Path) -> None:
    (key,) = keys_in(url_of(write_key(tmp_path / "key.pem", ed25519_pem()), "A.2026", "Müller.example"))

    assert key.name == "a.2026._domainkey.xn--mller-kva.example"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("dkim:", "expected URLs in parentheses"),
        ("dkim:()?keys={table}", "needs one URL in the parentheses"),
        ("dkim:(memory: memory:)?keys={table}", "needs one URL in the parentheses"),
        ("dkim:(memory:)", "key_file, selector, domain missing"),
        ("dkim:(memory:)?selector=s1&domain=example.org", "key_file missing"),
        ("dkim:(memory:)?keys={table}&selector=s1", "no place beside it"),
        ("dkim:(memory:)?keys={table}&nonsense=1", "unknown option 'nonsense'; known options: domain, expires"),
        ("dkim:(memory:)?keys={table}&without_key=maybe", "one of refuse, send"),
        ("dkim:(memory:)?keys={table}&expires=5m", "a duration"),
        ("dkim:(nonsense:)?keys={table}", "unknown transport scheme"),
        ("dkim:(memory:)?keys=/no/such/table", "dkim: keys /no/such/table: No such file"),
    ],
)
def test_url_is_refused(tmp_path: Path, url: str, problem: str) -> None:
    assert problem in refused(url.format(table=both_keys(tmp_path)))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "expected one [[key]] or more"),
        ("key = 1", "expected one [[key]] or more"),
        ("key = [1]", "key 1: not a table"),
        ("[key", "not a TOML file"),
        ("other = 1\n[[key]]\n{good}", "and nothing else"),
        ('[[key]]\n{good}\nfoo = "x"', "key 1: unknown field 'foo'; known fields: domain, selector, file, not_before"),
        ('[[key]]\n{good}\n[[key]]\ndomain = "example.org"', "key 2: selector missing"),
        ('[[key]]\n{good}\nuntil = "2027-01-01"', "key 1: until is no date such as 2027-01-31"),
        ("[[key]]\n{good}\nuntil = 07:00:00", "key 1: until is no date"),
        ("[[key]]\n{good}\nnot_before = 2027-01-02\nuntil = 2027-01-02", "key 1: until is not after not_before"),
        ("[[key]]\n{good}\n[[key]]\n{good}", "e1._domainkey.example.org stands there twice"),
        ('[[key]]\n{good}\n[[key]]\ndomain = "x.org"\nselector = "e"\nfile = "open.pem"', "key 2: key file"),
    ],
)
def test_table_is_refused_with_the_place(tmp_path: Path, content: str, problem: str) -> None:
    both_keys(tmp_path)
    write_key(tmp_path / "open.pem", ed25519_pem(), 0o644)
    good = 'domain = "example.org"\nselector = "e1"\nfile = "e1.pem"'
    (tmp_path / "dkim.toml").write_text(content.replace("{good}", good))

    said = refused(f"dkim:(memory:)?keys={tmp_path}/dkim.toml")

    assert said.startswith(f"dkim: keys {tmp_path}/dkim.toml: ")
    assert problem in said


def test_key_whose_trial_is_not_verified_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the library signed in another way than this one relies on."""
    monkeypatch.setattr(signature.MessageSigner, "gen_header", signature.dkim.DKIM.gen_header)

    assert "what the key signs is not verified" in refused(f"dkim:(memory:)?keys={both_keys(tmp_path)}")


def test_url_is_shown_with_its_files_and_without_the_password_inside(tmp_path: Path) -> None:
    options = "key_file=/etc/key.pem&selector=s1&domain=example.org"

    shown = shown_url(f"dkim:(smtp://ann:hunter2@mx.test)?{options}&nonsense=hunter2")

    assert shown == f"dkim:(smtp://***@mx.test)?{options}&nonsense=***"
    assert "private" not in repr(keys_in(f"dkim:(memory:)?keys={both_keys(tmp_path)}"))


@pytest.mark.parametrize(
    ("more", "warnings"),
    [
        ("", ()),
        ("until = 2026-01-01", ("dkim: no key for example.org is in force",)),
        ("not_before = 2027-06-01", ("dkim: no key for example.org is in force",)),
        ("until = 2027-01-25", ("dkim: in 14 days no key for example.org is in force any more",)),
        ("until = 2027-02-25", ()),
    ],
)
def test_end_of_a_key_is_warned_of_in_time(tmp_path: Path, more: str, warnings: tuple[str, ...]) -> None:
    write_key(tmp_path / "e1.pem", ed25519_pem())
    table = write_table(tmp_path, f"example.org e1 e1.pem\n{more}")
    url = f"failover:(memory: dkim:(memory:)?keys={table})"

    assert warnings_about(url, 1_800_000_000.0) == warnings  # 2027-01-15


def test_record_has_the_public_key_as_the_rfcs_say(tmp_path: Path) -> None:
    rsa, ed25519 = keys_in(f"dkim:(webhook:https://h/x)?keys={both_keys(tmp_path)}")

    assert rsa.record.text.startswith("v=DKIM1; k=rsa; p=MII")
    assert len(base64.b64decode(ed25519.record.text.removeprefix("v=DKIM1; k=ed25519; p="))) == 32
    strings = rsa.record.zone_line.partition(" IN TXT ")[2].strip('"').split('" "')
    assert [len(one) <= 255 for one in strings] == [True, True]
    assert "".join(strings) == rsa.record.text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text, True),
        (lambda text: text.replace("v=DKIM1; ", ""), True),
        (lambda text: text.replace("k=rsa; ", ""), True),  # which is what it is then
        (lambda text: f"{text}; t=y; n=a note;", True),
        (lambda text: text.replace("MII", "M I\tI"), True),
        (lambda text: text.replace("k=rsa", "k=ed25519"), False),
        (lambda text: text.replace("MII", "MIJ"), False),
        (lambda text: text.partition("p=")[0] + "p=", False),  # revoked
        (lambda text: text.replace("DKIM1", "DKIM2"), False),
        (lambda text: "v=spf1 -all", False),
        (lambda text: "", False),
    ],
)
def test_published_record_is_compared_with_the_key(tmp_path: Path, change: Callable[[str], str], told: bool) -> None:
    rsa, ed25519 = keys_in(f"dkim:(memory:)?keys={both_keys(tmp_path)}")

    assert rsa.is_told_by(change(rsa.record.text)) == told
    assert not ed25519.is_told_by(rsa.record.text)
    assert not ed25519.is_told_by(ed25519.record.text.replace("k=ed25519; ", ""))


def test_record_needs_a_transport_that_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(main, ["dkim", "record"], env={"MAILER_TRANSPORT": "memory:"})

    assert result.exit_code == 1
    assert "MAILER_TRANSPORT has no dkim:" in result.output


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_record_is_printed_for_each_key_and_no_private_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"failover:(dkim:(smtp://ann:hunter2@127.0.0.1:9)?keys={both_keys(tmp_path)} memory:)"

    result = CliRunner().invoke(main, ["dkim", "record", *form], env={"MAILER_TRANSPORT": url})

    assert result.exit_code == 0
    assert "hunter2" not in result.output
    for key in keys_in(url):
        shown = key.record.text if form else key.record.zone_line
        assert shown in result.output
        assert (
            key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) not in result.output.encode()
        )
    if form:
        assert [one["name"] for one in json.loads(result.stdout)] == [key.name for key in keys_in(url)]


def test_config_check_says_which_keys_sign_and_which_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_key(tmp_path / "e1.pem", ed25519_pem())
    table = write_table(tmp_path, f"example.org e1 e1.pem\nuntil = {date.today() + timedelta(days=3)}")
    settings = {"MAILER_TRANSPORT": f"dkim:(memory:)?keys={table}", "MAILER_DATABASE_URL": f"sqlite:///{tmp_path}/x.db"}

    result = CliRunner().invoke(main, ["config", "check", "--json"], env=settings)

    shown = json.loads(result.stdout)
    assert shown["inForce"]["signing"] == "e1._domainkey.example.org"
    assert "dkim: in 14 days no key for example.org is in force any more" in shown["warnings"]
    assert shown["transport"] is None


def test_config_check_refuses_a_key_that_others_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = url_of(write_key(tmp_path / "key.pem", ed25519_pem(), 0o640))
    settings = {"MAILER_TRANSPORT": url, "MAILER_DATABASE_URL": f"sqlite:///{tmp_path}/x.db"}

    result = CliRunner().invoke(main, ["config", "check"], env=settings)

    assert result.exit_code == 2
    assert f"MAILER_TRANSPORT: dkim: key file {tmp_path}/key.pem: others than its owner may use" in result.output
