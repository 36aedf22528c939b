"""The SPF record that would mend those that a domain has, tried as a receiver would before anybody publishes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mailer.dns_records.lookups import Address, Lookups, MailExchanger
from mailer.dns_records.spf.cost import Cost, cost_of
from mailer.dns_records.spf.evaluation import LOOKUPS, VOIDS, Result, evaluate
from mailer.dns_records.spf.record import VERSION, SpfError, Term, read_term

SOMEWHERE = "ip4:ADDRESS"  # stands for what only the operator knows
END = "~all"


class Mended(NamedTuple):
    """A record to publish in place of all that there are. `left_out` are the terms that no receiver could use in it."""

    record: str
    left_out: tuple[str, ...] = ()

    @property
    def lacks_addresses(self) -> bool:
        """Whether somebody has to put an address into it first."""
        return SOMEWHERE in self.record.split()


@dataclass(frozen=True, slots=True)
class Supposing:
    """The DNS as it would be if `domain` had this record."""

    lookups: Lookups
    domain: str
    record: str

    def txt(self, name: str) -> Sequence[str]:
        """The TXT records."""
        return [self.record] if name.lower() == self.domain else self.lookups.txt(name)

    def mx(self, name: str) -> Sequence[MailExchanger]:
        """The MX records."""
        return self.lookups.mx(name)

    def addresses(self, name: str, version: int) -> Sequence[Address]:
        """The A or AAAA records."""
        return self.lookups.addresses(name, version)

    def ptr(self, address: Address) -> Sequence[str]:
        """The names of an address."""
        return self.lookups.ptr(address)


def is_usable(cost: Cost) -> bool:
    """Whether receivers can use a record that costs this much, and whether it keeps anybody out."""
    return not cost.problems and cost.lookups <= LOOKUPS and cost.voids <= VOIDS and cost.ends_with != "+"


def mended(lookups: Lookups, domain: str, records: Sequence[str], addresses: Sequence[Address]) -> Mended:
    """The terms of all records in one, as far as receivers can use them, by which all `addresses` pass.

    Those addresses that do not pass without stand first, so that no other decides before. Raises `DnsFailure`.
    """
    terms, unreadable = _terms(records)
    kept, end, left_out = list[str](), _end(records), list(unreadable)
    for text, term in terms:
        if term is not None and term.asks and not _fits(lookups, domain, [*kept, text], END):
            left_out.append(text)
        else:
            kept.append(text)
    if _modifier(end) and not _fits(lookups, domain, kept, end):
        left_out.append(end)
        end = END
    first = [spf_term(one) for one in _not_passing(lookups, domain, _joined(kept, end), addresses)]
    if not first and not _modifier(end) and not any(map(_lets_pass, kept)):
        first = [SOMEWHERE]
    return Mended(_joined([*first, *kept], end), tuple(left_out))


def spf_term(address: Address) -> str:
    """The term that names an address."""
    return f"ip{address.version}:{address}"


def _terms(records: Sequence[str]) -> tuple[list[tuple[str, Term | None]], list[str]]:
    """The terms that count, each once, and those that cannot be read. A modifier that decides nothing is None."""
    found, unreadable = dict[str, Term | None](), list[str]()
    for record in sorted(records):
        for text in _before_all(record, alone=len(records) == 1):
            try:
                term = read_term(text)
            except SpfError:
                unreadable.append(text)
                continue
            if term is not None or not any(_modifier(one) == _modifier(text) for one in found):
                found.setdefault(text, term)
    return list(found.items()), unreadable


def _before_all(record: str, *, alone: bool) -> Iterator[str]:
    """The terms of a record up to `all`, behind which nothing counts. Of several, a `redirect` becomes `include`."""
    texts = record.split()[1:]
    ends = next((place for place, text in enumerate(texts) if _is_all(text)), len(texts))
    for place, text in enumerate(texts):
        if _modifier(text) == "redirect":
            if ends == len(texts) and not alone:
                yield f"include:{text.partition('=')[2]}"
        elif place < ends or _modifier(text):
            yield text


def _end(records: Sequence[str]) -> str:
    """What holds for all others: as the only record says it, unless that is everybody."""
    texts = records[0].split()[1:] if len(records) == 1 else []
    for text in texts:
        if _is_all(text):
            return text if text[0] in "-~?" else END
    return next((text for text in texts if _modifier(text) == "redirect"), END)


def _is_all(text: str) -> bool:
    return text.lower().lstrip("+-~?") == "all"


def _modifier(text: str) -> str:
    """The name of a modifier; empty: it is a mechanism."""
    name, equals, _ = text.partition("=")
    return name.lower() if equals and name.isidentifier() else ""


def _lets_pass(text: str) -> bool:
    return not _modifier(text) and text[0] not in "-~?"


def _fits(lookups: Lookups, domain: str, kept: Sequence[str], end: str) -> bool:
    """Whether receivers could use a record of these terms."""
    return is_usable(cost_of(Supposing(lookups, domain, _joined(kept, end)), domain))


def _not_passing(lookups: Lookups, domain: str, record: str, addresses: Sequence[Address]) -> list[Address]:
    supposed = Supposing(lookups, domain, record)
    return [one for one in dict.fromkeys(addresses) if evaluate(supposed, domain, one).result is not Result.PASS]


def _joined(terms: Sequence[str], end: str) -> str:
    return " ".join([VERSION, *terms, end])
