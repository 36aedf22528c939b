"""DMARC's records (RFC 9989): the policy that holds for a domain, and its organization, by a walk up the DNS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mailer.dns_records.lookups import Lookups
from mailer.dns_records.tags import Tags, of_version, read_tags

POLICIES = ("none", "quarantine", "reject")
MOST = 8  # names that are asked for in one walk (RFC 9989 section 4.10)


@dataclass(frozen=True, slots=True)
class Policy:
    """A DMARC record, and the domain at which it was found."""

    domain: str
    record: str
    tags: Tags

    def strict(self, what: str) -> bool:
        """Whether `adkim` or `aspf` demands the very same domain."""
        return self.tags.get(what, "r").lower() == "s"

    def for_domain(self, domain: str) -> str:
        """What receivers are asked to do with mail of `domain` that fails; `none` where that cannot be read."""
        wanted = self.tags.get("p") if domain == self.domain else self.tags.get("sp", self.tags.get("p"))
        return wanted.lower() if wanted.lower() in POLICIES else "none"


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk up from a domain found, nearest first. `crowded` are names with several records, which all count for
    nothing.
    """

    start: str
    policies: tuple[Policy, ...]
    crowded: tuple[str, ...] = ()

    @property
    def organization(self) -> str:
        """The organizational domain (RFC 9989 section 4.10)."""
        for policy in self.policies:
            mark = policy.tags.get("psd", "u").lower()
            if mark == "n":
                return policy.domain
            if mark == "y" and policy.domain != self.start:
                return self._below(policy.domain)
        found = [policy.domain for policy in self.policies if policy.tags.get("psd", "u").lower() != "y"]
        return found[-1] if found else self.start

    @property
    def policy(self) -> Policy | None:
        """The record that holds: the domain's own, else its organization's, else that of the public suffix."""
        by_domain = {policy.domain: policy for policy in self.policies}
        suffix = next((one for one in self.policies if one.tags.get("psd", "u").lower() == "y"), None)
        return by_domain.get(self.start) or by_domain.get(self.organization) or suffix

    def _below(self, suffix: str) -> str:
        return ".".join(self.start.split(".")[-(suffix.count(".") + 2) :])


def walk(lookups: Lookups, domain: str) -> Walk:
    """Look for the records of a domain and of those above it. Raises `DnsFailure`."""
    policies, crowded = list[Policy](), list[str]()
    for name in _names(domain):
        records = of_version(lookups.txt(f"_dmarc.{name}"), "DMARC1")
        if len(records) == 1:
            policies.append(Policy(name, records[0], read_tags(records[0])))
        elif records:
            crowded.append(name)
        if policies and policies[-1].domain == name and policies[-1].tags.get("psd").lower() in ("y", "n"):
            break
    return Walk(domain, tuple(policies), tuple(crowded))


def _names(domain: str) -> Iterator[str]:
    """The domain and those above it; of a very long one, those in the middle are passed over."""
    yield domain
    labels = domain.split(".")
    for kept in range(min(len(labels) - 1, MOST - 1), 0, -1):
        yield ".".join(labels[-kept:])
