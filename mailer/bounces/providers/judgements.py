"""What each provider's words mean here: whom a bounce is about, whether it is for good, and where that is documented.

One row for each word, as the provider writes it. A bounce that is about the address by mistake would have it
suppressed, so whatever is not plain is about the message.
"""

from __future__ import annotations

from typing import NamedTuple

from mailer.bounces.report import Kind
from transports.base import About


class Row(NamedTuple):
    """A provider's word. `kind` None: no report is needed. `vague`: a status code that says more decides about whom."""

    provider: str
    word: str
    kind: Kind | None
    about: About
    permanent: bool
    source: str
    vague: bool = False


ADDRESS, MAILBOX, MESSAGE, SENDER = About.ADDRESS, About.MAILBOX, About.MESSAGE, About.SENDER
RATE, WAY = About.RATE, About.TRANSPORT
BOUNCED, DELAYED, COMPLAINED = Kind.BOUNCED, Kind.DELAYED, Kind.COMPLAINED
HARD, SOFT = True, False

_BOUNCE = "Amazon SES, Bounce types"
_COMPLAINT = "Amazon SES, Complaint object; IANA, Mail Parameters, Feedback Report Type Values"
_DELAY = "Amazon SES, DeliveryDelay object"
_REJECT = "Amazon SES, Reject object"
_SES = (
    Row("ses", "Undetermined/Undetermined", BOUNCED, MESSAGE, SOFT, _BOUNCE, vague=True),
    Row("ses", "Permanent/General", BOUNCED, ADDRESS, HARD, _BOUNCE, vague=True),
    Row("ses", "Permanent/NoEmail", BOUNCED, ADDRESS, HARD, _BOUNCE),
    Row("ses", "Permanent/Suppressed", BOUNCED, ADDRESS, HARD, _BOUNCE),
    Row("ses", "Permanent/OnAccountSuppressionList", BOUNCED, ADDRESS, HARD, _BOUNCE),
    Row("ses", "Permanent/UnsubscribedRecipient", BOUNCED, MESSAGE, HARD, _BOUNCE),
    Row("ses", "Transient/General", BOUNCED, MESSAGE, SOFT, _BOUNCE, vague=True),
    Row("ses", "Transient/MailboxFull", BOUNCED, MAILBOX, SOFT, _BOUNCE),
    Row("ses", "Transient/MessageTooLarge", BOUNCED, MESSAGE, SOFT, _BOUNCE),
    Row("ses", "Transient/CustomTimeoutExceeded", BOUNCED, WAY, SOFT, _BOUNCE),
    Row("ses", "Transient/ContentRejected", BOUNCED, MESSAGE, SOFT, _BOUNCE),
    Row("ses", "Transient/AttachmentRejected", BOUNCED, MESSAGE, SOFT, _BOUNCE),
    Row("ses", "complaint/", COMPLAINED, MESSAGE, HARD, _COMPLAINT),
    Row("ses", "complaint/abuse", COMPLAINED, MESSAGE, HARD, _COMPLAINT),
    Row("ses", "complaint/fraud", COMPLAINED, MESSAGE, HARD, _COMPLAINT),
    Row("ses", "complaint/other", COMPLAINED, MESSAGE, HARD, _COMPLAINT),
    Row("ses", "complaint/not-spam", None, MESSAGE, SOFT, _COMPLAINT),
    Row("ses", "complaint/auth-failure", None, MESSAGE, SOFT, _COMPLAINT),
    Row("ses", "complaint/virus", None, MESSAGE, SOFT, _COMPLAINT),
    # nobody has complained of this message: it was not sent, because of a complaint of before
    Row("ses", "complaint/OnAccountSuppressionList", BOUNCED, ADDRESS, HARD, _COMPLAINT),
    Row("ses", "reject", BOUNCED, MESSAGE, HARD, _REJECT),
    Row("ses", "delay", DELAYED, WAY, SOFT, _DELAY, vague=True),
    Row("ses", "delay/MailboxFull", DELAYED, MAILBOX, SOFT, _DELAY),
    Row("ses", "delay/SpamDetected", DELAYED, MESSAGE, SOFT, _DELAY),
    Row("ses", "delay/IPFailure", DELAYED, SENDER, SOFT, _DELAY),
)

_FAILED = "Mailgun, Events, the event failed; Webhooks"
_MAILGUN = (
    Row("mailgun", "permanent/bounce", BOUNCED, ADDRESS, HARD, _FAILED, vague=True),
    Row("mailgun", "permanent/hardfail", BOUNCED, ADDRESS, HARD, _FAILED, vague=True),
    Row("mailgun", "permanent/suppress-bounce", BOUNCED, ADDRESS, HARD, _FAILED),
    Row("mailgun", "permanent/suppress-complaint", BOUNCED, ADDRESS, HARD, _FAILED),
    Row("mailgun", "permanent/suppress-unsubscribe", BOUNCED, MESSAGE, HARD, _FAILED),
    Row("mailgun", "permanent/generic", BOUNCED, MESSAGE, HARD, _FAILED, vague=True),
    Row("mailgun", "permanent/espblock", BOUNCED, SENDER, HARD, _FAILED),
    Row("mailgun", "permanent/old", BOUNCED, WAY, SOFT, _FAILED),
    Row("mailgun", "permanent/quota", BOUNCED, MAILBOX, SOFT, _FAILED),
    Row("mailgun", "temporary", DELAYED, WAY, SOFT, _FAILED, vague=True),
    Row("mailgun", "rejected", BOUNCED, MESSAGE, HARD, "Mailgun, Events, the event rejected"),
    Row("mailgun", "complained", COMPLAINED, MESSAGE, HARD, "Mailgun, Events, the event complained"),
)

_CLASS = "Twilio SendGrid, Event Webhook Reference, bounce classifications"
_DROPPED = "Twilio SendGrid, Event Webhook Reference, dropped"
_SENDGRID = (
    Row("sendgrid", "bounce/Invalid Address", BOUNCED, ADDRESS, HARD, _CLASS),
    Row("sendgrid", "bounce/Mailbox Unavailable", BOUNCED, MAILBOX, HARD, _CLASS, vague=True),
    Row("sendgrid", "bounce/Technical Failure", BOUNCED, WAY, SOFT, _CLASS, vague=True),
    Row("sendgrid", "bounce/Technical", BOUNCED, WAY, SOFT, _CLASS, vague=True),
    Row("sendgrid", "bounce/Content", BOUNCED, MESSAGE, HARD, _CLASS),
    Row("sendgrid", "bounce/Reputation", BOUNCED, SENDER, HARD, _CLASS),
    Row("sendgrid", "bounce/Frequency or Volume Too High", BOUNCED, RATE, SOFT, _CLASS),
    Row("sendgrid", "bounce/Frequency/Volume", BOUNCED, RATE, SOFT, _CLASS),
    Row("sendgrid", "bounce/Unclassified", BOUNCED, MESSAGE, HARD, _CLASS, vague=True),
    Row("sendgrid", "bounce/", BOUNCED, ADDRESS, HARD, "Twilio SendGrid, Bounces: hard bounces", vague=True),
    Row("sendgrid", "blocked/", BOUNCED, MESSAGE, SOFT, "Twilio SendGrid, Blocks", vague=True),
    Row("sendgrid", "dropped/Bounced Address", BOUNCED, ADDRESS, HARD, _DROPPED),
    Row("sendgrid", "dropped/Spam Reporting Address", BOUNCED, ADDRESS, HARD, _DROPPED),
    Row("sendgrid", "dropped/Invalid", BOUNCED, ADDRESS, HARD, _DROPPED),
    Row("sendgrid", "dropped/Unsubscribed Address", BOUNCED, MESSAGE, HARD, _DROPPED),
    Row("sendgrid", "dropped/Recipient List over Package Quota", BOUNCED, RATE, SOFT, _DROPPED),
    Row("sendgrid", "dropped/Spam Content", BOUNCED, MESSAGE, HARD, _DROPPED),
    Row("sendgrid", "deferred", DELAYED, WAY, SOFT, "Twilio SendGrid, Event Webhook Reference, deferred", vague=True),
    Row("sendgrid", "spamreport", COMPLAINED, MESSAGE, HARD, "Twilio SendGrid, Event Webhook Reference, spam report"),
)

_TYPES = "Postmark, Bounce API, bounce types"
_POSTMARK = (
    Row("postmark", "HardBounce", BOUNCED, ADDRESS, HARD, _TYPES, vague=True),
    Row("postmark", "BadEmailAddress", BOUNCED, ADDRESS, HARD, _TYPES),
    Row("postmark", "ManuallyDeactivated", BOUNCED, ADDRESS, HARD, _TYPES),
    Row("postmark", "SoftBounce", BOUNCED, MAILBOX, SOFT, _TYPES, vague=True),
    Row("postmark", "Transient", DELAYED, WAY, SOFT, _TYPES, vague=True),
    Row("postmark", "DnsError", BOUNCED, WAY, SOFT, _TYPES),
    Row("postmark", "SpamNotification", BOUNCED, MESSAGE, HARD, _TYPES),
    Row("postmark", "VirusNotification", BOUNCED, MESSAGE, HARD, _TYPES),
    Row("postmark", "Blocked", BOUNCED, SENDER, HARD, _TYPES),
    Row("postmark", "DMARCPolicy", BOUNCED, SENDER, HARD, _TYPES),
    Row("postmark", "SMTPApiError", BOUNCED, MESSAGE, HARD, _TYPES),
    Row("postmark", "Unconfirmed", BOUNCED, SENDER, HARD, _TYPES),
    Row("postmark", "Unknown", BOUNCED, MESSAGE, SOFT, _TYPES, vague=True),
    Row("postmark", "AutoResponder", None, MESSAGE, SOFT, _TYPES),
    Row("postmark", "AddressChange", None, MESSAGE, SOFT, _TYPES),
    Row("postmark", "ChallengeVerification", None, MESSAGE, SOFT, _TYPES),
    Row("postmark", "OpenRelayTest", None, MESSAGE, SOFT, _TYPES),
    Row("postmark", "Subscribe", None, MESSAGE, SOFT, _TYPES),
    Row("postmark", "Unsubscribe", None, MESSAGE, SOFT, _TYPES),
    Row("postmark", "InboundError", None, MESSAGE, SOFT, _TYPES),
    Row("postmark", "TemplateRenderingFailed", None, MESSAGE, SOFT, _TYPES),
    Row("postmark", "SpamComplaint", COMPLAINED, MESSAGE, HARD, _TYPES),
)

_CODES = "SparkPost, Bounce classification codes"
_SPARKPOST = (
    Row("sparkpost", "1", BOUNCED, MESSAGE, SOFT, _CODES, vague=True),  # undetermined
    Row("sparkpost", "10", BOUNCED, ADDRESS, HARD, _CODES),  # invalid recipient
    Row("sparkpost", "20", BOUNCED, MESSAGE, SOFT, _CODES, vague=True),  # soft bounce
    Row("sparkpost", "21", BOUNCED, WAY, SOFT, _CODES),  # DNS failure
    Row("sparkpost", "22", BOUNCED, MAILBOX, SOFT, _CODES),  # mailbox full
    Row("sparkpost", "23", BOUNCED, MESSAGE, SOFT, _CODES),  # too large
    Row("sparkpost", "24", BOUNCED, WAY, SOFT, _CODES),  # timeout
    Row("sparkpost", "25", BOUNCED, SENDER, SOFT, _CODES),  # failed by the sender's own configuration
    Row("sparkpost", "26", BOUNCED, ADDRESS, HARD, _CODES),  # suppressed by the provider
    Row("sparkpost", "30", BOUNCED, ADDRESS, HARD, _CODES, vague=True),  # no recipient could be found in the reply
    Row("sparkpost", "40", BOUNCED, MESSAGE, SOFT, _CODES, vague=True),  # generic bounce
    Row("sparkpost", "50", BOUNCED, SENDER, SOFT, _CODES),  # mail block
    Row("sparkpost", "51", BOUNCED, SENDER, SOFT, _CODES),  # blocked as a source of spam
    Row("sparkpost", "52", BOUNCED, MESSAGE, SOFT, _CODES),  # content taken for spam
    Row("sparkpost", "53", BOUNCED, MESSAGE, SOFT, _CODES),  # prohibited attachment
    Row("sparkpost", "54", BOUNCED, SENDER, SOFT, _CODES),  # relaying denied
    Row("sparkpost", "60", None, MESSAGE, SOFT, _CODES),  # auto-reply
    Row("sparkpost", "70", DELAYED, WAY, SOFT, _CODES, vague=True),  # transient failure
    Row("sparkpost", "80", None, MESSAGE, SOFT, _CODES),  # subscribe
    Row("sparkpost", "90", None, MESSAGE, HARD, _CODES),  # unsubscribe
    Row("sparkpost", "100", None, MESSAGE, SOFT, _CODES),  # challenge
    Row("sparkpost", "delay", DELAYED, WAY, SOFT, "SparkPost, Webhooks, the event delay", vague=True),
    Row("sparkpost", "policy_rejection", BOUNCED, MESSAGE, HARD, "SparkPost, Webhooks, the event policy rejection"),
    Row("sparkpost", "spam_complaint", COMPLAINED, MESSAGE, HARD, "SparkPost, Webhooks, the event spam complaint"),
)

_ERRORS = "Mailjet, Event API, possible values for errors"
_MAILJET = (
    Row("mailjet", "user unknown", BOUNCED, ADDRESS, HARD, _ERRORS),
    Row("mailjet", "mailbox inactive", BOUNCED, ADDRESS, HARD, _ERRORS),
    Row("mailjet", "quota exceeded", BOUNCED, MAILBOX, SOFT, _ERRORS),
    Row("mailjet", "blacklisted", BOUNCED, ADDRESS, HARD, _ERRORS),
    Row("mailjet", "spam reporter", BOUNCED, ADDRESS, HARD, _ERRORS),
    Row("mailjet", "invalid domain", BOUNCED, ADDRESS, HARD, _ERRORS),
    Row("mailjet", "no mail host", BOUNCED, ADDRESS, HARD, _ERRORS),
    Row("mailjet", "relay/access denied", BOUNCED, SENDER, HARD, _ERRORS),
    Row("mailjet", "greylisted", DELAYED, WAY, SOFT, _ERRORS),
    Row("mailjet", "typofix", BOUNCED, ADDRESS, HARD, _ERRORS),
    Row("mailjet", "sender blocked", BOUNCED, SENDER, HARD, _ERRORS),
    Row("mailjet", "content blocked", BOUNCED, MESSAGE, HARD, _ERRORS),
    Row("mailjet", "policy issue", BOUNCED, SENDER, SOFT, _ERRORS),
    Row("mailjet", "system issue", BOUNCED, WAY, SOFT, _ERRORS),
    Row("mailjet", "protocol issue", BOUNCED, WAY, SOFT, _ERRORS),
    Row("mailjet", "connection issue", BOUNCED, WAY, SOFT, _ERRORS),
    Row("mailjet", "preblocked", BOUNCED, ADDRESS, HARD, _ERRORS),
    Row("mailjet", "spam preblocked", BOUNCED, ADDRESS, HARD, _ERRORS),
    Row("mailjet", "duplicate in campaign", BOUNCED, MESSAGE, HARD, _ERRORS),
    Row("mailjet", "bad or empty template", BOUNCED, MESSAGE, HARD, _ERRORS),
    Row("mailjet", "error in template language", BOUNCED, MESSAGE, HARD, _ERRORS),
    Row("mailjet", "spam", COMPLAINED, MESSAGE, HARD, "Mailjet, Event API, the event spam"),
)

ROWS = (*_SES, *_MAILGUN, *_SENDGRID, *_POSTMARK, *_SPARKPOST, *_MAILJET)
