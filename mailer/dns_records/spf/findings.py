"""What a domain's SPF says, and the record that would mend it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mailer.dns_records.finding import TEXT, Finding, Level, Publish
from mailer.dns_records.lookups import Address, Lookups
from mailer.dns_records.spf.cost import Cost, cost_of
from mailer.dns_records.spf.evaluation import LOOKUPS, VOIDS, Result, evaluate
from mailer.dns_records.spf.record import VERSION, spf_records

WHAT = "SPF"
SOMEWHERE = "ip4:ADDRESS"  # stands for what only the operator knows


def spf_findings(lookups: Lookups, domain: str, addresses: Sequence[Address]) -> Iterator[Finding]:
    """Judge the record of a domain that envelope senders are in; mail comes from `addresses`. Raises `DnsFailure`."""
    records = spf_records(lookups.txt(domain))
    if len(records) != 1:
        yield _none(domain, addresses) if not records else _several(domain, records)
        return
    cost = cost_of(lookups, domain)
    yield from _about_record(records[0], cost)
    yield from _about_addresses(lookups, domain, records[0], addresses)


def _none(domain: str, addresses: Sequence[Address]) -> Finding:
    terms = " ".join(map(_term, addresses)) or SOMEWHERE
    where = "" if addresses else f"; put the addresses that mail goes out from for {SOMEWHERE}, or give them by --ip"
    says = f"{domain} has no SPF record, so receivers cannot tell who may send for it{where}"
    return Finding(WHAT, Level.WRONG, says, Publish(domain, TEXT, f"{VERSION} {terms} ~all"))


def _several(domain: str, records: Sequence[str]) -> Finding:
    """Two records are as good as none (RFC 7208 section 4.5): the terms of all belong into one."""
    terms = [term for record in sorted(records) for term in record.split()[1:] if not term.lower().endswith("all")]
    says = f"{domain} has {len(records)} SPF records, and receivers then use none; publish this one in their place"
    return Finding(WHAT, Level.WRONG, says, Publish(domain, TEXT, " ".join([VERSION, *dict.fromkeys(terms), "~all"])))


def _about_record(record: str, cost: Cost) -> Iterator[Finding]:
    counted = f"{cost.lookups} of {LOOKUPS} DNS lookups"
    for problem in cost.problems:
        yield Finding(WHAT, Level.WRONG, f"{problem}; receivers then treat the record as broken (permerror)")
    if cost.lookups > LOOKUPS:
        each = ", ".join(f"{text} {number}" for text, number in sorted(cost.each, key=lambda one: -one[1]))
        told = f"more than {LOOKUPS} DNS lookups ({cost.lookups}: {each}); receivers stop there (permerror)"
        yield Finding(WHAT, Level.WRONG, f"{told}. Take out what no longer sends, or name addresses by ip4: and ip6:")
    if cost.voids > VOIDS:
        told = f"{cost.voids} of its terms lead to names without an answer, and receivers stop after {VOIDS}"
        yield Finding(WHAT, Level.WRONG, f"{told} (permerror); take those terms out")
    elif cost.voids:
        yield Finding(WHAT, Level.NOTE, f"{cost.voids} of its terms lead to names without an answer; take them out")
    if any(text.lstrip("+-~?").lower().startswith("ptr") for text, _ in cost.each):
        yield Finding(WHAT, Level.NOTE, "ptr is slow, and receivers may pass over it; name addresses by ip4: and ip6:")
    if cost.ends_with == "+":
        yield Finding(WHAT, Level.WRONG, "it ends with +all, so everybody may send for the domain; end it with ~all")
    elif cost.ends_with in ("", "?"):
        said = "does not say what holds for all others" if not cost.ends_with else "ends with ?all, which says nothing"
        yield Finding(WHAT, Level.NOTE, f"the record {said}; end it with ~all")
    if not cost.problems and cost.lookups <= LOOKUPS and cost.voids <= VOIDS:
        yield Finding(WHAT, Level.OK, f"{record} ({counted})")


def _about_addresses(lookups: Lookups, domain: str, record: str, addresses: Sequence[Address]) -> Iterator[Finding]:
    """A sentence for each. Those that do not pass are mended by one record."""
    found = {address: evaluate(lookups, domain, address) for address in addresses}
    refused = [address for address, one in found.items() if one.result not in (Result.PASS, Result.PERMERROR)]
    publish = Publish(domain, TEXT, _with(record, refused)) if refused else None
    for address, one in found.items():
        by = " → ".join(one.by)
        if one.result is Result.PASS:
            yield Finding(WHAT, Level.OK, f"{address} may send for {domain}, by {by} ({one.lookups} lookups)")
        elif one.result is Result.PERMERROR:
            yield Finding(WHAT, Level.WRONG, f"{address} does not pass: the record is broken (permerror): {by}")
        else:
            reason = f", by {by}" if by else ", as no term names it"
            yield Finding(WHAT, Level.WRONG, f"{address} does not pass: {one.result}{reason}", publish)


def _with(record: str, addresses: Sequence[Address]) -> str:
    """The record with these addresses, as early as can be, so that no other term decides before them."""
    version, _, rest = record.partition(" ")
    return " ".join([version, *map(_term, addresses), *rest.split()])


def _term(address: Address) -> str:
    return f"ip{address.version}:{address}"
