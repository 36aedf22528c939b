"""What stands on record about a recipient, in words of our own."""

from __future__ import annotations

from mailer.pages.from_below.template import N_

REPLIES = (
    N_("Unsubscribed."),
    N_("Deactivated, or no longer in the directory."),
    N_("No valid address."),
    N_("Another user with the address has been written to."),
    N_("Somebody at the address has unsubscribed."),
    N_("The address is suppressed: %(why)s."),
    N_("refused in %(count)s campaigns"),
    N_("blocked by an operator (%(quoted)s)"),
    N_("blocked by an operator ((no reason given))"),
    N_("(no reason given)"),
    N_("The campaign was cancelled."),
    N_("The person was erased."),
    N_("Not sent: %(why)s"),
    N_("Not sent: MAILER_ONLY_TO does not name this address."),
    N_("Not sent: MAILER_REDIRECT_TO takes %(count)s messages of a campaign, and they have gone."),
    N_("not sent: %(why)s"),
    N_("the sender's address cannot be written in SMTP"),
    N_("the recipient's address cannot be written in SMTP"),
    N_("the server takes no sender's address outside ASCII (SMTPUTF8)"),
    N_("the server takes no recipient's address outside ASCII (SMTPUTF8)"),
    N_("the server takes no header outside ASCII (SMTPUTF8)"),
    N_("the server takes no 8-bit content (8BITMIME)"),
    N_("the content has a line end that is not CRLF"),
    N_("%(size)s octets are more than the server takes (%(most)s)"),
    N_("The transport failed in an unexpected way before it gave an outcome for this message."),
    N_("The worker stopped after this outcome; its flight record has kept it without the answer's words."),
    N_("The worker stopped while it was sending this message."),
    N_("The outcome was lost in an unexpected error."),
    N_("Taken by the relay, as its log says."),
    N_("the message id cannot be a file name"),
    N_("the answer does not name it"),
    N_("no reason"),
)
