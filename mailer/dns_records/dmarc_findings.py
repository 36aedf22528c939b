"""What a domain's DMARC says: its policy, where reports go, and what is aligned with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mailer.dns_records.alignment import aligned
from mailer.dns_records.dmarc import POLICIES, Policy, Walk, walk
from mailer.dns_records.finding import TEXT, Finding, Level, Publish
from mailer.dns_records.lookups import Lookups
from mailer.dns_records.tags import of_version, read_tags

WHAT = "DMARC"
_REPORT = re.compile(r"mailto:([^@,!?\s]+@([A-Za-z0-9.-]+))(?:![0-9]+[kmgt]?)?", re.IGNORECASE)


def dmarc_findings(lookups: Lookups, domain: str, envelope: str, signers: Sequence[str]) -> Iterator[Finding]:
    """Judge the policy for mail From `domain`, and whether the domain of its envelope sender and those of its DKIM
    signatures count for it. Raises `DnsFailure`.
    """
    found = walk(lookups, domain)
    for name in found.crowded:
        yield _several(name, of_version(lookups.txt(f"_dmarc.{name}"), "DMARC1"))
    policy = found.policy
    if policy is None:
        yield _none(domain, mends=not found.crowded)
        return
    yield from _about_record(policy, domain)
    yield from _about_reports(lookups, policy)
    yield from _about_alignment(lookups, found, policy, envelope, signers)


def _none(domain: str, *, mends: bool) -> Finding:
    says = f"there is no DMARC record for {domain} nor above it; Google, Yahoo and Microsoft ask bulk senders for one"
    publish = Publish(f"_dmarc.{domain}", TEXT, f"v=DMARC1; p=none; rua={_report_to(domain)}") if mends else None
    return Finding(WHAT, Level.WRONG, says, publish)


def _several(name: str, records: Sequence[str]) -> Finding:
    """The mildest of them is kept: as receivers use none now, it changes least."""
    policies = [Policy(name, record, read_tags(record)) for record in sorted(records)]
    kept = min(policies, key=lambda policy: POLICIES.index(policy.for_domain(name)))
    says = f"_dmarc.{name} has several records, and receivers then use none; publish one in their place"
    return Finding(WHAT, Level.WRONG, says, _mended(kept))


def _mended(policy: Policy) -> Publish:
    """The record with what can be read of it, where a policy that cannot be read is `none`, and with a place for
    reports.
    """
    domain, tags = policy.domain, dict(policy.tags.values)
    wanted, reports = tags.pop("p", ""), [one for one in _reports(policy) if _REPORT.fullmatch(one)]
    kept = {"v": "DMARC1", "p": wanted if wanted.lower() in POLICIES else "none"}
    kept |= {name: value for name, value in tags.items() if name not in ("sp", "np") or value.lower() in POLICIES}
    kept |= {"v": "DMARC1", "rua": ",".join(reports) or _report_to(domain)}
    return Publish(f"_dmarc.{domain}", TEXT, "; ".join(f"{name}={value}" for name, value in kept.items()))


def _report_to(domain: str) -> str:
    return f"mailto:dmarc@{domain}"


def _reports(policy: Policy) -> list[str]:
    """Where reports go, as it stands there."""
    return [one.strip() for one in policy.tags.get("rua").split(",") if one.strip()]


def _about_record(policy: Policy, domain: str) -> Iterator[Finding]:
    where, mended = f"_dmarc.{policy.domain}", _mended(policy)
    for problem in policy.tags.problems:
        yield Finding(WHAT, Level.WRONG, f"{where}: {problem}", mended)
    for tag in ("p", "sp", "np"):
        if (value := policy.tags.get(tag)) and value.lower() not in POLICIES:
            yield Finding(WHAT, Level.WRONG, f"{where}: {tag}={value} is none of {', '.join(POLICIES)}", mended)
    if not policy.tags.get("p"):
        yield Finding(WHAT, Level.WRONG, f"{where} has no p=, and many receivers then ignore it; add p=none", mended)
    asked = policy.for_domain(domain)
    of_whom = f"{policy.record} at {where}" + ("" if policy.domain == domain else f", which holds for {domain} too")
    yield Finding(WHAT, Level.OK, f"{of_whom}: mail that fails is asked to be treated as {asked}")
    if asked == "none":
        says = f"p=none protects nobody from forged mail of {domain}; when the reports show that all of yours passes"
        yield Finding(WHAT, Level.NOTE, f"{says}, ask for quarantine, then reject")


def _about_reports(lookups: Lookups, policy: Policy) -> Iterator[Finding]:
    where, addresses = f"_dmarc.{policy.domain}", _reports(policy)
    if not addresses:
        says = "there is no rua=, so nobody learns which mail fails"
        yield Finding(WHAT, Level.NOTE, says, _mended(policy))
    for address in addresses:
        found = _REPORT.fullmatch(address)
        if found is None:
            yield Finding(WHAT, Level.WRONG, f"{where}: rua={address} is no mailto: with an address", _mended(policy))
        else:
            yield from _may_report(lookups, policy, found[2].lower())


def _may_report(lookups: Lookups, policy: Policy, host: str) -> Iterator[Finding]:
    """Reports that go to another organization need its consent (RFC 9990)."""
    if walk(lookups, host).organization == walk(lookups, policy.domain).organization:
        return
    place = f"{policy.domain}._report._dmarc.{host}"
    if not of_version(lookups.txt(place), "DMARC1"):
        says = f"{host} has not said that it takes reports about {policy.domain}, so none are sent there"
        yield Finding(WHAT, Level.NOTE, says, Publish(place, TEXT, "v=DMARC1"))


def _about_alignment(
    lookups: Lookups, found: Walk, policy: Policy, envelope: str, signers: Sequence[str]
) -> Iterator[Finding]:
    by_spf = _counts(lookups, found, envelope, strict=policy.strict("aspf"))
    by_dkim = [one for one in signers if _counts(lookups, found, one, strict=policy.strict("adkim"))]
    for signer in dict.fromkeys(one for one in signers if one not in by_dkim):
        yield Finding(WHAT, Level.NOTE, f"a DKIM signature by {signer} does not count for {found.start}")
    if by_spf:
        yield Finding(WHAT, Level.OK, f"the envelope sender's domain {envelope} is aligned, so SPF counts if it passes")
        return
    level = Level.NOTE if by_dkim else Level.WRONG
    says = f"the envelope sender's domain {envelope} is not aligned with {found.start}, so SPF does not count"
    rest = f"; DKIM by {by_dkim[0]} does" if by_dkim else f": sign with DKIM as {found.start}, or take bounces there"
    yield Finding(WHAT, level, says + rest)


def _counts(lookups: Lookups, found: Walk, domain: str, *, strict: bool) -> bool:
    organization = found.organization if domain == found.start else walk(lookups, domain).organization
    return aligned(found.start, domain, (found.organization, organization), strict=strict)
