"""Where a domain takes mail (MX, RFC 5321 section 5.1, RFC 7505), and what a sending address is called (PTR)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mailer.dns_records.finding import Finding, Level, Publish
from mailer.dns_records.lookups import Address, DnsFailure, Lookups, any_addresses

MX, PTR = "MX", "PTR"


def mx_findings(lookups: Lookups, domain: str) -> Iterator[Finding]:
    """Judge whether answers and bounces find their way. Raises `DnsFailure`."""
    found = lookups.mx(domain)
    if not found:
        yield _without(domain, any_addresses(lookups, domain))
        return
    if any(not one.host for one in found):
        says = f"{domain} says that it takes no mail (a null MX), so bounces and answers are lost, and some receivers"
        yield Finding(MX, Level.WRONG, f"{says} refuse mail from it; publish the host that takes them")
        return
    missing = [one.host for one in found if not any_addresses(lookups, one.host)]
    for host in missing:
        yield Finding(MX, Level.WRONG, f"{host}, which should take the mail of {domain}, has no address")
    reachable = [one.host for one in found if one.host not in missing]
    if reachable:
        yield Finding(MX, Level.OK, f"mail to {domain} goes to {', '.join(reachable)}")


def _without(domain: str, addresses: Sequence[Address]) -> Finding:
    publish = Publish(domain, MX, "10 HOST")
    if addresses:
        says = f"{domain} has no MX; mail goes to its address {addresses[0]}. Put the host that takes it for HOST"
        return Finding(MX, Level.NOTE, says, publish)
    says = f"{domain} has neither MX nor address, so bounces and answers are lost, and many receivers refuse mail from"
    return Finding(MX, Level.WRONG, f"{says} it. Put the host that takes mail for HOST", publish)


def ptr_findings(lookups: Lookups, address: Address) -> Iterator[Finding]:
    """Judge the name of an address that mail goes out from: does it have one, and does that lead back to it?

    Raises `DnsFailure`.
    """
    names = lookups.ptr(address)
    whose = "whoever gives you the address sets it: the name with which your mail server greets (HELO)"
    if not names:
        publish = Publish(address.reverse_pointer, PTR, "HOST")
        yield Finding(PTR, Level.WRONG, f"{address} has no name, and Google and Microsoft refuse it; {whose}", publish)
        return
    if not any(_leads_to(lookups, name, address) for name in names):
        kind = "A" if address.version == 4 else "AAAA"
        says = f"{address} is called {names[0]}, and that name does not lead back to it (forward-confirmed)"
        yield Finding(PTR, Level.WRONG, says, Publish(names[0], kind, str(address)))
    elif all(_made_of(name, address) for name in names):
        says = f"{address} is called {names[0]}, a name made of its digits, as of a dial-up line: filters distrust it"
        yield Finding(PTR, Level.NOTE, f"{says}; {whose}")
    else:
        yield Finding(PTR, Level.OK, f"{address} is {names[0]}, and back")


def _leads_to(lookups: Lookups, name: str, address: Address) -> bool:
    try:
        return address in lookups.addresses(name, address.version)
    except DnsFailure:
        return False


def _made_of(name: str, address: Address) -> bool:
    digits = str(address).split(".")
    return address.version == 4 and all(part in name for part in ("-".join(digits[1:3]), digits[3]))
