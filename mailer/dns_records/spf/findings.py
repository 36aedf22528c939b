"""What a domain's SPF says, and the record that would mend it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mailer.dns_records.finding import TEXT, Finding, Level, Publish
from mailer.dns_records.lookups import Address, DnsFailure, Lookups
from mailer.dns_records.spf.cost import Cost, cost_of
from mailer.dns_records.spf.evaluation import LOOKUPS, VOIDS, Evaluation, Result, evaluate
from mailer.dns_records.spf.mending import SOMEWHERE, Mended, is_usable, mended
from mailer.dns_records.spf.record import spf_records

WHAT = "SPF"


def spf_findings(lookups: Lookups, domain: str, addresses: Sequence[Address]) -> Iterator[Finding]:
    """Judge the record of a domain that envelope senders are in; mail comes from `addresses`. Raises `DnsFailure`.

    All that is wrong is mended by one record. It is tried before it is given: with it the addresses pass.
    """
    records = spf_records(lookups.txt(domain))
    found = list(_judged(lookups, domain, records, addresses))
    if all(one.level is not Level.WRONG for one in found):
        yield from found
        return
    try:
        better = mended(lookups, domain, records, addresses)
    except DnsFailure:  # nobody can tell what would mend it, but what is wrong can be told
        yield from found
        raise
    publish = Publish(domain, TEXT, better.record)
    yield from (replace(one, publish=publish) if one.level is Level.WRONG else one for one in found)
    yield from _about_mending(better)


def _judged(lookups: Lookups, domain: str, records: Sequence[str], addresses: Sequence[Address]) -> Iterator[Finding]:
    if not records:
        yield Finding(WHAT, Level.WRONG, f"{domain} has no SPF record, so receivers cannot tell who may send for it")
    elif len(records) > 1:  # as good as none: RFC 7208 section 4.5
        says = f"{domain} has {len(records)} SPF records, and receivers then use none; publish one in their place"
        yield Finding(WHAT, Level.WRONG, says)
    else:
        yield from _about_record(records[0], cost_of(lookups, domain))
    for address in addresses:
        yield _about_address(domain, address, evaluate(lookups, domain, address))


def _about_mending(better: Mended) -> Iterator[Finding]:
    if better.lacks_addresses:
        says = f"in the record to publish, put the addresses that mail goes out from for {SOMEWHERE}"
        yield Finding(WHAT, Level.NOTE, f"{says}, or give them by --ip")
    if better.left_out:
        says = f"the record to publish leaves out {', '.join(better.left_out)}, which no receiver can use in it"
        yield Finding(WHAT, Level.NOTE, f"{says}; if those still send, name their addresses by ip4: and ip6:")


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
    if is_usable(cost):
        yield Finding(WHAT, Level.OK, f"{record} ({counted})")


def _about_address(domain: str, address: Address, found: Evaluation) -> Finding:
    by = " → ".join(found.by)
    if found.result is Result.PASS:
        return Finding(WHAT, Level.OK, f"{address} may send for {domain}, by {by} ({found.lookups} lookups)")
    if found.result is Result.PERMERROR:
        return Finding(WHAT, Level.WRONG, f"{address} does not pass: the record is broken (permerror): {by}")
    none = ", as there is no record" if found.result is Result.NONE else ", as no term names it"
    return Finding(WHAT, Level.WRONG, f"{address} does not pass: {found.result}{f', by {by}' if by else none}")
