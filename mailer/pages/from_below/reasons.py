"""Why a campaign or a part stands still, and settings and texts that are probably mistakes."""

from __future__ import annotations

from mailer.pages.from_below.template import N_

REASONS = (
    N_("paused by a person"),
    N_("paused by an operator"),
    N_("resumed by a person; was paused: %(reason)s"),
    N_("all sending is %(state)s, by %(who)s"),
    N_("held since %(when)s: %(quoted)s"),
    N_("the sender was refused: %(answer)s"),
    N_("the sender was refused %(count)s times in a row, last: %(answer)s"),
    N_("%(count)s of the last %(size)s refusals say the same: %(answer)s"),
    N_("(no words)"),
    N_("(it has no words)"),
    N_("%(failed)s of %(all)s recipients failed, more than %(setting)s allows"),
    N_("an unexpected error, whose traceback is in the log: %(name)s: %(words)s"),
    N_("an unexpected error, whose traceback is in the log"),
    N_(
        "%(count)s processes in a row died while sending batch %(batch)s; see why they ended (out of "
        "memory, killed) and pause the campaign if it is the cause"
    ),
    N_("restored from a backup of %(when)s; it may have been sent since: see `mailer reconcile`"),
    N_("restored from a backup of %(when)s"),
    N_("waits for the send window until %(when)s"),
    N_("open until %(when)s"),
    N_("closed until %(when)s"),
    N_("open"),
    N_("closed"),
    N_("the transport gave an outcome for a message that it had not drawn, or gave one twice"),
    N_("the transport gave no outcome for %(count)s messages that it had drawn"),
    N_("the transport ended before it had drawn all messages"),
    N_("it gave no reason"),
    N_("unknown"),
    N_("not started"),
    N_("ended: %(names)s"),
    N_("the thread that calls the workers has ended"),
    N_("the broker cannot be reached, and what is accepted waits: %(why)s"),
    N_("no worker is running, and what is accepted waits"),
    N_("there is work to do, and no worker was seen in the last minute"),
    N_("the transport has not worked for %(count)s minutes: %(reason)s"),
    N_("the service itself has paused %(count)s campaigns"),
    N_("failed %(count)s times in a row: %(error)s"),
    N_("%(count)s paused"),
    N_("%(count)s resting"),
    N_("%(count)s failed"),
    N_("no connection became free in time"),
    N_("it does not answer, or takes no writes"),
    N_("it refuses what is asked of it"),
    N_("it fails"),
    N_("MAILER_ALLOWED_SENDERS is empty: callers may send as any address"),
    N_("MAILER_REDIRECT_TO is set: every message goes to one address, and none to its recipient"),
    N_("MAILER_ONLY_TO is set: only some addresses get mail, and all others are skipped"),
    N_(
        "MAILER_SITE_URL is not https: %(url)s; mail programs then offer no one-click unsubscribing (RFC"
        " 8058), and whoever carries the traffic can read the links"
    ),
    N_("%(name)s: everybody on this machine may read the file; chmod 600 it, or 640 with a group"),
    N_("%(name)s: there is no such setting%(meant)s"),
    N_('; did you mean "%(name)s"?'),
    N_("; did you mean %(name)s?"),
    N_("[%(word)s] is no placeholder and goes out as it stands%(meant)s"),
    N_('No user has the field "%(name)s"%(meant)s'),
    N_("%(count)s more words in brackets are no placeholders."),
    N_("There are no users yet; `mailer users import FILE` brings them in."),
)
