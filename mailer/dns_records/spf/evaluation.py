"""SPF evaluated as a receiver does it (RFC 7208 section 4): for an address, or for what it costs at most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_network
from typing import TypeVar

from mailer.dns_records.lookups import Address, DnsFailure, Lookups, MailExchanger
from mailer.dns_records.spf.macros import expanded, values_for
from mailer.dns_records.spf.record import QUALIFIERS, SpfError, Term, read_terms, spf_records

LOOKUPS = 10  # terms that ask the DNS, over all records that are included
VOIDS = 2  # of those that may have an empty answer
NAMES = 10  # hosts of an mx, or names of a ptr

Answer = TypeVar("Answer")


class Result(StrEnum):
    """What a receiver concludes (RFC 7208 section 2.6); where it cannot ask the DNS, `DnsFailure` is raised instead."""

    NONE = "none"  # there is no record
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    PERMERROR = "permerror"  # the record cannot be used


@dataclass(slots=True)
class Evaluation:
    """`result` and `by`, the terms that decided, from the outermost inwards, or why the record cannot be used."""

    result: Result = Result.NEUTRAL
    by: tuple[str, ...] = ()
    lookups: int = 0
    voids: int = 0


def evaluate(lookups: Lookups, domain: str, address: Address, sender: str = "") -> Evaluation:
    """What a receiver concludes when mail from `sender`, in `domain`, comes from `address`. Raises `DnsFailure`."""
    run = _Run(lookups, sender or f"postmaster@{domain}", address)
    try:
        result, by = run.check(domain)
    except SpfError as error:
        result, by = Result.PERMERROR, (str(error),)
    return Evaluation(result, by, run.lookups_made, run.voids)


@dataclass(slots=True)
class _Run:
    """One evaluation. It is over at the first term that matches."""

    lookups: Lookups
    sender: str
    address: Address
    lookups_made: int = 0
    voids: int = 0

    def check(self, domain: str) -> tuple[Result, tuple[str, ...]]:
        terms = terms_at(self.lookups, domain)
        if terms is None:
            return Result.NONE, ()
        mechanisms, redirect = terms
        for term in mechanisms:
            self._count(term)
            inner = self._matches(term, domain)
            if inner is not None:
                return Result(QUALIFIERS[term.qualifier]), (term.text, *inner)
        if redirect is None or any(term.name == "all" for term in mechanisms):
            return Result.NEUTRAL, ()
        self._count(redirect)
        result, by = self.check(self._target(redirect, domain))
        if result is Result.NONE:
            raise SpfError(f"{redirect.text}: there is no record")
        return result, (redirect.text, *by)

    def _count(self, term: Term) -> None:
        self.lookups_made += term.asks
        if self.lookups_made > LOOKUPS:
            raise SpfError(f"more than {LOOKUPS} DNS lookups")

    def _target(self, term: Term, domain: str) -> str:
        return expanded(term.target, values_for(self.address, self.sender, domain)) if term.target else domain

    def _matches(self, term: Term, domain: str) -> tuple[str, ...] | None:
        """None: no match. Else the terms inside that decided, which only an include has."""
        if term.name == "include":
            result, by = self.check(self._target(term, domain))
            if result is Result.NONE:
                raise SpfError(f"{term.text}: there is no record")
            return by if result is Result.PASS else None
        return () if self._is_met(term, domain) else None

    def _is_met(self, term: Term, domain: str) -> bool:
        if term.network is not None:
            return self.address in term.network
        if term.name == "ptr":
            return self._has_name_under(self._target(term, domain))
        if term.name == "exists":
            return bool(self._counted(self.lookups.addresses(self._target(term, domain), 4)))
        return term.name == "all" or any(self._is_in(one, term) for one in self._hosts(term, domain))

    def _hosts(self, term: Term, domain: str) -> Iterator[Address]:
        """The addresses that an `a` or `mx` means, of the kind that is asked for."""
        target, version = self._target(term, domain), self.address.version
        if term.name == "a":
            yield from self._counted(self.lookups.addresses(target, version))
            return
        for host in exchangers(self._counted(self.lookups.mx(target)), target):
            yield from self.lookups.addresses(host, version)

    def _is_in(self, found: Address, term: Term) -> bool:
        return self.address in ip_network((found, term.bits[self.address.version == 6]), strict=False)

    def _has_name_under(self, target: str) -> bool:
        for name in self._counted(self.lookups.ptr(self.address))[:NAMES]:
            if (name == target or name.endswith(f".{target}")) and self._leads_back(name):
                return True
        return False

    def _leads_back(self, name: str) -> bool:
        try:
            return self.address in self.lookups.addresses(name, self.address.version)
        except DnsFailure:
            return False  # of a ptr such a name is passed over (RFC 7208 section 5.5)

    def _counted(self, answer: Sequence[Answer]) -> Sequence[Answer]:
        self.voids += not answer
        if self.voids > VOIDS:
            raise SpfError(f"more than {VOIDS} DNS lookups without an answer")
        return answer


def terms_at(lookups: Lookups, domain: str) -> tuple[list[Term], Term | None] | None:
    """The mechanisms and the redirect of a domain's record; None: it has none. Raises `SpfError` and `DnsFailure`."""
    records = spf_records(lookups.txt(domain))
    if len(records) > 1:
        raise SpfError(f"{domain} has {len(records)} SPF records; there may be one")
    return read_terms(records[0]) if records else None


def exchangers(found: Sequence[MailExchanger], domain: str) -> list[str]:
    """The hosts that an `mx` means. Raises `SpfError` where there are more than a receiver looks up."""
    if len(found) > NAMES:
        raise SpfError(f"mx: {domain} has more than {NAMES} hosts for its mail")
    return [one.host for one in found if one.host]
