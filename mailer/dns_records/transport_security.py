"""What a domain says of TLS for mail that comes to it: MTA-STS (RFC 8461) and reports about TLS (RFC 8460)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mailer.dns_records.finding import TEXT, Finding, Level, Publish
from mailer.dns_records.lookups import Lookups, MailExchanger, any_addresses
from mailer.dns_records.tags import of_version, read_tags

MTA_STS, TLS_RPT = "MTA-STS", "TLS-RPT"
WEEK = 604_800  # seconds that a policy is kept
_REPORTED_TO = ("mailto:", "https:")
_ID = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)


def mta_sts_findings(lookups: Lookups, domain: str) -> Iterator[Finding]:
    """Judge what announces a policy, and say what that needs. It is not fetched. Raises `DnsFailure`."""
    place, host = f"_mta-sts.{domain}", f"mta-sts.{domain}"
    exchangers = [one for one in lookups.mx(domain) if one.host]
    records, publish = of_version(lookups.txt(place), "STSv1"), Publish(place, TEXT, "v=STSv1; id=1")
    if not records:
        says = f"{domain} does not ask for TLS on mail to it; for that, serve {_policy(host, exchangers)}"
        served = bool(any_addresses(lookups, host))  # else what announces it would be wrong
        later = "" if served else f". When {host} has an address and serves it, publish {publish.value} at {place}"
        yield Finding(MTA_STS, Level.NOTE, says + later, publish if served else None)
    elif len(records) > 1:
        says = f"{place} has {len(records)} records, and senders then use none; publish one in their place"
        yield Finding(MTA_STS, Level.WRONG, says, publish)
    elif not _ID.fullmatch(read_tags(records[0]).get("id")):
        yield Finding(MTA_STS, Level.WRONG, f"{place}: {records[0]} has no id= of letters and digits", publish)
    elif not any_addresses(lookups, host):
        says = f"{place} announces a policy, and {host}, which should serve it, has no address"
        yield Finding(MTA_STS, Level.WRONG, f"{says}; serve {_policy(host, exchangers)}")
    else:
        yield Finding(MTA_STS, Level.OK, f"{records[0]}; what it announces must be {_policy(host, exchangers)}")


def _policy(host: str, exchangers: Sequence[MailExchanger]) -> str:
    """The policy that the mail hosts need, in one line: a file whose lines end where a comma stands."""
    hosts = ", ".join(f"mx: {one.host}" for one in exchangers) or "mx: HOST"
    lines = f"version: STSv1, mode: testing, {hosts}, max_age: {WEEK}"
    return f"https://{host}/.well-known/mta-sts.txt with the lines {lines}"


def tls_rpt_findings(lookups: Lookups, domain: str) -> Iterator[Finding]:
    """Judge where reports about TLS go. Raises `DnsFailure`."""
    place = f"_smtp._tls.{domain}"
    records = of_version(lookups.txt(place), "TLSRPTv1")
    usable = [one for one in records if read_tags(one).get("rua").startswith(_REPORTED_TO)]
    publish = Publish(place, TEXT, next(iter(usable), f"v=TLSRPTv1; rua=mailto:tls@{domain}"))
    if not records:
        says = f"nobody learns when mail to {domain} cannot be sent over TLS"
        yield Finding(TLS_RPT, Level.NOTE, says, publish)
    elif len(records) > 1:
        says = f"{place} has {len(records)} records, and senders then use none; publish one in their place"
        yield Finding(TLS_RPT, Level.WRONG, says, publish)
    elif not usable:
        says = f"{place}: {records[0]} has no rua= with a mailto: or https: address"
        yield Finding(TLS_RPT, Level.WRONG, says, publish)
    else:
        yield Finding(TLS_RPT, Level.OK, records[0])
