"""What an SPF record costs whoever evaluates it: the DNS lookups, if no term matches before the last one."""

from __future__ import annotations

from dataclasses import dataclass, field

from mailer.dns_records.lookups import Lookups, any_addresses
from mailer.dns_records.spf.evaluation import exchangers, terms_at
from mailer.dns_records.spf.macros import expanded, needs_an_address
from mailer.dns_records.spf.record import SpfError, Term

ENOUGH = 100  # lookups after which counting ends: the limit is ten


@dataclass(slots=True)
class Cost:
    """`lookups` and `voids`, those of them without an answer. `each` is what the terms of the outermost record cost.

    `problems` say what no receiver can use, a sentence each. `ends_with` is the qualifier of what is not listed; empty:
    the record does not say.
    """

    lookups: int = 0
    voids: int = 0
    each: list[tuple[str, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    ends_with: str = ""


def cost_of(lookups: Lookups, domain: str) -> Cost:
    """Look everything up that the record of `domain` may ask for, and count. Raises `DnsFailure`."""
    cost = Cost()
    _add(lookups, domain, (), cost)
    return cost


def _add(lookups: Lookups, domain: str, above: tuple[str, ...], cost: Cost) -> None:
    """Count the record of `domain`, which those of the domains `above` have led to."""
    try:
        terms = terms_at(lookups, domain)
    except SpfError as error:
        cost.problems.append(_placed(str(error), domain, above))
        return
    if terms is None:
        cost.problems.extend([f"{domain}, which it includes, has no SPF record"] if above else [])
        return
    mechanisms, redirect = terms
    for term in mechanisms:
        if term.name == "all":
            _ends(cost, term, above)
            return  # what stands behind it is never looked at
        _add_term(lookups, term, domain, above, cost)
    if redirect is not None:
        _add_term(lookups, redirect, domain, above, cost)


def _ends(cost: Cost, term: Term, above: tuple[str, ...]) -> None:
    if not any(one.startswith("include ") for one in above):
        cost.ends_with = term.qualifier


def _add_term(lookups: Lookups, term: Term, domain: str, above: tuple[str, ...], cost: Cost) -> None:
    before = cost.lookups
    cost.lookups += term.asks
    if term.asks and cost.lookups <= ENOUGH and not needs_an_address(term.target):
        _ask(lookups, term, domain, above, cost)
    if not above and term.asks:
        cost.each.append((term.text, cost.lookups - before))


def _ask(lookups: Lookups, term: Term, domain: str, above: tuple[str, ...], cost: Cost) -> None:
    target = expanded(term.target, {"d": domain, "o": domain}) if term.target else domain
    if term.name in ("include", "redirect"):
        if any(one.partition(" ")[2] == target for one in (*above, f"{term.name} {domain}")):
            cost.problems.append(f"{term.text} leads in a circle")
        else:
            _add(lookups, target, (*above, f"{term.name} {domain}"), cost)
    elif term.name == "mx":
        _ask_mx(lookups, target, cost)
    elif term.name != "ptr":  # it asks for the names of an address, which nobody knows here
        cost.voids += not (any_addresses(lookups, target) if term.name == "a" else lookups.addresses(target, 4))


def _ask_mx(lookups: Lookups, target: str, cost: Cost) -> None:
    found = lookups.mx(target)
    cost.voids += not found
    try:
        exchangers(found, target)
    except SpfError as error:
        cost.problems.append(str(error))


def _placed(problem: str, domain: str, above: tuple[str, ...]) -> str:
    return f"{domain}, which it includes: {problem}" if above else problem
