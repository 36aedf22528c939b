"""Why a campaign or a part stands still or begins later, and what is probably a mistake."""

from __future__ import annotations

from mailer.pages.from_below.template import N_

REASONS = (
    N_("paused by a person"),
    N_("paused by an operator"),
    N_("resumed by a person; was paused: %(reason)s"),
    N_("its owner was deactivated"),
    N_("%(people)s would receive it, and its caller expects %(count)s to %(all)s"),
    N_("%(people)s would receive it, and its caller expects %(expected)s"),
    N_("nobody"),
    N_("1 person"),
    N_("%(count)s people"),
    N_(
        "%(people)s of them will be skipped unless it is urgent, as who has had %(count)s within a %(unit)s "
        "(MAILER_MAX_PER_PERSON)."
    ),
    N_("at most %(count)s"),
    N_("at least %(count)s"),
    N_("Nobody was to receive it."),
    N_("campaign %(campaign)s failed: %(reason)s; `mailer campaigns retry-failed` goes on with it"),
    N_("campaign %(campaign)s is paused: %(reason)s; `mailer campaigns resume` or `cancel`"),
    N_("campaign %(campaign)s is %(reason)s; `mailer campaigns resume` or `cancel`"),
    N_("campaign %(campaign)s ended with issues; `mailer campaigns show` counts them"),
    N_("all sending is %(state)s, by %(who)s"),
    N_("all sending is %(state)s"),
    N_("held since %(when)s: %(quoted)s"),
    N_("the sender was refused: %(answer)s"),
    N_("the sender was refused %(count)s times in a row, last: %(answer)s"),
    N_("%(count)s of the last %(size)s refusals say the same: %(answer)s"),
    N_("(no words)"),
    N_("(it has no words)"),
    N_("%(failed)s of %(all)s recipients failed, more than %(setting)s allows"),
    N_("%(count)s of %(all)s recipients marked the message as spam, more than one in %(limit)s"),
    N_("an unexpected error, whose traceback is in the log: %(name)s: %(words)s"),
    N_("an unexpected error, whose traceback is in the log"),
    N_(
        "%(count)s processes in a row died while sending batch %(batch)s; see why they ended (out of "
        "memory, killed) and pause the campaign if it is the cause"
    ),
    N_("restored from a backup of %(when)s; it may have been sent since: see `mailer reconcile`"),
    N_("restored from a backup of %(when)s"),
    N_("it was accepted after the backup that was restored, so what it said and whom it was for is lost"),
    N_("(lost when a backup was restored)"),
    N_("taken over from the journal"),
    N_("waits for the send window until %(when)s"),
    N_("open until %(when)s"),
    N_("closed until %(when)s"),
    N_("open"),
    N_("closed"),
    N_("the send window is closed"),
    N_("the day's quota is used up"),
    N_("the quota is too small for it"),
    N_("nothing was sent in the last weeks that it could be told by"),
    N_("the transport fails: %(reason)s"),
    N_("the transport fails"),
    N_("the transport gave an outcome for a message that it had not drawn, or gave one twice"),
    N_("the transport gave no outcome for %(count)s messages that it had drawn"),
    N_("the transport ended before it had drawn all messages"),
    N_("it gave no reason"),
    N_("unknown"),
    N_("not started"),
    N_("ended: %(names)s"),
    N_("the thread that calls the workers has ended"),
    N_("the broker cannot be reached, and what is accepted waits: %(why)s"),
    N_("no worker is running"),
    N_("no worker is running, and what is accepted waits"),
    N_("there is work to do, and no worker was seen in the last minute"),
    N_("the transport has not worked for %(count)s minutes: %(reason)s"),
    N_("the service itself has paused a campaign"),
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
    N_(
        "Bounces go to %(domain)s, so SPF does not count for mail From %(other)s (DMARC): sign it with DKIM as that "
        "domain, or take bounces there"
    ),
    N_("MAILER_REDIRECT_TO is set: every message goes to one address, and none to its recipient"),
    N_("MAILER_ONLY_TO is set: only some addresses get mail, and all others are skipped"),
    N_(
        "MAILER_SITE_URL is not https: %(url)s; mail programs then offer no one-click unsubscribing (RFC"
        " 8058), and whoever carries the traffic can read the links"
    ),
    N_("MAILER_SECRET_KEY lacks the key %(key)s: %(what)s lead nowhere; add it behind the first"),
    N_("unsubscribe links of up to 1 message, the last at %(when)s"),
    N_("unsubscribe links of up to 1 message"),
    N_("unsubscribe links of up to %(count)s messages, the last at %(when)s"),
    N_("unsubscribe links of up to %(count)s messages"),
    N_(
        "MAILER_SECRET_KEY lacks the key %(key)s, which has signed nothing since it is known here: links of before or "
        "from elsewhere lead nowhere; add it behind the first, or `mailer keys forget %(forgotten)s`"
    ),
    N_("%(name)s: everybody on this machine may read the file; chmod 600 it, or 640 with a group"),
    N_("%(name)s: there is no such setting%(meant)s"),
    N_('; did you mean "%(name)s"?'),
    N_("; did you mean %(name)s?"),
    N_("[%(word)s] is no placeholder and goes out as it stands%(meant)s"),
    N_('No user has the field "%(name)s"%(meant)s'),
    N_("Only %(domain)s's own servers may send from its addresses; many receivers refuse this From."),
    N_("Nothing signs for %(domain)s now: its DKIM key is not in force."),
    N_("Nothing signs for %(domain)s: the DKIM key is for %(names)s and %(more)s more."),
    N_("Nothing signs for %(domain)s: the DKIM key is for %(names)s."),
    N_("%(count)s more words in brackets are no placeholders."),
    N_("Campaign %(campaign)s of %(who)s, accepted %(time)s, reaches most of the same people."),
    N_("less than an hour ago"),
    N_("%(count)s h ago"),
    N_("%(count)s days ago"),
    N_("There are no users yet; `mailer users import FILE` brings them in."),
)
