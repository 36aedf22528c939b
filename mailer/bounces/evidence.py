"""What proves a report: the token or the link of a message, which only this service can have made. Pure.

Anybody may write to the address that bounces go to, and every recipient knows the campaign's id. So by mail a report is
believed as far as it shows what we signed for the delivery: a token in an address that it went to, or the link or the
`mailto:` address in the List-Unsubscribe field of the message that it returns. Whoever shows their own says something
of themselves alone. A provider has proved who it is before its reports are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

from mailer.bounces.report import MAIL, Report
from mailer.messages.links import MAX_TOKEN, PATH, Links
from mailer.messages.recipient import DIGEST_SIZE, user_digest
from mailer.messages.return_addresses import Named, Tokens, Use
from mailer.settings import Settings
from mailer.settings.return_address import ReturnAddress

MESSAGE_ID = re.compile(r"([A-Za-z0-9_-]{1,64})\.([0-9a-f]{20})(?:@.*)?", re.IGNORECASE | re.DOTALL)
_LINK = re.compile(re.escape(PATH) + rf"([^<>,]{{1,{MAX_TOKEN}}})")
_BY_MAIL = re.compile(r"mailto:([^<>?,]{1,400})", re.IGNORECASE)
_MOST = 4  # links of one field that are looked at, and as many addresses


class Refuted(Exception):
    """The report has a forged token, or two things in it contradict each other."""


class Proof(NamedTuple):
    """The delivery that signed evidence names; `digest` is of the user's id.

    `returned_only`: the evidence is in the returned message, and the address must be that of the delivery.
    """

    campaign_id: str
    digest: str
    returned_only: bool


class Evidence:
    """Reads what a report shows, with the keys and the address for bounces of the settings."""

    def __init__(self, settings: Settings) -> None:
        self.tokens = Tokens(settings.secret_key)
        self._links = Links(settings.secret_key, settings.site_url)
        self._form = _form(settings.bounce_address) if settings.bounce_address else None

    def is_believed(self, report: Report) -> bool:
        """Whether the report may do harm to somebody. Raises `Refuted`."""
        return report.source != MAIL or self.proof(report) is not None

    def proof(self, report: Report) -> Proof | None:
        """What is proved; None: nothing is signed. Raises `Refuted`."""
        if self._is_forged(report):
            raise Refuted
        went_to = list(self._bounced_to(report))
        named = [*went_to, *self._returned(report)]
        if not named:
            return None
        said = [one[0] for one in named] + [report.campaign_id]
        campaigns, digests = {one for one in said if one}, {digest for _, digest in named}
        if len(campaigns) > 1 or len(digests) > 1:
            raise Refuted
        if not campaigns:
            return None
        proof = Proof(campaigns.pop(), digests.pop(), not went_to)
        if _is_of_another(report, proof):
            raise Refuted
        return proof

    def _is_forged(self, report: Report) -> bool:
        """Whether it went to an address of the form of ours, whose token we did not sign."""
        if self._form is None:
            return False
        tokens = (found[1] for text in report.sent_to for found in self._form.finditer(text))
        return any((read := self.tokens.read([one])) is None or read.use is not Use.BOUNCE for one in tokens)

    def _bounced_to(self, report: Report) -> Iterator[tuple[str | None, str]]:
        for text in report.sent_to:
            named = self.tokens.read([text])
            if named is not None and named.use is Use.BOUNCE:
                yield named.campaign_id, named.digest

    def _returned(self, report: Report) -> Iterator[tuple[str | None, str]]:
        """What the link and the address of List-Unsubscribe name. A link that was cut short names no campaign."""
        for token in _LINK.findall(report.unsubscribe)[:_MOST]:
            user_id = self._links.read(token)
            if user_id is not None:
                yield self._links.campaign(token), user_digest(user_id)
        for address in _BY_MAIL.findall(report.unsubscribe)[:_MOST]:
            named: Named | None = self.tokens.read([unquote("".join(address.split()))])
            if named is not None and named.use is Use.UNSUBSCRIBE:
                yield named.campaign_id, named.digest


def _is_of_another(report: Report, proof: Proof) -> bool:
    """Whether the Message-ID is one of ours, in the same campaign, and somebody else's."""
    said = MESSAGE_ID.fullmatch((report.message_id or "").strip().strip("<>"))
    return said is not None and said[1] == proof.campaign_id and said[2].lower()[: 2 * DIGEST_SIZE] != proof.digest


def _form(address: ReturnAddress) -> re.Pattern[str]:
    """Any address that is formed as ours. Where nothing stands before the token, only what is as long as one."""
    token = r"[^\s<>@]{1,200}" if address.before else "[A-Za-z2-7]{30,120}"
    before, after = re.escape(address.before), re.escape(address.after)
    return re.compile(rf"(?<![A-Za-z0-9]){before}({token}){after}(?![A-Za-z0-9-])", re.IGNORECASE)
